-- Inference functions on Modal that answer { status = "success" | success = true, response, model, region, ... },
-- with and without a receipt. They answer 200 for failures too.

local adapter = require "canvass.adapter"
local text, object, count, type = adapter.text, adapter.object, adapter.count, type

local modal = {}

modal.options = {
    send_region = "boolean",  -- for an app that serves several regions and wants to be told which
    send_model = "string",    -- what the endpoint calls the model, if not by the table's id
}

function modal.request(ask)
    local options = ask.options
    return adapter.add({
        model = options.send_model or ask.model,
        prompt = ask.prompt,
        region = options.send_region and ask.region or nil,
    }, ask.parameters)
end

modal.prepare = modal.request

-- These say that the request itself is wrong: asking again would give the same.
local function is_permanent(message)
    return message:find("^%s*Unknown model") ~= nil or message:find("^%s*Prompt is required") ~= nil
end

local function failure(body)
    local message = adapter.error_text(body) or "the endpoint reports a failure and gives no reason"
    if is_permanent(message) then return { error = message, class = "config" } end
    return adapter.bad(message, true)
end

function modal.answer(response)
    local body = response.json
    if response.status >= 300 or type(body) ~= "table" then return nil end
    if body.success ~= true and body.status ~= "success" then
        if body.success == false or body.status == "error" then return failure(body) end
        if response.status == 202 then return nil end -- not yet, whatever words it has for that
        return adapter.bad("the endpoint says neither success nor error")
    end

    local answer = text(body.response) or text(body.output) or text(body.text)
    if not answer then
        return adapter.bad("the endpoint reports success without a text in response, output or text")
    end
    local model, region, tokens = text(body.model), text(body.region), count(body.tokens_generated)
    if body.receipt then
        local receipt = object(body.receipt)
        local details = object(receipt.execution_details)
        model, region = model or text(details.model), region or text(details.region)
        tokens = tokens or count(object(receipt.output).tokens_generated)
    end
    return { text = answer, model = model, region = region, completion_tokens = tokens }
end

function modal.health(response)
    local body = response.json
    if response.status >= 300 or type(body) ~= "table" then return nil end
    return { status = text(body.status), region = text(body.region), models = body.models_available }
end

return modal
