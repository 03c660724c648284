-- What adapters share. An adapter is a module that returns a table:
--
--   headers = { ["x-version"] = "1" }      constant request headers (optional)
--   options = { system = "string" }        the keys it takes under `options` in the region table, each the name of a
--                                          Lua type, or function(value) -> true, or false and what would be right;
--                                          a function is called with nil too when the option is not given (optional)
--   request = function(ask)                -> the body: text as it is, or a table that becomes JSON;
--                                             nil and the reason when this cannot be asked
--   prepare = function(ask)                -> (optional) what request() returns for all questions of a job but for
--                                             the prompt: called once for a job and endpoint instead of request(),
--                                             with a mark as ask.prompt to be put where the prompt goes, as a whole
--                                             value, and without ask.question and ask.sample; nil when request() is
--                                             to be asked after all. Where the body differs in the prompt only,
--                                             prepare = request is right
--   answer  = function(response, ask)      -> one of
--             { text = "...", model =, region =, prompt_tokens =, completion_tokens = }
--             { error = "...", class = "bad_response", transient = true, wait = seconds }
--             { poll = URL or true for the same one again, wait = seconds }
--                                             or nil: the HTTP status decides; on 2xx that is a bad response, and final
--   health  = function(response)           -> { status =, region =, models = { "..." } } (optional)
--
-- ask:      prompt, model, region, endpoint, url, sample, parameters, options,
--           question { id, prompt, expected, metadata ... }
-- response: status, body, json (nil when the body is not JSON)
--
-- Both are shared by all calls, as are ask.parameters and ask.options: read them, copy what you keep.

local json = require "json"

local type = type -- globals are looked up in a read-only view: too slow for what runs with each answer

local adapter = {}

local LONGEST_TEXT = 2000

-- JSON gives null as a userdata and whatever the endpoint likes as anything, so all reading goes through these: the
-- text or nil; the table or an empty one; the number if it is one of things, or nil.
adapter.text, adapter.object, adapter.count = json.text, json.object, json.count

-- Everything the job sets goes along, known or not; what is in the body already wins. (The body comes first because
-- a table that is born with its fields need not grow.)
function adapter.add(body, parameters)
    for name, value in pairs(parameters) do
        if body[name] == nil then body[name] = value end
    end
    return body
end

local function one_text(value)
    if type(value) == "string" then
        return value ~= "" and value:sub(1, LONGEST_TEXT) or nil
    elseif type(value) == "table" then
        return one_text(value.message) or one_text(value.msg) or one_text(value.detail) or one_text(value.error)
            or one_text(value[1])
    end
    return nil
end

-- The words of an error in the shapes that servers use:
-- { error = { message } }, { error = "..." }, { detail = "..." }, { detail = { { msg } } }, { message },
-- { errors = { ... } }, and a bare text.
function adapter.error_text(body)
    if type(body) ~= "table" then return one_text(body) end
    local text = one_text(body.error) or one_text(body.detail) or one_text(body.message) or one_text(body.errors)
        or one_text(body[1])
    if text then return text end
    if type(body.error) == "table" and next(body.error) ~= nil then
        return json.encode(body.error):sub(1, LONGEST_TEXT)
    end
    return nil
end

-- An HTTP status said inside a body that came with 200, as gateways do.
function adapter.status_error(text, status)
    if status == 402 then return { error = text, class = "quota_exhausted" } end
    if status == 429 then return { error = text, class = "rate_limited", transient = true } end
    if status == 408 then return { error = text, class = "timeout", transient = true } end
    if status == 404 then return { error = text, class = "not_found" } end
    if status >= 500 then return { error = text, class = "http_server", transient = true } end
    return { error = text, class = "http_client" }
end

function adapter.bad(text, transient)
    return { error = text, class = "bad_response", transient = transient or false }
end

local exhausted = {
    insufficient_quota = true, billing_hard_limit_reached = true, billing_not_active = true, access_terminated = true,
}
local overloaded = { server_error = true, overloaded_error = true, internal_error = true, service_unavailable = true }

-- What { error = { type, code, message } } names as its kind, where the HTTP status does not say enough.
function adapter.failure(body, status)
    local err = adapter.object(body.error)
    local words = adapter.error_text(body)
    local kind, code = adapter.text(err.type) or "", adapter.text(err.code) or ""
    if exhausted[kind] or exhausted[code] then
        return { error = words or code, class = "quota_exhausted" }
    end
    if status >= 300 then return nil end
    words = words or "the endpoint reports an error and gives no reason"
    local inner = adapter.count(err.code) or adapter.count(err.status)
    if inner and inner >= 400 then return adapter.status_error(words, inner) end
    if code == "rate_limit_exceeded" or kind == "rate_limit_error" then return adapter.status_error(words, 429) end
    if overloaded[kind] or overloaded[code] then return adapter.status_error(words, 500) end
    return adapter.bad(words)
end

-- Ids of a model list: { data = { { id } } } as OpenAI and Anthropic have it.
function adapter.listed_models(body)
    local models = {}
    for _, model in ipairs(adapter.object(adapter.object(body).data)) do
        local id = adapter.text(adapter.object(model).id)
        if id then models[#models + 1] = id end
    end
    return models
end

-- health() of an endpoint whose health URL is such a list.
function adapter.listed_health(response)
    local body = response.json
    if response.status >= 300 then return nil end
    return { status = adapter.text(adapter.object(body).status), models = adapter.listed_models(body) }
end

return adapter
