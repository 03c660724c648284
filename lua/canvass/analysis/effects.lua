-- How far each region is from the others, for each model: every effect with its interval, found or not. For looking at:
-- the intervals are each by itself, and only findings are corrected for how many there are.

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

-- The clusters that questions come in, by number.
local function clusters_of(about)
    local list, number, count = {}, {}, 0
    for i, question in ipairs(about) do
        local name = question.group or question.id
        if not number[name] then
            count = count + 1
            number[name] = count
        end
        list[i] = number[name]
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

local function one(kind, strata, cluster, region)
    local list, clusters, only, known = {}, {}, nil, {}
    for i, stratum in ipairs(strata) do
        local d = known[stratum] -- there is one of those that are all the same, for many questions
        if d == nil then
            d, only = difference(kind, stratum, region)
            known[stratum] = d
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
    local list = {}
    for _, kind in ipairs(KINDS) do
        for _, model in ipairs(a.model_order) do
            local pooled = a:pooled_of(model, kind)
            local clusters = clusters_of(pooled.about)
            for place = 1, #a.region_order > 2 and #a.region_order or #a.region_order - 1 do
                local e = one(kind, pooled.strata, clusters, place)
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
