-- The messages API of Anthropic: url = "https://api.anthropic.com/v1/messages", and the key is the operator's:
-- headers = { ["x-api-key"] = secret "ANTHROPIC_API_KEY" }.
--
-- The API has no default for max_tokens, and a silent one of ours would cut answers off: so the job sets it in
-- parameters, or the operator in options, or the question is not asked.

local adapter = require "canvass.adapter"
local text, object, count, type = adapter.text, adapter.object, adapter.count, type

local anthropic = {}

anthropic.headers = { ["anthropic-version"] = "2023-06-01" }

anthropic.options = {
    send_model = "string",  -- the model's name at the provider, if not the table's id
    system = "string",      -- for jobs that set no parameters.system
    max_tokens = "number",  -- for jobs that set no parameters.max_tokens
}

function anthropic.request(ask)
    local parameters, options = ask.parameters, ask.options
    if parameters.stream then return nil, "parameters.stream is set: take it out, answers are read whole" end
    local max_tokens = parameters.max_tokens or options.max_tokens
    if not max_tokens then
        return nil, "max_tokens is not set: put parameters = { max_tokens = 1024 } into the job, " ..
            "or options = { max_tokens = 1024 } into the region table"
    end
    return adapter.add({
        model = options.send_model or ask.model,
        max_tokens = max_tokens,
        system = parameters.system or options.system,
        messages = { { role = "user", content = ask.prompt } },
    }, parameters)
end

anthropic.prepare = anthropic.request

local status_of = {
    overloaded_error = 529, api_error = 500, timeout_error = 408, rate_limit_error = 429, billing_error = 402,
    not_found_error = 404,
}

local function failure(body, status)
    local kind = text(object(body.error).type) or ""
    local words = adapter.error_text(body) or "the endpoint reports an error and gives no reason"
    -- Comes as a plain 400.
    if kind == "billing_error" or words:find("credit balance is too low", 1, true) then
        return { error = words, class = "quota_exhausted" }
    end
    if status >= 300 then return nil end
    return adapter.status_error(words, status_of[kind] or 400)
end

-- What may end a turn that says nothing: then nothing is the answer.
local complete = { end_turn = true, stop_sequence = true, refusal = true }

function anthropic.answer(response)
    local body = response.json
    if type(body) ~= "table" then return nil end
    if response.status >= 300 or body.type == "error" or type(body.error) == "table" then
        return failure(body, response.status)
    end
    if type(body.content) ~= "table" then
        if response.status == 202 then return nil end
        return adapter.bad("the answer has no content")
    end

    local found = {}
    for _, block in ipairs(body.content) do
        if type(block) == "table" and block.type == "text" then found[#found + 1] = text(block.text) end
    end
    local stop = text(body.stop_reason)
    if #found == 0 and not complete[stop] then
        return adapter.bad("the answer has no text (stop_reason " .. (stop or "none") .. ")")
    end

    -- What is read from the prompt cache is counted apart, but it is prompt all the same.
    local usage = object(body.usage)
    local input = count(usage.input_tokens)
    return {
        text = table.concat(found),
        model = text(body.model),
        prompt_tokens = input and input + (count(usage.cache_creation_input_tokens) or 0)
            + (count(usage.cache_read_input_tokens) or 0),
        completion_tokens = count(usage.output_tokens),
    }
end

function anthropic.health(response)
    if response.status >= 300 then return nil end
    local body = response.json
    return { status = text(object(body).status), models = adapter.listed_models(body) }
end

return anthropic
