-- The report of a job in its forms. The comparison is canvass.analysis; this is how it looks.

local analysis = require "canvass.analysis"
local json = require "json"
local text = require "canvass.text"

local report = {}
local methods = {}

function report.new(seed)
    return setmetatable({ analysis = analysis.new(seed) }, { __index = methods })
end

function methods:add(what, row)
    self.analysis:add(what, row)
end

-- nil has no place in a Lua table, but in JSON it is a null that was said.
local function nulls(object, ...)
    for _, key in ipairs { ... } do
        if object[key] == nil then
            object[key] = json.null
        end
    end
    return object
end

local function as_json(r)
    nulls(r.verdict, "differs")
    nulls(r.agreement, "between", "within", "similarity_between", "similarity_within")
    nulls(r.power, "detectable", "needed")
    for _, f in ipairs(r.findings) do
        nulls(f, "question_id")
    end
    return r
end

local columns = { "question_id", "model_id", "region", "planned", "succeeded", "refused", "empty", "truncated",
                  "filtered", "malformed", "failed", "not_asked", "correct", "mean_words",
                  "mean_score", "script", "phrase" }

local function as_csv(r)
    local lines = { table.concat(columns, ",") }
    for _, cell in ipairs(r.cells) do
        local fields = {}
        for i, name in ipairs(columns) do
            local value = cell[name]
            fields[i] = type(value) == "string" and text.csv(value) or value and ("%.14g"):format(value) or ""
        end
        lines[#lines + 1] = table.concat(fields, ",")
    end
    return table.concat(lines, "\r\n") .. "\r\n"
end

function methods:render(form, columns_wide)
    self.result = self.result or self.analysis:finish()
    if form == "json" then
        return as_json(self.result)
    end
    return form == "csv" and as_csv(self.result) or as_text(self.result, columns_wide)
end

return report
