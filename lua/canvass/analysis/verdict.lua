-- What the numbers come to in words. Each sentence needs several of them to agree, and says which.

local outcome = require "canvass.analysis.outcome"
local settings = require "canvass.analysis.settings"
local tests = require "canvass.analysis.tests"

local verdict = {}

local function percent(x)
    return ("%.0f %%"):format(100 * x)
end

local function join(list)
    if #list < 2 then
        return list[1] or ""
    end
    return table.concat(list, ", ", 1, #list - 1) .. " and " .. list[#list]
end

-- What is compared, in words.
local places = { region = { one = "region", many = "regions" }, job = { one = "job", many = "jobs" } }

local verbs = {
    refusal = "refuses", answer = "gives the expected answer", missing = "is missing",
    language = "answers in another language",
}

-- A comparison as the report's finding.
function verdict.finding(c, a)
    local names = {}
    for i, region in ipairs(c.named) do
        names[i] = a.region_order[region]
    end
    local where, about = join(names), c.question_id and ("%s, %s"):format(c.question_id, c.model_id) or
        c.model_id .. ", over its questions"
    local words
    if c.kind == "similarity" then
        words = ("answers of %s are less alike between %s than within one (by %s of their words)"):format(where,
            places[a.by].many, percent(c.effect))
    elseif c.kind == "meaning" then
        words = ("answers of %s are less alike in meaning between %s than within one (by %.2g of the cosine)"):format(
            where, places[a.by].many, c.effect)
    else
        local high = c.high_region and a.region_order[c.high_region] or where
        local low = c.low_region and "in " .. a.region_order[c.low_region] or "elsewhere"
        local more = c.effect > 0 and "more" or "less"
        if c.kind == "length" then
            words = ("answers in %s are %s %s than %s"):format(high, percent(math.abs(c.effect)),
                c.effect > 0 and "longer" or "shorter", low)
        elseif c.kind == "score" or c.kind == "grade" then
            words = ("%ss are %.3g %s in %s than %s"):format(c.kind, math.abs(c.effect),
                c.effect > 0 and "higher" or "lower", high, low)
        else
            words = ("%s %s often in %s than %s (%s points)"):format(verbs[c.kind], more, high, low,
                ("%.0f"):format(100 * math.abs(c.effect)))
        end
    end
    local terms
    for place, list in pairs(c.terms or {}) do
        terms = terms or {}
        terms[a.region_order[place]] = list
    end
    return {
        measures = c.measures, terms = terms,
        question_id = c.question_id, model_id = c.model_id, regions = names, kind = c.kind, effect = c.effect,
        interval = { c.low, c.high }, p = c.p, p_adjusted = c.p_adjusted, test = c.test, text = about .. ": " .. words,
    }
end

function verdict.agreement(a)
    local l = a.likeness
    local function share(x, n) return n > 0 and x / n or nil end
    return {
        between = share(l.same, l.n_between), within = share(l.same_within, l.n_within),
        similarity_between = share(l.between, l.n_between), similarity_within = share(l.within, l.n_within),
        pairs_between = l.n_between, pairs_within = l.n_within,
    }
end

-- What difference in refusals between two regions would have been seen: by the repeats of one question, or by the
-- questions of a model; with all comparisons corrected for.
function verdict.power(a)
    local refused, answered = 0, 0
    for _, cell in ipairs(a.cells) do
        local n = outcome.counts(cell.tally)
        refused, answered = refused + n.refusal, answered + n.succeeded
    end
    local by_question = a.repeats > 1
    local n, of = by_question and a.repeats or #a.question_order, by_question and "repeats" or "questions"
    local alpha = settings.alpha / math.max(1, #a.comparisons)
    local base = math.min(0.5, answered > 0 and refused / answered or 0)
    local detectable, why = tests.detectable(n, of, base, alpha, settings.power)
    local needed = tests.needed(base, math.min(1, base + settings.detect), of, alpha, settings.power)
    return { unit = by_question and "repeats of a question" or "questions of a model", n = n, base = base,
             alpha = alpha, detectable = detectable, reason = why, wanted = settings.detect, needed = needed }
end

local function missing_share(a)
    local planned, succeeded = 0, 0
    for _, s in pairs(a.success) do
        planned, succeeded = planned + s.planned, succeeded + s.succeeded
    end
    return planned > 0 and 1 - succeeded / planned or 1
end

-- Of answers only: that cells are missing more often somewhere is told, but is no answer.
local function cells_named(findings)
    local n, kinds, seen = 0, {}, {}
    for _, f in ipairs(findings) do
        if f.kind ~= "missing" then
            n = n + 1
            if not seen[f.kind] then
                seen[f.kind] = true
                kinds[#kinds + 1] = f.kind
            end
        end
    end
    return n, kinds
end

local function agree_words(agreement, place)
    if not agreement.between then
        return ("no two %s have answers to compare"):format(place.many)
    end
    local within = agreement.within and ("within a %s %s do"):format(place.one, percent(agreement.within)) or
        ("how many do within one %s is not known: nothing was asked twice there"):format(place.one)
    return ("%s of the answers agree between %s; %s"):format(percent(agreement.between), place.many, within)
end

function verdict.words(a, findings, power)
    local n, kinds = cells_named(findings)
    local agreement, lost = verdict.agreement(a), missing_share(a)
    local place = places[a.by]
    local agree = agree_words(agreement, place)
    local function say(differs, format, ...)
        return { differs = differs, text = format:format(...) }
    end
    if n > 0 then
        return say(true, "The answers differ by %s: %d finding%s (%s), each beyond the noise of its repeats " ..
            "or questions, corrected for %d comparisons. %s.", place.one, n, n == 1 and "" or "s", join(kinds),
            #a.comparisons, agree)
    elseif #a.region_order < 2 then
        return say(nil, "Cannot tell: the answers come from one %s only.%s", place.one, a.about and
            (" They are about the answers of %s: see canvass report %s."):format(a.about, a.about) or "")
    elseif not agreement.between then
        return say(nil, "Cannot tell: %s.", agree)
    elseif lost > settings.missing or #findings > 0 then
        return say(nil, "Cannot tell: %s of the executions have no answer%s. No other difference was found. %s.",
            percent(lost), #findings > 0 and (", more in some %s than in others"):format(place.many) or "", agree)
    elseif not power.detectable or power.detectable > settings.detect then
        return say(nil, "Cannot tell: no difference was found, but with %d %s %s. It takes %d to see %s. %s.",
            power.n, power.unit, power.detectable and ("only one of %s or more in refusals would have shown"):format(
            percent(power.detectable)) or "none would have shown", power.needed, percent(settings.detect), agree)
    elseif not agreement.within and agreement.between < settings.agreement then
        return say(nil, "Cannot tell: refusals do not differ, but %s.", agree)
    elseif agreement.between < settings.agreement then
        return say(false, "No difference by %s was found, though answers vary a great deal: %s. A difference of " ..
            "%s in refusals would have shown.", place.one, agree, percent(power.detectable))
    end
    return say(false, "No difference by %s was found: %s, and a difference of %s in refusals would have shown.",
        place.one, agree, percent(power.detectable))
end

-- What a job of canvass grade or canvass embed came to.
function verdict.derived(job, a)
    local grades = job == a.derived.grade
    local text = ("%s by %s (%s) of %d of %d answers"):format(grades and "Grades" or "Embeddings", job.model_id,
        job.job_id, job.answers - job.without, job.answers)
    if job.unread > 0 then
        text = text .. ("; no %s can be read in %d %s"):format(grades and "grade" or "embedding", job.unread,
            job.unread == 1 and "reply" or "replies")
    end
    if job.similarity_between then
        text = text .. ("; mean cosine %.3g between %s"):format(job.similarity_between, places[a.by].many)
    end
    if job.similarity_within then
        text = text .. (", %.3g within a %s"):format(job.similarity_within, places[a.by].one)
    end
    return text .. "."
end

function verdict.method(a)
    local grades, embeddings = a.derived.grade, a.derived.embed
    local text = ("%d comparisons: for each question and model with repeats, and for each model over its questions: " ..
        "refusals, expected answers, likeness (Jaccard, words), length, language, missing cells and the job's " ..
            "scores%s. Exact " ..
        "and permutation tests (up to %d draws, seed %d) that exchange answers within a question only; Holm over " ..
        "all of them at %g. A finding also has an interval without 0 and an effect of a relevant size. Missing " ..
        "cells are not filled in. Refusals are found by phrases; likeness is that of words%s."):format(
        #a.comparisons, (grades and ", the grades of " .. grades.job_id or "") ..
        (embeddings and ", likeness in meaning (cosine) by " .. embeddings.job_id or ""),
        settings.draws, a.seed, settings.alpha, embeddings and "; that of meaning is what a model takes for it" or
        ", not of meaning")
    if #a.unused > 0 then
        text = text .. (" What is said of single jobs is not compared: %s."):format(join(a.unused))
    end
    if a.unresolved > 0 then
        text = text .. (" %d comparisons would have taken more draws than were made to be told from chance: a " ..
            "finding may be missing."):format(a.unresolved)
    end
    if a.left_out > 0 then
        text = text .. (" Likeness leaves out %d answers: at most %d of a question and model are compared."):format(
            a.left_out, settings.texts)
    end
    return text
end

return verdict
