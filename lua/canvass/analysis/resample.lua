-- Tests and intervals by drawing again. A stratum is { groups = { 1, 1, 2, 2 }, values = { ... } }, or with
-- `distances` (row by row, i < j) in the place of values; only what lies within one stratum is ever exchanged.

local numbers = require "canvass.numbers"

local resample = {}

-- What the tests of one report share. name tells them apart: each has random numbers of its own, so that a question
-- more changes nothing for the others.
function resample.source(seed)
    return function(name) return numbers.random(seed, name) end
end

-- Has a stratum anything to compare: two groups, and not all values the same?
local function informative(stratum)
    local list, groups = stratum.values or stratum.distances, stratum.groups
    local same, varied = stratum.values and list[1] or 0, false
    for i = 1, stratum.varied == false and 0 or #list do
        if list[i] ~= same then
            varied = true
            break
        end
    end
    for i = 2, varied and #groups or 0 do
        if groups[i] ~= groups[1] then
            return true
        end
    end
    return false
end

-- The p of a permutation test over strata, or nil and why not; then the draws made.
function resample.test(strata, random, draws, stop)
    local used = {}
    for _, stratum in ipairs(strata) do
        if informative(stratum) then
            used[#used + 1] = stratum
        end
    end
    if #used == 0 then
        return nil, "all are the same, or only one region has any"
    end
    return numbers.permute(used, { random = random, draws = draws, stop = stop })
end

-- Of a sorted list: type 7 of Hyndman and Fan 1996, American Statistician 50, 361-365.
function resample.quantile(sorted, share)
    local at = 1 + share * (#sorted - 1)
    local low = math.floor(at)
    return sorted[low] + (at - low) * ((sorted[low + 1] or sorted[low]) - sorted[low])
end

-- Percentile interval (Efron 1979, Annals of Statistics 7, 1-26) of statistic(sample): sample() draws anew.
function resample.interval(statistic, redraw, draws, level)
    local found = {}
    for _ = 1, draws do
        local value = statistic(redraw())
        if value == value then
            found[#found + 1] = value
        end
    end
    if #found < draws / 2 then
        return nil, "too few of the samples drawn again have a value"
    end
    table.sort(found)
    local tail = (1 - level) / 2
    return resample.quantile(found, tail), resample.quantile(found, 1 - tail)
end

-- Draws from a list with replacement.
function resample.redraw(list, random)
    local drawn = {}
    for i = 1, #list do
        drawn[i] = list[random(#list)]
    end
    return drawn
end

-- The paired bootstrap: the interval of the mean of differences, one for each question (with all its repeats).
-- strata: lists of differences; each is drawn from by itself.
function resample.paired_bootstrap(strata, random, draws, level)
    return resample.interval(function(drawn)
        local sum, n = 0, 0
        for _, list in ipairs(drawn) do
            for _, difference in ipairs(list) do
                sum, n = sum + difference, n + 1
            end
        end
        return sum / n
    end, function()
        local drawn = {}
        for i, list in ipairs(strata) do
            drawn[i] = resample.redraw(list, random)
        end
        return drawn
    end, draws, level)
end

return resample
