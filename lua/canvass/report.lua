-- The report of a job in its forms. The comparison is canvass.analysis; this is how it looks.
--
--   local r = report.new(by, seed)
--   r:add(what, row) ...               as the analysis takes them; "file", "program" for the page
--   r:wanted(i) -> question id or nil  whose executions the page needs once more, as "answer"
--   r:render(form, columns, say, say_json)  "json", "csv", "text" or "html", said piece by piece: texts, and values
--                                      that are written as JSON

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
    if what == "execution" then -- which is what there is most of
        self.analysis:add(what, row)
    elseif what == "answer" then
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

-- A cell as others read it, in `all`: there are many.
local function whole(cell, all)
    local n = outcome.counts(cell.tally)
    all.question_id, all.model_id, all.region, all.outcomes = cell.question_id, cell.model_id, cell.region, cell.tally
    all.planned, all.succeeded, all.refused, all.empty = n.planned, n.succeeded, n.refusal, n.empty
    all.truncated, all.filtered, all.malformed, all.failed = n.truncated, n.filtered, n.malformed, n.failed
    all.not_asked, all.correct, all.language, all.phrase = n.not_asked, cell.correct, cell.language, cell.phrase
    all.mean_words = cell.words and cell.words / cell.texts
    all.mean_score = cell.score and cell.score / cell.scored
    all.mean_grade = cell.grade and cell.grade / cell.graded
    return all
end

local function say_cells(cells, say, say_json)
    local all = {}
    for i, cell in ipairs(cells) do
        say(i == 1 and "[" or ",")
        say_json(whole(cell, all))
    end
    say(#cells == 0 and "[]" or "]")
end

local function say_report(r, say, say_json)
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
    local names = {}
    for name in pairs(r) do
        names[#names + 1] = name
    end
    table.sort(names)
    for i, name in ipairs(names) do
        say((i == 1 and "{" or ",") .. json.encode(name) .. ":")
        if name == "cells" then
            say_cells(r.cells, say, say_json)
        else
            say_json(r[name])
        end
    end
    say "}"
end

local columns = { "question_id", "model_id", "region", "planned", "succeeded", "refused", "empty", "truncated",
                  "filtered", "malformed", "failed", "not_asked", "correct", "mean_words",
                  "mean_score", "language", "phrase" }

local function say_csv(r, say)
    local names, all, fields = table.move(columns, 1, #columns, 1, {}), {}, {}
    names[#names + 1] = r.grades and "mean_grade" or nil
    say(table.concat(names, ",") .. "\r\n")
    for _, cell in ipairs(r.cells) do
        whole(cell, all)
        for i, name in ipairs(names) do
            local value = all[name]
            fields[i] = type(value) == "string" and text.csv(value) or math.type(value) == "integer" and value
                or value and ("%.14g"):format(value) or ""
        end
        say(table.concat(fields, ",") .. "\r\n")
    end
end

function methods:render(form, columns_wide, say, say_json)
    local r = self:finish()
    if form == "json" then
        say_report(r, say, say_json)
    elseif form == "csv" then
        say_csv(r, say)
    elseif form == "html" then
        say(page.render(r, self.analysis.course, self.shown, self.prompts, self.record))
    else
        say(terminal.render(r, columns_wide))
    end
end

return report
