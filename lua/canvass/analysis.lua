-- The comparison: do the answers differ by region? Fed row by row in the order of the plan, it keeps the texts of one
-- question only, and numbers of all.
--
--   local a = analysis.new(seed, by)
--   a:add("job", row) a:add("question", row) ... a:add("request", row) ... a:add("execution", row) ...
--   a:finish() -> the report, as `canvass report --json` prints it
--
-- What answers are compared between is called a region here. by = "job" compares two jobs in its place: then a
-- "region" is
-- a job, and a "model" is a model in a region.

local compare = require "canvass.analysis.compare"
local contaminants = require "canvass.analysis.contaminants"
local course = require "canvass.analysis.course"
local effects = require "canvass.analysis.effects"
local json = require "json"
local language = require "canvass.analysis.language"
local likeness = require "canvass.analysis.likeness"
local outcome = require "canvass.analysis.outcome"
local resample = require "canvass.analysis.resample"
local settings = require "canvass.analysis.settings"
local text = require "canvass.text"
local verdict = require "canvass.analysis.verdict"

local analysis = {}
local methods = {}
local kinds = { "refusal", "answer", "similarity", "length", "missing", "language", "score" }

function analysis.new(seed, by)
    return setmetatable({
        seed = seed, by = by or "region", jobs = {}, lists = {}, course = course.new(), alike = {},
            source = resample.source(seed), job = {}, questions = {}, question_order = {},
        regions = {}, region_order = {}, models = {}, model_order = {}, cells = {}, comparisons = {}, pooled = {},
        success = {}, likeness = { within = 0, n_within = 0, between = 0, n_between = 0, same = 0, same_within = 0 },
        max_tokens = {},
        contaminants = contaminants.new(), not_computed = {}, left_out = 0, repeats = 0,
    }, { __index = methods })
end

local function place(index, order, name)
    if not index[name] then
        order[#order + 1] = name
        index[name] = #order
    end
    return index[name]
end

function methods:add(what, row)
    if what == "job" then
        self.job = self.job.id and self.job or row
        local spec = outcome.decode(row.spec)
        local parameters = type(spec) == "table" and type(spec.parameters) == "table" and spec.parameters or {}
        self.jobs[#self.jobs + 1] = row
        self.max_tokens[row.id] = tonumber(parameters.max_tokens)
    elseif what == "question" then
        local metadata = outcome.decode(row.metadata)
        self.questions[row.id] = {
            id = row.id, expected = outcome.decode(row.expected),
            group = type(metadata) == "table" and metadata.group and tostring(metadata.group) or nil,
        }
        self.question_order[#self.question_order + 1] = row.id
    elseif what == "request" then
        self.contaminants:request(self:placed(row))
    elseif what == "execution" then
        self:execution(self:placed(row))
    end
end

-- Where the row belongs.
function methods:placed(row)
    if self.by == "job" then
        row.asked_region = row.region
        row.model_id, row.region = row.model_id .. " in " .. row.region, row.job_id
    end
    return row
end

function methods:execution(row)
    if row.question_id ~= self.current then
        self:end_question()
        self.current, self.by_model = row.question_id, {}
    end
    local region = place(self.regions, self.region_order, row.region)
    place(self.models, self.model_order, row.model_id)
    local model = self.by_model[row.model_id] or { cells = {}, items = {} }
    self.by_model[row.model_id] = model
    local cell = model.cells[region]
    if not cell then
        cell = { question_id = row.question_id, model_id = row.model_id, region = row.region, tally = "" }
        model.cells[region] = cell
        self.cells[#self.cells + 1] = cell
    end
    local what, phrase = outcome.classify(row, self.max_tokens[row.job_id])
    cell.tally = outcome.add(cell.tally, what)
    cell.phrase = cell.phrase or phrase
    local success = self.success[row.region] or { planned = 0, succeeded = 0, answered = 0 }
    self.success[row.region] = success
    success.planned = success.planned + 1
    success.succeeded = success.succeeded + (row.status == "succeeded" and 1 or 0)
    success.answered = success.answered + ((what == "answer" or what == "truncated") and 1 or 0)
    local item = { region = region, what = what, score = row.score }
    if what == "answer" or what == "truncated" then
        item.text = row.answer
    end
    model.items[#model.items + 1] = item
    self.contaminants:execution(row, what)
    self.course:execution(row, what)
    return what
end

-- ---- the end of a question ----

-- Lists that are as good as constants: most questions have the same regions, and nothing lost or refused.
local function kept(store, list)
    local key = table.concat(list, " ")
    store[key] = store[key] or list
    return store[key]
end

local function stratum_of(question)
    return { groups = {}, values = {}, about = question }
end

local function put(stratum, region, value)
    local n = #stratum.groups + 1
    stratum.groups[n], stratum.values[n] = region, value
    stratum.varied = stratum.varied or value ~= stratum.values[1]
end

-- The sum for a pair of regions, over the questions of a model.
local function alike_of(of_model, a, b)
    local key = a <= b and a << 16 | b or b << 16 | a
    local sum = of_model[key] or { sum = 0, n = 0, a = math.min(a, b), b = math.max(a, b) }
    of_model[key] = sum
    return sum
end

-- All pairs' distances, and how alike they are within and between regions.
function methods:likeness_of(items, question, model_id)
    local texts, groups, per_region, jaccard = {}, {}, {}, text.jaccard
    local most = math.max(1, settings.texts // math.max(1, #self.region_order))
    for _, item in ipairs(items) do
        per_region[item.region] = (per_region[item.region] or 0) + 1
        if per_region[item.region] > most then
            self.left_out = self.left_out + 1
        else
            texts[#texts + 1], groups[#groups + 1] = item, item.region
        end
    end
    local sum, distances, of_model = self.likeness, {}, self.alike[model_id] or {}
    self.alike[model_id] = of_model
    for i = 1, #texts do
        local a, group = texts[i], groups[i]
        for k = i + 1, #texts do
            local b = texts[k]
            local alike = jaccard(a.words, b.words) or (a.text == b.text and 1 or 0)
            local same = (alike >= settings.same_answer or (a.correct ~= nil and a.correct == b.correct)) and 1 or 0
            distances[#distances + 1] = 1 - alike
            local pair = alike_of(of_model, group, groups[k])
            pair.sum, pair.n = pair.sum + alike, pair.n + 1
            if group == groups[k] then
                sum.within, sum.n_within, sum.same_within = sum.within + alike, sum.n_within + 1, sum.same_within + same
            else
                sum.between, sum.n_between, sum.same = sum.between + alike, sum.n_between + 1, sum.same + same
            end
        end
    end
    return { groups = groups, distances = distances, about = question, varied = true }
end

function methods:end_question()
    if not self.current then
        return
    end
    local question = self.questions[self.current] or { id = self.current }
    for _, model_id in ipairs(self.model_order) do
        local model = self.by_model[model_id]
        if model then
            self:end_model(question, model_id, model)
        end
    end
    self.current = nil
end

function methods:end_model(question, model_id, model)
    local strata = { refusal = stratum_of(question), answer = stratum_of(question), length = stratum_of(question),
                     missing = stratum_of(question), language = stratum_of(question),
                     score = stratum_of(question) }
    local answers, sizes, spoken, most = {}, {}, {}, nil
    for _, item in ipairs(model.items) do
        local what = item.what
        if what ~= "not_asked" then
            local lost = what == "failed" or what == "malformed" or what == "filtered"
            put(strata.missing, item.region, lost and 1 or 0)
            if not lost then
                put(strata.refusal, item.region, what == "refusal" and 1 or 0)
            end
        end
        if item.text then
            item.words = text.new(item.text:sub(1, 1 << 20))
            local why
            item.correct, why = outcome.correct(item.text, question.expected)
            if why then
                self:skip(question.id .. ": " .. why)
            end
            local cell = model.cells[item.region]
            item.language = language.of(item.words)
            cell.language = cell.language or item.language
            if item.language then
                spoken[item.language] = (spoken[item.language] or 0) + 1
                most = most and spoken[most] >= spoken[item.language] and most or item.language
            end
            cell.words = (cell.words or 0) + #item.words
            cell.texts = (cell.texts or 0) + 1
            if item.correct ~= nil then
                cell.correct = (cell.correct or 0) + (item.correct and 1 or 0)
                put(strata.answer, item.region, item.correct and 1 or 0)
            end
            put(strata.length, item.region, #item.words)
            answers[#answers + 1] = item
        end
        if item.score then
            local cell = model.cells[item.region]
            put(strata.score, item.region, item.score)
            cell.score, cell.scored = (cell.score or 0) + item.score, (cell.scored or 0) + 1
        end
        sizes[item.region] = (sizes[item.region] or 0) + 1
        self.repeats = math.max(self.repeats, sizes[item.region])
    end
    for _, item in ipairs(answers) do
        if item.language then
            put(strata.language, item.region, item.language ~= most and 1 or 0)
        end
    end
    strata.similarity = self:likeness_of(answers, question, model_id)
    for _, kind in ipairs(kinds) do
        local stratum = strata[kind]
        stratum.groups = kept(self.lists, stratum.groups)
        if stratum.values and not stratum.varied then
            stratum.values = kept(self.lists, stratum.values)
        end
        local pooled = self.pooled[model_id .. "\0" .. kind] or {}
        self.pooled[model_id .. "\0" .. kind] = pooled
        if #stratum.groups > 1 then
            pooled[#pooled + 1] = stratum
        end
        -- One answer in each region says nothing of chance; the questions together do.
        if compare.repeats(stratum) then
            if stratum.varied then
                local c = self:compare(kind, question.id, model_id, { stratum })
                if c and kind == "similarity" and c.p <= settings.described then
                    c.measures, c.terms = likeness.measures(answers), likeness.terms(answers)
                end
            else
                self:skip "all outcomes are the same"
            end
        end
    end
end

function methods:skip(why)
    self.not_computed[why] = (self.not_computed[why] or 0) + 1
end

function methods:compare(kind, question_id, model_id, strata)
    local name = kind .. "/" .. model_id .. "/" .. (question_id or "")
    local p, how = compare.p(kind, strata, #self.region_order, self.source(name))
    if not p then
        self:skip(how)
        return nil
    end
    local c = { kind = kind, question_id = question_id, model_id = model_id, strata = strata, name = name, p = p,
                test = how, regions = #self.region_order }
    self.comparisons[#self.comparisons + 1] = c
    return c
end

-- ---- the end ----

function methods:finish()
    self:end_question()
    for _, model_id in ipairs(self.model_order) do
        for _, kind in ipairs(kinds) do
            local strata = self.pooled[model_id .. "\0" .. kind]
            if #strata > 1 or (#strata == 1 and not compare.repeats(strata[1])) then
                self:compare(kind, nil, model_id, strata)
            end
        end
    end
    self.unresolved = compare.resolve(self.comparisons, self.source)
    compare.adjust(self.comparisons)
    local found, told = {}, {}
    for _, c in ipairs(self.comparisons) do
        if c.p_adjusted <= settings.alpha then
            compare.explain(c, self.source)
            if compare.is_finding(c) then
                found[#found + 1] = c
                told[c.kind .. "\0" .. c.model_id] = told[c.kind .. "\0" .. c.model_id] or c.question_id
            end
        end
    end
    local findings = {}
    for _, c in ipairs(found) do
        -- What is known of single questions is not said once more of all together.
        if c.question_id or not told[c.kind .. "\0" .. c.model_id] then
            findings[#findings + 1] = verdict.finding(c, self)
        end
    end
    table.sort(findings, function(a, b)
        if a.p_adjusted ~= b.p_adjusted then
            return a.p_adjusted < b.p_adjusted
        end
        return a.text < b.text
    end)
    return self:report(findings)
end

-- How alike the answers of two regions are, or of one: a list for each model.
function methods:alike_list()
    local list = json.array {}
    for _, model_id in ipairs(self.model_order) do
        local pairs_of = {}
        for _, pair in pairs(self.alike[model_id] or {}) do
            pairs_of[#pairs_of + 1] = pair
        end
        table.sort(pairs_of, function(x, y) return x.a < y.a or x.a == y.a and x.b < y.b end)
        for _, pair in ipairs(pairs_of) do
            list[#list + 1] = { model_id = model_id, similarity = pair.sum / pair.n, pairs = pair.n,
                                regions = { self.region_order[pair.a], self.region_order[pair.b] } }
        end
    end
    return list
end

function methods:report(findings)
    local not_computed = json.array {}
    for why, n in pairs(self.not_computed) do
        not_computed[#not_computed + 1] = { reason = why, comparisons = n }
    end
    table.sort(not_computed, function(a, b) return a.reason < b.reason end)
    local notes = self.contaminants:list(self)
    local power = verdict.power(self)
    return {
        job_id = self.job.id, by = self.by, similarity = self:alike_list(), effects = json.array(effects.list(self)),
        course = self.course:report(), verdict = verdict.words(self, findings, power), findings = json.array(findings),
        cells = json.array(self.cells), success = self.success, contaminants = json.array(notes),
        agreement = verdict.agreement(self), power = power, not_computed = not_computed,
        comparisons = #self.comparisons, regions = json.array(self.region_order), models = json.array(self.model_order),
        questions = json.array(self.question_order), revision = self.job.revision, repeats = self.repeats,
        method = verdict.method(self), seed = self.seed,
    }
end

return analysis
