-- How far each region is from the others, for each model: every effect with its interval, found or not. For looking at:
-- the intervals are each by itself, and only findings are corrected for how many there are.

local numbers = require "canvass.numbers"
local settings = require "canvass.analysis.settings"
local tests = require "canvass.analysis.tests"

local effects = {}

local KINDS = { "refusal", "answer", "missing", "language", "length", "score", "grade" }
local SHARES = { refusal = true, answer = true, missing = true, language = true }

local function means(stratum, region)
    local inside, n_inside, outside, n_outside = 0, 0, 0, 0
    for i, value in ipairs(stratum.values) do
        if stratum.groups[i] == region then
            inside, n_inside = inside + value, n_inside + 1
        else
            outside, n_outside = outside + value, n_outside + 1
        end
    end
    return inside, n_inside, outside, n_outside
end

-- The clusters that questions come in, by number; known: those so far.
local function clusters_of(about, known)
    local list = numbers.list(#about)
    for i, question in ipairs(about) do
        local name = question.group or question.id
        if not known.number[name] then
            known.count = known.count + 1
            known.number[name] = known.count
        end
        list[i] = known.number[name]
    end
    return list
end

local function difference(kind, stratum, region)
    local x, n, y, m = means(stratum, region)
    if n == 0 or m == 0 or (kind == "length" and y <= 0) then
        return false
    elseif stratum.varied == false then
        return 0.0, { x, n, y, m } -- exactly, whatever the sums are rounded to
    end
    return kind == "length" and (x / n) / (y / m) - 1 or x / n - y / m, { x, n, y, m }
end

-- Without any that varies there is nothing to add up.
local function none(strata, cluster, region, kind)
    local n, first, several, known = 0, nil, false, {}
    for i, stratum in ipairs(strata) do
        if known[stratum] == nil then -- there is one for many questions
            known[stratum] = difference(kind, stratum, region)
        end
        if known[stratum] then
            n, first = n + 1, first or cluster[i]
            several = several or cluster[i] ~= first
        end
    end
    return several and { effect = 0.0, low = 0.0, high = 0.0, questions = n } or nil
end

local function one(kind, pooled, cluster, region)
    local strata, only, known = pooled.strata, nil, {}
    local nothing = not pooled.varied and none(strata, cluster, region, kind)
    if nothing then
        return nothing
    end
    local list, clusters = numbers.list(#strata), numbers.list(#strata)
    for i, stratum in ipairs(strata) do
        local d = known[stratum]
        if d == nil then
            d, only = difference(kind, stratum, region)
            known[stratum] = stratum.varied == false and d or nil
        end
        if d then
            list[#list + 1], clusters[#clusters + 1] = d, cluster[i]
        end
    end
    if #list == 0 then
        return nil
    end
    local level = 1 - settings.alpha
    local mean = tests.clustered_mean(list, clusters, level)
    if mean then
        return { effect = mean.mean, low = mean.low, high = mean.high, questions = #list }
    elseif #list == 1 and only and SHARES[kind] then
        local low, high = tests.newcombe(only[1], only[2], only[3], only[4], level)
        return { effect = list[1], low = low, high = high, questions = 1 }
    end
    return { effect = list[1], questions = #list, reason = "one question has no interval" }
end

-- a: the analysis. With two regions the second is the first's mirror, and left out.
function effects.list(a)
    local list, known = {}, { number = {}, count = 0 }
    for _, kind in ipairs(KINDS) do
        for _, model in ipairs(a.model_order) do
            local pooled = a:pooled_of(model, kind)
            local clusters = clusters_of(pooled.about, known)
            for place = 1, #a.region_order > 2 and #a.region_order or #a.region_order - 1 do
                local e = one(kind, pooled, clusters, place)
                if e then
                    e.kind, e.model_id, e.region = kind, model, a.region_order[place]
                    list[#list + 1] = e
                end
            end
        end
    end
    return list
end

return effects
