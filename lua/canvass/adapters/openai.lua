-- Chat completions as OpenAI defined them and vLLM, llama.cpp, Ollama, TGI, Azure and many gateways serve them.
-- The url is the whole path, https://HOST/v1/chat/completions; the key is the operator's:
-- headers = { Authorization = secret("OPENAI_API_KEY", "Bearer %s") }.

local adapter = require "canvass.adapter"
local text, object, count, type = adapter.text, adapter.object, adapter.count, type

local openai = {}

openai.options = {
    send_model = "string",  -- the model's name at the provider, if not the table's id
    system = "string",      -- a system message for every question; a job's own parameters.system comes first
}

function openai.request(ask)
    local parameters, options = ask.parameters, ask.options
    if parameters.stream then return nil, "parameters.stream is set: take it out, answers are read whole" end
    if parameters.n and parameters.n ~= 1 then
        return nil, "parameters.n is set: use `samples` of the job, which records each answer"
    end
    local system = parameters.system or options.system
    local user = { role = "user", content = ask.prompt }
    local body = adapter.add({
        model = options.send_model or ask.model,
        messages = system and { { role = "system", content = system }, user } or { user },
    }, parameters)
    body.system = nil -- it is in the messages
    return body
end

openai.prepare = openai.request

local exhausted = {
    insufficient_quota = true, billing_hard_limit_reached = true, billing_not_active = true, access_terminated = true,
}
local overloaded = { server_error = true, overloaded_error = true, internal_error = true, service_unavailable = true }

-- What the error names as its kind, where the HTTP status does not say enough.
local function failure(body, status)
    local err = object(body.error)
    local words = adapter.error_text(body)
    local kind, code = text(err.type) or "", text(err.code) or ""
    if exhausted[kind] or exhausted[code] then
        return { error = words or code, class = "quota_exhausted" }
    end
    if status >= 300 then return nil end
    words = words or "the endpoint reports an error and gives no reason"
    local inner = count(err.code) or count(err.status)
    if inner and inner >= 400 then return adapter.status_error(words, inner) end
    if code == "rate_limit_exceeded" or kind == "rate_limit_error" then return adapter.status_error(words, 429) end
    if overloaded[kind] or overloaded[code] then return adapter.status_error(words, 500) end
    return adapter.bad(words)
end

-- A list of parts: the text ones together are the answer. nil when there is none among them.
local function join(parts)
    local found = {}
    for _, part in ipairs(parts) do
        if type(part) == "string" then
            found[#found + 1] = part
        elseif type(part) == "table" then
            found[#found + 1] = text(part.text) or text(part.refusal)
        end
    end
    return #found > 0 and table.concat(found) or nil
end

local function text_of(message)
    local content = message.content
    if type(content) == "table" then content = join(content) end
    -- A refusal is an answer; it comes in its own field, beside a null content.
    return text(content) or text(message.refusal)
end

local function no_text(message, finish)
    local tools = object(message.tool_calls)
    if #tools > 0 or type(message.function_call) == "table" then
        return adapter.bad("the model called a tool instead of answering: take the tools out of the parameters")
    elseif finish == "content_filter" then
        return adapter.bad("the provider's content filter removed the answer (finish_reason content_filter)")
    elseif finish == "length" then
        return adapter.bad("the model used all its tokens before it answered (finish_reason length): raise max_tokens")
    end
    return adapter.bad("the answer has no content" .. (finish and " (finish_reason " .. finish .. ")" or ""))
end

function openai.answer(response)
    local body = response.json
    if type(body) ~= "table" then return nil end
    if response.status >= 300 or type(body.error) == "table" or type(body.error) == "string" then
        return failure(body, response.status)
    end
    local choice = object(body.choices)[1]
    if type(choice) ~= "table" then
        if response.status ~= 202 then return adapter.bad("the answer has no choices") end
        return nil
    end
    if type(choice.error) == "table" then return failure(choice, response.status) end

    local message = object(choice.message)
    local answer = text_of(message) or text(choice.text)
    if not answer then return no_text(message, text(choice.finish_reason)) end
    local usage = object(body.usage)
    return {
        text = answer,
        model = text(body.model),
        prompt_tokens = count(usage.prompt_tokens),
        completion_tokens = count(usage.completion_tokens),
    }
end

function openai.health(response)
    local body = response.json
    if response.status >= 300 then return nil end
    return { status = text(object(body).status), models = adapter.listed_models(body) }
end

return openai
