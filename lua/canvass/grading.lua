-- Jobs about the answers of another job: `canvass grade` has a model grade them, `canvass embed` takes embeddings.
--
--   grading.grade(answers, options)    a job that asks for the grade of each answer; its score is the grade
--   grading.embed(answers, options)    a job that asks for the embedding of each answer
--
-- answers: canvass.jsonl of what the command wrote: a line for each answer that differs from the others to its
-- question, { id, question, executions = { numbers in the plan of the other job, from 1 } } with prompt, expected and
-- answer; to embed the prompt is the answer itself.
-- options: name, of = the other job's id, by = a model, region (nil: the one that has it); to grade rubric, and file =
-- what to call it in errors.
--
-- A rubric returns { prompt = function(item) -> text, score = function(reply, item) -> number or nil,
-- parameters = {} }; item has question (its id), prompt, expected and answer, and nothing about where the answer comes
-- from. For rubrics:
--
--   grading.fence(text, ...)           puts texts between marks that none of these texts has
--   grading.verdict(reply)             the score in the one JSON object of a reply that has one; or nil

local json = require "json"

local grading = {}

-- ---- the jobs ----

local function job(options, kind, questions)
    return {
        name = options.name, questions = questions, models = { options.by },
        regions = options.region and { options.region }, policy = "free",
        derived = { of = options.of, kind = kind },
    }
end

local KEYS = { prompt = "function", score = "function", parameters = "table" }

local function fail(file, what, cure)
    error(("%s (%s): %s"):format(what, file, cure), 0)
end

local function check(rubric, file)
    if type(rubric) ~= "table" then
        fail(file, "the rubric is a " .. type(rubric), "return { prompt = function(item) ... end, score = " ..
            "function(reply, item) ... end }")
    end
    for key, value in pairs(rubric) do
        if not KEYS[key] then
            fail(file, ('unknown key "%s"'):format(tostring(key)), "a rubric has prompt, score and parameters")
        elseif type(value) ~= KEYS[key] then
            fail(file, ("%s is a %s"):format(key, type(value)), "write it as a " .. KEYS[key])
        end
    end
    for _, key in ipairs { "prompt", "score" } do
        if not rubric[key] then
            fail(file, "the rubric has no " .. key, "write it as a function")
        end
    end
    return rubric
end

local function item_of(row)
    return { question = row.question, prompt = row.prompt, expected = row.expected, answer = row.answer }
end

-- Prompts and items are made when they are looked at: however many answers there are, the script's memory is enough.
function grading.grade(answers, options)
    local rubric, items = check(options.rubric, options.file), answers:map(item_of)
    local made = job(options, "grade", answers:map(function(row, line)
        local prompt = rubric.prompt(item_of(row))
        if type(prompt) ~= "string" then
            fail(options.file, ("prompt returned a %s for %s"):format(type(prompt), row.id), "return text to be asked")
        end
        return { id = row.id, prompt = prompt, question = row.question, executions = row.executions, line = line }
    end))
    made.parameters = rubric.parameters
    made.score = function(reply, question)
        return rubric.score(reply, items[question.line])
    end
    return made
end

function grading.embed(answers, options)
    return job(options, "embed", answers)
end

-- ---- for rubrics: what is asked ----

-- Returns a function (name, text) that gives the text between a line [NAME n] and a line [END n], in letters as they
-- are, and the number n: such that no line of any of the texts can be taken for a mark.
function grading.fence(...)
    local seen, n = {}, 1
    for _, text in ipairs { ... } do
        for number in text:gmatch("%[%s*%a+%s*(%d+)%s*%]") do
            seen[number] = true
        end
    end
    while seen[tostring(n)] do
        n = n + 1
    end
    return function(name, text)
        return ("[%s %d]\n%s\n[END %d]"):format(name, n, text, n)
    end, n
end

-- ---- for rubrics: what came back ----

local LONGEST = 1 << 16 -- bytes of a reply that is read; a grade takes less
local STEPS = 100000    -- brackets and quotes looked at, so that no reply costs more than a moment

-- Where the object that begins at `from` ends; nil when it does not.
local function ending(text, from, budget)
    local depth, at = 0, from
    while budget.left > 0 do
        budget.left = budget.left - 1
        local place, _, sign = text:find('(["{}])', at)
        if not place then
            return nil
        elseif sign == '"' then
            repeat -- to the quote that ends it
                place, _, sign = text:find('(["\\])', place + 1)
                place = place and sign == "\\" and place + 1 or place
                budget.left = budget.left - 1
            until not place or sign == '"'
            if not place then
                return nil
            end
        else
            depth = depth + (sign == "{" and 1 or -1)
            if depth == 0 then
                return place
            end
        end
        at = place + 1
    end
end

-- The score of the one JSON object of the reply that has a score; nil when there is none, or two, or it says it twice,
-- or what it says is no number from 0 to 1. The second value says why there is none.
function grading.verdict(reply)
    if #reply > LONGEST then
        return nil, "the reply is too long"
    end
    local budget, at, found = { left = STEPS }, 1, nil
    while true do
        local from = reply:find("{", at, true)
        if not from then
            break
        end
        local to = ending(reply, from, budget)
        if budget.left <= 0 then
            return nil, "the reply has too many brackets"
        end
        local text = to and reply:sub(from, to)
        local ok, value = pcall(json.decode, text)
        if ok and type(value) == "table" then
            if value.score ~= nil then
                if found or select(2, text:gsub('"score"%s*:', "")) > 1 then
                    return nil, "the reply has more than one score"
                end
                found = value
            end
            at = to + 1
        else
            at = from + 1
        end
    end
    local score = found and found.score
    if not found then
        return nil, "the reply has no score"
    elseif type(score) ~= "number" or not (score >= 0 and score <= 1) then
        return nil, "the score is no number from 0 to 1"
    end
    return score, json.text(found.reason)
end

return grading
