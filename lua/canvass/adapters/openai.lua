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
        return adapter.failure(body, response.status)
    end
    local choice = object(body.choices)[1]
    if type(choice) ~= "table" then
        if response.status ~= 202 then return adapter.bad("the answer has no choices") end
        return nil
    end
    if type(choice.error) == "table" then return adapter.failure(choice, response.status) end

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

openai.health = adapter.listed_health

return openai
