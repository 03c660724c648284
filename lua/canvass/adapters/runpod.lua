-- Serverless endpoints of RunPod: url = "https://api.runpod.ai/v2/ENDPOINT/run" (or /runsync). The answer of /run is an
-- id; the result is fetched from /status/ID beside it, which the provider documents.

local adapter = require "canvass.adapter"
local modal = require "canvass.adapters.modal"
local openai = require "canvass.adapters.openai"
local text, object, count, type = adapter.text, adapter.object, adapter.count, type

local runpod = {}

runpod.options = {
    send_model = "string",     -- what the worker calls the model, if not the table's id
    send_region = "boolean",   -- put the region into the input
    sampling_params = "boolean", -- put the job's parameters into input.sampling_params, as the vLLM worker wants them
}

local function base_url(url)
    return url:match("^(.*/)run$") or url:match("^(.*/)runsync$")
end

function runpod.request(ask)
    local options = ask.options
    if not base_url(ask.url) then
        return nil, "the url does not end in /run or /runsync: write https://api.runpod.ai/v2/ENDPOINT/run"
    end
    local input = {
        model = options.send_model or ask.model,
        prompt = ask.prompt,
        region = options.send_region and ask.region or nil,
        sampling_params = options.sampling_params and ask.parameters or nil,
    }
    if not options.sampling_params then adapter.add(input, ask.parameters) end
    return { input = input }
end

runpod.prepare = runpod.request

-- A worker returns whatever its author liked.
local function read_output(output, ask)
    if type(output) == "string" then return { text = output } end
    if type(output) ~= "table" then return nil end
    if output.success ~= nil or type(output.status) == "string" then
        return modal.answer({ status = 200, json = output }, ask)
    end
    if type(output.choices) == "table" then
        -- The vLLM worker has { choices = { { tokens = { "..." } } }, usage = { input, output } }.
        local tokens = object(output.choices[1]).tokens
        local usage = object(output.usage)
        if type(tokens) ~= "table" then return openai.answer({ status = 200, json = output }, ask) end
        local pieces = {}
        for i, piece in ipairs(tokens) do pieces[i] = text(piece) or "" end
        return {
            text = table.concat(pieces),
            prompt_tokens = count(usage.input),
            completion_tokens = count(usage.output),
        }
    end
    local found = text(output.text) or text(output.response) or text(output.output) or text(output.generated_text)
    if found then return { text = found, model = text(output.model), region = text(output.region) } end
    return nil
end

-- A streaming worker's output is a list of pieces, each of them any of the above.
local function read_list(output, ask)
    if #output == 1 then return read_output(output[1], ask) end
    local pieces, last = {}, nil
    for i, item in ipairs(output) do
        last = read_output(item, ask)
        if not last or not last.text then return last end
        pieces[i] = last.text
    end
    last.text = table.concat(pieces)
    return last
end

local function completed(body, ask)
    local output = body.output
    local is_list = type(output) == "table" and output[1] ~= nil
    local answer
    if is_list then answer = read_list(output, ask) else answer = read_output(output, ask) end
    if answer then return answer end
    local words = adapter.error_text(output) or adapter.error_text(body)
    return adapter.bad(words or "the job is completed and its output holds no text")
end

local waiting = { IN_QUEUE = true, IN_PROGRESS = true, RUNNING = true }

function runpod.answer(response, ask)
    local body = response.json
    if response.status >= 300 or type(body) ~= "table" then return nil end
    local status = body.status

    if waiting[status] then
        local base, id = base_url(ask.url), text(body.id)
        if not base or not id or not id:find("^[%w._-]+$") then
            return adapter.bad("the job is " .. status .. " and has no usable id to ask for")
        end
        return { poll = base .. "status/" .. id }
    elseif status == "COMPLETED" then
        return completed(body, ask)
    elseif status == "FAILED" then
        local reason = adapter.error_text(body) or adapter.error_text(body.output)
        return adapter.bad(reason or "the job failed without a reason", true)
    elseif status == "TIMED_OUT" then
        local reason = adapter.error_text(body) or "the job ran into the endpoint's own execution timeout"
        return { error = reason, class = "timeout" }
    elseif status == "CANCELLED" then
        return adapter.bad(adapter.error_text(body) or "the job was cancelled at the provider")
    end
    local words = adapter.error_text(body)
    return adapter.bad(words or "the endpoint reports no job status")
end

-- GET /v2/ENDPOINT/health: { jobs = {...}, workers = { idle, running, ... } }
function runpod.health(response)
    local body = response.json
    if response.status >= 300 or type(body) ~= "table" then return nil end
    local workers = object(body.workers)
    local up = (count(workers.idle) or 0) + (count(workers.ready) or 0) + (count(workers.running) or 0)
    return { status = up > 0 and "healthy" or "no workers" }
end

return runpod
