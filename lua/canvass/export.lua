-- A job's executions in the forms of other tools, piece by piece: nothing of the job is kept but counts.
--
--   local e = export.new("inspect")        inspect, lm-eval, promptfoo, csv
--   e:add(what, row) ...                   "job", "endpoint", "question", "execution", and "end"
--   e:take() -> file, text                 until nil: what to append to which file; file "" where there is but one
--
-- A format is a module with new(put); put(file, text) gives a piece. Its methods are called with what is said above,
-- executions with `outcome`, `phrase`, `correct`, `expected` and `metadata` besides.

local outcome = require "canvass.analysis.outcome"

local export = {}
local methods = {}

local modules = {
    inspect = require "canvass.export.inspect", ["lm-eval"] = require "canvass.export.lm_eval",
    promptfoo = require "canvass.export.promptfoo", csv = require "canvass.export.tidy",
}

function export.new(form)
    local self = setmetatable({ pieces = {}, next = 1, questions = {} }, { __index = methods })
    self.format = modules[form].new(function(file, text) self.pieces[#self.pieces + 1] = { file, text } end)
    return self
end

function methods:add(what, row)
    local format = self.format
    if what == "job" then
        local spec = outcome.decode(row.spec)
        row.parameters = type(spec) == "table" and type(spec.parameters) == "table" and spec.parameters or {}
        self.max_tokens = tonumber(row.parameters.max_tokens)
        format:job(row)
    elseif what == "endpoint" then
        format:endpoint(row)
    elseif what == "question" then
        row.expected, row.metadata = outcome.decode(row.expected), outcome.decode(row.metadata)
        self.questions[row.id], self.count = row, (self.count or 0) + 1
        row.position = self.count
    elseif what == "execution" then
        local question = self.questions[row.question_id]
        row.position, row.expected, row.metadata = question.position, question.expected, question.metadata
        row.outcome, row.phrase = outcome.classify(row, self.max_tokens)
        if row.outcome == "answer" or row.outcome == "truncated" then
            row.correct = outcome.correct(row.answer, row.expected)
        end
        format:execution(row)
    elseif what == "end" then
        format:finish()
    end
end

function methods:take()
    local piece = self.pieces[self.next]
    if not piece then
        self.pieces, self.next = {}, 1
        return nil
    end
    self.next = self.next + 1
    return piece[1], piece[2]
end

-- What was expected, as text or a list of texts: other tools know no more.
function export.target(expected)
    if type(expected) ~= "table" then
        return expected == nil and "" or tostring(expected)
    elseif expected.exact ~= nil or expected.pattern ~= nil or expected.number ~= nil then
        return tostring(expected.exact or expected.pattern or expected.number)
    end
    local list = {}
    for i, one in ipairs(expected.one_of or expected) do
        list[i] = export.target(one)
    end
    return #list == 1 and list[1] or list
end

return export
