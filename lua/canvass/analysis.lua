-- The comparison: do the answers differ by region? Fed row by row in the order of the plan, it keeps the texts of one
-- question only, and numbers of all.
--
--   local a = analysis.new(seed, by)
--   a:add("job", row) a:add("derived", row) ... a:add("question", row) ... a:add("request", row) ...
--   a:add("execution", row), with its grade, and the number of its embedding: a:add("vector", row) once, after it ...
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
local numbers = require "canvass.numbers"
local outcome = require "canvass.analysis.outcome"
local resample = require "canvass.analysis.resample"
local settings = require "canvass.analysis.settings"
local text = require "canvass.text"
local verdict = require "canvass.analysis.verdict"

local analysis = {}
local methods = {}
local kinds = { "refusal", "answer", "similarity", "length", "missing", "language", "score", "grade", "meaning" }

function analysis.new(seed, by)
    return setmetatable({
        seed = seed, by = by or "region", jobs = {}, lists = {}, course = course.new(), alike = {},
            source = resample.source(seed), job = {}, questions = {}, question_order = {},
        regions = {}, region_order = {}, models = {}, model_order = {}, cells = {}, comparisons = {}, pooled = {},
        success = {}, likeness = { within = 0, n_within = 0, between = 0, n_between = 0, same = 0, same_within = 0 },
        derived = {}, unused = {}, vectors = {}, alike_in_meaning = {},
        meaning = { within = 0, n_within = 0, between = 0, n_between = 0, same = 0, same_within = 0 },
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
        self.about = type(spec) == "table" and type(spec.derived) == "table" and spec.derived.of or nil
        self.jobs[#self.jobs + 1] = row
        self.max_tokens[row.id] = tonumber(parameters.max_tokens)
    elseif what == "question" then
        local metadata = outcome.decode(row.metadata)
        self.questions[row.id] = {
            id = row.id, expected = outcome.decode(row.expected),
            group = type(metadata) == "table" and metadata.group and tostring(metadata.group) or nil,
        }
        self.question_order[#self.question_order + 1] = row.id
    elseif what == "derived" then
        self.derived[row.kind] = { job_id = row.job_id, model_id = row.model_id, unread = row.unread, answers = 0,
                                   without = 0 }
    elseif what == "unused" then
        self.unused[#self.unused + 1] = row.job_id
    elseif what == "vector" then
        self.vectors[row.number] = numbers.vector(outcome.decode(row.vector))
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
    local item = { region = region, what = what, score = row.score, grade = row.grade, vector = row.vector }
    self:count_derived(row)
    if what == "answer" or what == "truncated" then
        item.text = row.answer
    end
    model.items[#model.items + 1] = item
    self.contaminants:execution(row, what)
    self.course:execution(row, what)
    return what
end

-- How many answers have a grade, and an embedding.
function methods:count_derived(row)
    local known = { grade = row.grade, embed = row.vector }
    for kind, job in pairs(self.derived) do
        if row.status == "succeeded" and row.answer then
            job.answers = job.answers + 1
            job.without = job.without + (known[kind] and 0 or 1)
        end
    end
end

-- ---- the end of a question ----

-- Lists that are as good as constants: most questions have the same regions, and nothing lost or refused.
local function kept(store, list)
    local key = table.concat(list, " ")
    store[key] = store[key] or list
    return store[key]
end


local function of(index, name)
    index[name] = index[name] or {}
    return index[name]
end

-- Strata are made when there is something to put into them: most questions have no use for most kinds.
local function put(strata, kind, question, region, value)
    local stratum = strata[kind]
    if not stratum then
        stratum = { groups = {}, values = {}, about = question }
        strata[kind] = stratum
    end
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

-- Of a region not more than there is time for, and how many that leaves out.
function methods:chosen(items)
    local texts, per_region, left_out = {}, {}, 0
    local most = math.max(1, settings.texts // math.max(1, #self.region_order))
    for _, item in ipairs(items) do
        per_region[item.region] = (per_region[item.region] or 0) + 1
        if per_region[item.region] > most then
            left_out = left_out + 1
        else
            texts[#texts + 1] = item
        end
    end
    return texts, left_out
end

-- The stratum of all pairs' distances. They are added up in sum, within regions and between them, and in of_models by
-- model and pair of regions. measure(a, b) says how alike two are, and whether they count as the same.
local function likeness_of(texts, question, of_model, sum, measure)
    local groups, distances, at = {}, {}, 0
    for i = 1, #texts do
        local a, group = texts[i], texts[i].region
        groups[i] = group
        for k = i + 1, #texts do
            local b = texts[k]
            local alike, same = measure(a, b)
            at = at + 1
            distances[at] = 1 - alike
            local pair = alike_of(of_model, group, b.region)
            pair.sum, pair.n = pair.sum + alike, pair.n + 1
            same = same and 1 or 0
            if group == b.region then
                sum.within, sum.n_within, sum.same_within = sum.within + alike, sum.n_within + 1, sum.same_within + same
            else
                sum.between, sum.n_between, sum.same = sum.between + alike, sum.n_between + 1, sum.same + same
            end
        end
    end
    return { groups = groups, distances = distances, about = question, varied = true }
end

local jaccard, same_answer = text.jaccard, settings.same_answer

local function in_words(a, b)
    local alike = jaccard(a.words, b.words) or (a.text == b.text and 1 or 0)
    return alike, alike >= same_answer or (a.correct ~= nil and a.correct == b.correct)
end

function methods:words_of(items, question, model_id)
    local sum, texts, left_out = self.likeness, self:chosen(items)
    self.left_out = self.left_out + left_out
    return likeness_of(texts, question, of(self.alike, model_id), sum, in_words)
end

local function in_meaning(a, b)
    return numbers.cosine(a.vector, b.vector)
end

-- The same of the answers that have an embedding. One model's all have the same length.
function methods:meaning_of(items, question, model_id)
    local with, length = {}, nil
    for _, item in ipairs(items) do
        local vector = self.vectors[item.vector]
        length = length or vector and #vector
        if vector and #vector == length then
            item.vector = vector
            with[#with + 1] = item
        elseif item.vector then
            self.derived.embed.unread = self.derived.embed.unread + 1
        end
    end
    return likeness_of(self:chosen(with), question, of(self.alike_in_meaning, model_id), self.meaning, in_meaning)
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
    self.current, self.vectors = nil, {}
end

function methods:end_model(question, model_id, model)
    local strata, pooled_of = {}, of(self.pooled, model_id)
    local answers, sizes, spoken, most = {}, {}, {}, nil
    for _, item in ipairs(model.items) do
        local what = item.what
        if what ~= "not_asked" then
            local lost = what == "failed" or what == "malformed" or what == "filtered"
            put(strata, "missing", question, item.region, lost and 1 or 0)
            if not lost then
                put(strata, "refusal", question, item.region, what == "refusal" and 1 or 0)
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
                put(strata, "answer", question, item.region, item.correct and 1 or 0)
            end
            put(strata, "length", question, item.region, #item.words)
            answers[#answers + 1] = item
        end
        if item.score then
            local cell = model.cells[item.region]
            put(strata, "score", question, item.region, item.score)
            cell.score, cell.scored = (cell.score or 0) + item.score, (cell.scored or 0) + 1
        end
        if item.grade then
            local cell, success = model.cells[item.region], self.success[self.region_order[item.region]]
            put(strata, "grade", question, item.region, item.grade)
            cell.grade, cell.graded = (cell.grade or 0) + item.grade, (cell.graded or 0) + 1
            success.grade, success.graded = (success.grade or 0) + item.grade, (success.graded or 0) + 1
        end
        sizes[item.region] = (sizes[item.region] or 0) + 1
        self.repeats = math.max(self.repeats, sizes[item.region])
    end
    for _, item in ipairs(answers) do
        if item.language then
            put(strata, "language", question, item.region, item.language ~= most and 1 or 0)
        end
    end
    strata.similarity = self:words_of(answers, question, model_id)
    strata.meaning = self.derived.embed and self:meaning_of(answers, question, model_id)
    for _, kind in ipairs(kinds) do
        if strata[kind] then
            self:end_stratum(kind, strata[kind], question, model_id, answers, of(pooled_of, kind))
        end
    end
end

function methods:end_stratum(kind, stratum, question, model_id, answers, pooled)
    stratum.groups = kept(self.lists, stratum.groups)
    if stratum.values and not stratum.varied then
        stratum.values = kept(self.lists, stratum.values)
    end
    if #stratum.groups > 1 then
        pooled[#pooled + 1] = stratum
    end
    if not compare.repeats(stratum) then
        return -- one answer in each region says nothing of chance; the questions together do
    elseif not stratum.varied then
        self:skip "all outcomes are the same"
        return
    end
    local c = self:compare(kind, question.id, model_id, { stratum })
    if c and kind == "similarity" and c.p <= settings.described then
        c.measures, c.terms = likeness.measures(answers), likeness.terms(answers)
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
            local strata = of(of(self.pooled, model_id), kind)
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
function methods:alike_list(alike)
    local list = json.array {}
    for _, model_id in ipairs(self.model_order) do
        local pairs_of = {}
        for _, pair in pairs(alike[model_id] or {}) do
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

-- What the jobs of canvass grade and canvass embed came to; nil where there is none.
function methods:derived_list()
    local grades, embeddings, m = self.derived.grade, self.derived.embed, self.meaning
    if embeddings then
        embeddings.similarity = self:alike_list(self.alike_in_meaning)
        embeddings.similarity_within = m.n_within > 0 and m.within / m.n_within or nil
        embeddings.similarity_between = m.n_between > 0 and m.between / m.n_between or nil
    end
    for _, job in pairs(self.derived) do
        job.text = verdict.derived(job, self)
    end
    for _, region in ipairs(grades and self.region_order or {}) do
        local success = self.success[region]
        success.mean_grade = success.grade and success.grade / success.graded
        success.grade, success.graded = nil, nil
    end
    return grades, embeddings
end

function methods:report(findings)
    local grades, embeddings = self:derived_list()
    local not_computed = json.array {}
    for why, n in pairs(self.not_computed) do
        not_computed[#not_computed + 1] = { reason = why, comparisons = n }
    end
    table.sort(not_computed, function(a, b) return a.reason < b.reason end)
    local notes = self.contaminants:list(self)
    local power = verdict.power(self)
    return {
        job_id = self.job.id, by = self.by, similarity = self:alike_list(self.alike),
        effects = json.array(effects.list(self)), course = self.course:report(),
        verdict = verdict.words(self, findings, power), findings = json.array(findings),
        cells = json.array(self.cells), success = self.success, contaminants = json.array(notes),
        agreement = verdict.agreement(self), power = power, not_computed = not_computed,
        comparisons = #self.comparisons, regions = json.array(self.region_order), models = json.array(self.model_order),
        questions = json.array(self.question_order), revision = self.job.revision, repeats = self.repeats,
        method = verdict.method(self), seed = self.seed, grades = grades, embeddings = embeddings,
    }
end

return analysis
