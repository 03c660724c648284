-- The comparison: do the answers differ by region? Fed row by row in the order of the plan, it keeps the texts of one
-- question only, and numbers of all.
--
--   local a = analysis.new(seed, by)
--   a:add("job", row) a:add("derived", row) ... a:add("question", row) ... a:add("request", row) ...
--   a:add("execution", row), with its grade, and the number of its embedding: a:add("vector", row) once, after it ...
--   a:finish() -> the report, as `canvass report --json` prints it
--
-- What answers are compared between is called a region here. by = "job" compares two jobs in its place: then a
-- "region" is a job, and a "model" is a model in a region.

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
local strata = require "canvass.analysis.strata"
local text = require "canvass.text"
local verdict = require "canvass.analysis.verdict"

local analysis = {}
local methods = {}
local kinds = { "refusal", "answer", "similarity", "length", "missing", "language", "score", "grade", "meaning" }

function analysis.new(seed, by)
    return setmetatable({
        seed = seed, source = resample.source(seed), by = by or "region", job = {}, jobs = {}, max_tokens = {},
        questions = {}, question_order = {}, regions = {}, region_order = {}, models = {}, model_order = {},
        cells = {}, success = {}, strata = strata.new(), comparisons = {}, pooled = {}, not_computed = {},
        likeness = { within = 0, n_within = 0, between = 0, n_between = 0, same = 0, same_within = 0 }, alike = {},
        meaning = { within = 0, n_within = 0, between = 0, n_between = 0, same = 0, same_within = 0 },
        derived = {}, unused = {}, vectors = {}, alike_in_meaning = {}, left_out = 0, repeats = 0,
        course = course.new(), contaminants = contaminants.new(),
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
    if what == "execution" then
        self:execution(self:placed(row))
    elseif what == "job" then
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

function methods:cell_of(row, model, region)
    local cell = { question_id = row.question_id, model_id = row.model_id, region = row.region, tally = "" }
    model.cells[region] = cell
    self.cells[#self.cells + 1] = cell
    return cell
end

function methods:execution(row)
    if row.question_id ~= self.current then
        self:end_question()
        self.current, self.by_model = row.question_id, {}
    end
    local region = place(self.regions, self.region_order, row.region)
    local model = self.by_model[row.model_id]
    if not model then
        place(self.models, self.model_order, row.model_id)
        model = { cells = {}, items = {} }
        self.by_model[row.model_id] = model
    end
    local cell = model.cells[region] or self:cell_of(row, model, region)
    local what, phrase = outcome.classify(row, self.max_tokens[row.job_id])
    cell.tally = outcome.add(cell.tally, what)
    cell.phrase = cell.phrase or phrase
    local success = self.success[row.region]
    if not success then
        success = { planned = 0, succeeded = 0, answered = 0 }
        self.success[row.region] = success
    end
    local answered = what == "answer" or what == "truncated"
    success.planned = success.planned + 1
    success.succeeded = success.succeeded + (row.status == "succeeded" and 1 or 0)
    success.answered = success.answered + (answered and 1 or 0)
    model.items[#model.items + 1] = { region = region, what = what, text = answered and row.answer or nil,
                                      score = row.score, grade = row.grade, vector = row.vector }
    if next(self.derived) then
        self:count_derived(row)
    end
    self.contaminants:execution(row, what)
    self.course:execution(row, what)
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

-- Of a region not more than there is time for, and how many that leaves out.
function methods:chosen(items)
    local texts, per_region, left_out = {}, {}, 0
    local most = math.max(1, settings.texts // math.max(1, #self.region_order))
    if #items <= most then
        return items, 0
    end
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

local jaccard, same_answer = text.jaccard, settings.same_answer

local function in_words(a, b)
    local share = jaccard(a.words, b.words) or (a.text == b.text and 1 or 0)
    return share, share >= same_answer or (a.correct ~= nil and a.correct == b.correct)
end

function methods:words_of(items, groups, model_id)
    local texts, left_out = self:chosen(items)
    self.left_out = self.left_out + left_out
    groups = left_out > 0 and self.strata:groups_of(texts) or groups
    return strata.likeness(texts, groups, strata.alike_of(self.alike, model_id), self.likeness, in_words)
end

local function in_meaning(a, b)
    return numbers.cosine(a.vector, b.vector)
end

-- The same of the answers that have an embedding. One model's all have the same length.
function methods:meaning_of(items, model_id)
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
    local texts = self:chosen(with)
    return strata.likeness(texts, self.strata:groups_of(texts), strata.alike_of(self.alike_in_meaning, model_id),
        self.meaning, in_meaning)
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

-- What is to be known of a text.
function methods:read(item, question, cell)
    local why
    item.words = text.new(item.text)
    item.language = language.of(item.words)
    cell.language = cell.language or item.language
    cell.words, cell.texts = (cell.words or 0) + #item.words, (cell.texts or 0) + 1
    if question.expected ~= nil then
        item.correct, why = outcome.correct(item.text, question.expected)
        if why then
            self:skip(question.id .. ": " .. why)
        end
        if item.correct ~= nil then
            cell.correct = (cell.correct or 0) + (item.correct and 1 or 0)
        end
    end
end

-- A score or a grade, in the sums of its cell.
local function add_mark(cell, mark, count, value)
    cell[mark], cell[count] = (cell[mark] or 0) + value, (cell[count] or 0) + 1
end

local is_lost = { failed = true, malformed = true, filtered = true }
local value = {
    missing = function(item) return is_lost[item.what] and 1 or 0 end,
    refusal = function(item) return item.what == "refusal" and 1 or 0 end,
    answer = function(item) return item.correct and 1 or 0 end,
    length = function(item) return #item.words end,
    score = function(item) return item.score end,
    grade = function(item) return item.grade end,
}

-- The language that most are in.
local function usual_language(items)
    local spoken, most = {}, nil
    for _, item in ipairs(items) do
        local name = item.language
        spoken[name] = (spoken[name] or 0) + 1
        most = most and spoken[most] >= spoken[name] and most or name
    end
    return most
end

function methods:end_model(question, model_id, model)
    local count, sizes, made, all, scored, graded = #model.items, {}, {}, self.strata, nil, nil
    local asked, came, answers = numbers.list(count), numbers.list(count), numbers.list(count)
    for _, item in ipairs(model.items) do
        local cell = model.cells[item.region]
        asked[#asked + 1] = item.what ~= "not_asked" and item or nil
        if item.what ~= "not_asked" and not is_lost[item.what] then
            came[#came + 1] = item
        end
        if item.text then
            self:read(item, question, cell)
            answers[#answers + 1] = item
        end
        if item.score then
            scored = true
            add_mark(cell, "score", "scored", item.score)
        end
        if item.grade then
            graded = true
            add_mark(cell, "grade", "graded", item.grade)
            add_mark(self.success[self.region_order[item.region]], "grade", "graded", item.grade)
        end
        sizes[item.region] = (sizes[item.region] or 0) + 1
        self.repeats = math.max(self.repeats, sizes[item.region])
    end
    -- Those that came are some of those asked, the answers some of these: as many are the same.
    local of_asked = all:groups_of(asked)
    local of_came = #came == #asked and of_asked or all:groups_of(came)
    local of_answers = #answers == #came and of_came or all:groups_of(answers)
    made.missing = all:of(asked, of_asked, of_came ~= of_asked and value.missing or 0)
    made.refusal = all:of(came, of_came, of_answers ~= of_came and value.refusal or 0)
    made.length = all:of(answers, of_answers, value.length)
    local spoken = strata.with(answers, "language")
    local usual = usual_language(spoken)
    made.language = #spoken > 0 and all:of(spoken,
        #spoken == #answers and of_answers or all:groups_of(spoken),
        function(item) return item.language ~= usual and 1 or 0 end) or nil
    made.answer = question.expected ~= nil and all:marked(answers, "correct", value.answer) or nil
    made.score = scored and all:marked(model.items, "score", value.score)
    made.grade = graded and all:marked(model.items, "grade", value.grade)
    made.similarity = self:words_of(answers, of_answers, model_id)
    made.meaning = self.derived.embed and self:meaning_of(answers, model_id)
    for _, kind in ipairs(kinds) do
        if made[kind] then
            self:end_stratum(kind, made[kind], question, model_id, answers)
        end
    end
end

function methods:pooled_of(model_id, kind)
    local of_model = self.pooled[model_id] or {}
    self.pooled[model_id] = of_model
    of_model[kind] = of_model[kind] or { strata = {}, about = {} }
    return of_model[kind]
end

function methods:end_stratum(kind, stratum, question, model_id, answers)
    if #stratum.groups > 1 then
        local pooled = self:pooled_of(model_id, kind)
        local n = #pooled.strata + 1
        pooled.strata[n], pooled.about[n] = stratum, question
        pooled.varied = pooled.varied or stratum.varied
    end
    if not compare.repeats(stratum) then
        return -- one answer in each region says nothing of chance; the questions together do
    elseif not stratum.varied then
        self:skip "all outcomes are the same"
        return
    end
    local c = self:compare(kind, question.id, model_id, { stratum }, { question })
    if c and kind == "similarity" and c.p <= settings.described then
        c.measures, c.terms = likeness.measures(answers), likeness.terms(answers)
    end
end

function methods:skip(why)
    self.not_computed[why] = (self.not_computed[why] or 0) + 1
end

-- list: of strata; about: of the questions that they are of
function methods:compare(kind, question_id, model_id, list, about)
    local name = kind .. "/" .. model_id .. "/" .. (question_id or "")
    local p, how = compare.p(kind, list, #self.region_order, self.source(name))
    if not p then
        self:skip(how)
        return nil
    end
    local c = { kind = kind, question_id = question_id, model_id = model_id, strata = list, about = about,
                name = name, p = p, test = how, regions = #self.region_order }
    self.comparisons[#self.comparisons + 1] = c
    return c
end

-- ---- the end ----

function methods:finish()
    self:end_question()
    for _, model_id in ipairs(self.model_order) do
        for _, kind in ipairs(kinds) do
            local pooled = self:pooled_of(model_id, kind)
            local list = pooled.strata
            if #list > 1 or (#list == 1 and not compare.repeats(list[1])) then
                self:compare(kind, nil, model_id, list, pooled.about)
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
        for _, pair in pairs(strata.alike_of(alike, model_id).sums) do
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
