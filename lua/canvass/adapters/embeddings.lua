-- Embeddings as OpenAI defined them and vLLM, llama.cpp, Ollama, TEI and many gateways serve them, for `canvass embed`.
-- The url is the whole path, https://HOST/v1/embeddings. The answer is the vector as a JSON list, in as many digits as
-- the 32 bits have that models compute with. parameters.dimensions goes along where a model can shorten its vectors.

local adapter = require "canvass.adapter"
local text, object, count, type = adapter.text, adapter.object, adapter.count, type

local embeddings = {}

embeddings.options = {
    send_model = "string",  -- the model's name at the provider, if not the table's id
}

function embeddings.request(ask)
    local encoding = ask.parameters.encoding_format
    if encoding and encoding ~= "float" then
        return nil, "parameters.encoding_format is set: take it out, what is read are numbers"
    end
    return adapter.add({ model = ask.options.send_model or ask.model, input = ask.prompt }, ask.parameters)
end

embeddings.prepare = embeddings.request

local huge, format = math.huge, string.format

-- The vector as text, or nil and what is wrong with it.
local function written(vector)
    if type(vector) ~= "table" or #vector == 0 then return nil, "the answer has no embedding" end
    local parts, some = {}, false
    for i, x in ipairs(vector) do
        if type(x) ~= "number" or not (x > -huge and x < huge) then
            return nil, format("number %d of the embedding is none", i)
        end
        some = some or x ~= 0
        parts[i] = format("%.9g", x)
    end
    if not some then return nil, "all numbers of the embedding are 0" end
    return "[" .. table.concat(parts, ",") .. "]"
end

function embeddings.answer(response)
    local body = response.json
    if type(body) ~= "table" then return nil end
    if response.status >= 300 or type(body.error) == "table" or type(body.error) == "string" then
        return adapter.failure(body, response.status)
    end
    local list = object(body.data)
    if #list ~= 1 and response.status == 202 then return nil end
    if #list ~= 1 then return adapter.bad(format("the answer has %d embeddings, not one", #list)) end
    local vector, fault = written(object(list[1]).embedding)
    if not vector then return adapter.bad(fault) end
    return { text = vector, model = text(body.model), prompt_tokens = count(object(body.usage).prompt_tokens) }
end

embeddings.health = adapter.listed_health

return embeddings
