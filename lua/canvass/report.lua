-- The report of a job in its forms. The comparison is canvass.analysis; this is how it looks.
--
--   local r = report.new(by, seed)
--   r:add(what, row) ...               as the analysis takes them; "file", "program" for the page
--   r:wanted(i) -> question id or nil  whose executions the page needs once more, as "answer"
--   r:render(form, columns)            "json" (a table), "csv", "text", "html"

local analysis = require "canvass.analysis"
local json = require "json"
local outcome = require "canvass.analysis.outcome"
local page = require "canvass.report.page"
local terminal = require "canvass.report.terminal"
local text = require "canvass.text"

local report = {}
local methods = {}

function report.new(by, seed)
    return setmetatable({
        analysis = analysis.new(seed, by), shown = {}, index = {}, prompts = {}, record = { jobs = {}, files = {} },
    }, { __index = methods })
end

function methods:add(what, row)
    local record = self.record
    if what == "answer" then
        row = self.analysis:placed(row)
        self.prompts[row.question_id] = row.prompt
        page.collect(self.shown, self.index, row, (outcome.classify(row, self.analysis.max_tokens[row.job_id])))
    elseif what == "rules" then
        record.rules = (record.rules and record.rules .. ", " or "") .. row.name
    elseif what == "file" then
        record.files[#record.files + 1] = row
    elseif what == "program" then
        record.version, record.sqlite = row.version, row.sqlite
    else
        if what == "job" then
            record.jobs[#record.jobs + 1] = row
        end
        self.analysis:add(what, row)
    end
end

function methods:finish()
    if not self.result then
        self.result = self.analysis:finish()
        if self.record.rules then
            self.result.method = ("%s Not by the program's own rules: %s."):format(self.result.method,
                self.record.rules)
        end
    end
    return self.result
end

function methods:wanted(i)
    self.list = self.list or page.wanted(self:finish())
    return self.list[i]
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

-- A cell as others read it.
local function whole(cell)
    local n = outcome.counts(cell.tally)
    return {
        question_id = cell.question_id, model_id = cell.model_id, region = cell.region, planned = n.planned,
        succeeded = n.succeeded, refused = n.refusal, empty = n.empty, truncated = n.truncated, filtered = n.filtered,
        malformed = n.malformed, failed = n.failed, not_asked = n.not_asked, correct = cell.correct,
            language = cell.language,
        mean_words = cell.words and cell.words / cell.texts, mean_score = cell.score and cell.score / cell.scored,
        mean_grade = cell.grade and cell.grade / cell.graded,
        phrase = cell.phrase, outcomes = cell.tally,
    }
end

local function as_json(r)
    for i, cell in ipairs(r.cells) do
        r.cells[i] = whole(cell)
    end
    nulls(r.verdict, "differs")
    nulls(r.agreement, "between", "within", "similarity_between", "similarity_within")
    nulls(r.power, "detectable", "needed")
    nulls(r.course, "seconds", "posts_per_answer", "cost")
    if r.embeddings then
        nulls(r.embeddings, "similarity_within", "similarity_between")
    end
    for _, f in ipairs(r.findings) do
        nulls(f, "question_id")
    end
    for _, e in ipairs(r.effects) do
        nulls(e, "low", "high")
    end
    return r
end

local columns = { "question_id", "model_id", "region", "planned", "succeeded", "refused", "empty", "truncated",
                  "filtered", "malformed", "failed", "not_asked", "correct", "mean_words",
                  "mean_score", "language", "phrase" }

local function as_csv(r)
    local names = table.move(columns, 1, #columns, 1, {})
    names[#names + 1] = r.grades and "mean_grade" or nil
    local lines = { table.concat(names, ",") }
    for _, cell in ipairs(r.cells) do
        local fields = {}
        local all = whole(cell)
        for i, name in ipairs(names) do
            local value = all[name]
            fields[i] = type(value) == "string" and text.csv(value) or value and ("%.14g"):format(value) or ""
        end
        lines[#lines + 1] = table.concat(fields, ",")
    end
    return table.concat(lines, "\r\n") .. "\r\n"
end

function methods:render(form, columns_wide)
    local r = self:finish()
    if form == "json" then
        return as_json(r)
    elseif form == "html" then
        return page.render(r, self.analysis.course, self.shown, self.prompts, self.record)
    end
    return form == "csv" and as_csv(r) or terminal.render(r, columns_wide)
end

return report
