-- CSV, one line for each execution and one column for each fact (Wickham 2014, Journal of Statistical Software 59).
-- RFC 4180; a text that a spreadsheet would take for a formula gets an apostrophe before it.

local json = require "json"
local text = require "canvass.text"

local tidy = {}
local methods = {}

local columns = {
    "job_id", "execution_id", "question_id", "model_id", "region", "sample", "status", "class", "outcome",
    "refusal_phrase", "correct", "score", "prompt", "answer", "expected", "error", "cold", "attempts", "posts", "hops",
    "prompt_tokens", "completion_tokens", "cost", "revision", "queued_at", "started_at", "ended_at", "seconds",
}

function tidy.new(put)
    return setmetatable({ put = put }, { __index = methods })
end

function methods:job()
    self.put("", table.concat(columns, ",") .. "\r\n")
end

function methods.endpoint() end
function methods.finish() end

local function field(value)
    if value == nil then
        return ""
    elseif type(value) == "boolean" then
        return value and "1" or "0"
    elseif type(value) == "table" then
        return text.csv(json.encode(value))
    end
    return type(value) == "string" and text.csv(value) or math.type(value) == "integer" and ("%d"):format(value) or
        ("%.17g"):format(value)
end

function methods:execution(row)
    local fields = {}
    row.execution_id, row.refusal_phrase = row.id, row.phrase
    row.seconds = row.started_at and row.ended_at and row.ended_at - row.started_at or nil
    for i, name in ipairs(columns) do
        fields[i] = field(row[name])
    end
    self.put("", table.concat(fields, ",") .. "\r\n")
end

return tidy
