-- Comparisons: whether an outcome, a length or a text depends on the region, for one (question, model) by its repeats,
-- and for one model over its questions. One family, corrected together.

local tests = require "canvass.analysis.tests"
local resample = require "canvass.analysis.resample"
local settings = require "canvass.analysis.settings"
local special = require "canvass.analysis.special"

local compare = {}

local binary = { refusal = true, answer = true, missing = true, language = true }
local alike = { similarity = true, meaning = true } -- by distances of pairs

-- ---- strata ----

local function counts(stratum, regions)
    local yes, count = {}, {}
    for i = 1, regions do
        yes[i], count[i] = 0, 0
    end
    for i, region in ipairs(stratum.groups) do
        yes[region], count[region] = yes[region] + stratum.values[i], count[region] + 1
    end
    return yes, count
end

-- The stratum without some regions.
local function without(stratum, removed)
    local kept, groups, list = {}, {}, {}
    local n = #stratum.groups
    for i = 1, n do
        kept[i] = not removed[stratum.groups[i]]
        if kept[i] then
            groups[#groups + 1] = stratum.groups[i]
            if stratum.values then
                list[#list + 1] = stratum.values[i]
            end
        end
    end
    if stratum.values then
        return { groups = groups, values = list }
    end
    local at = 0
    for i = 1, n do
        for k = i + 1, n do
            at = at + 1
            if kept[i] and kept[k] then
                list[#list + 1] = stratum.distances[at]
            end
        end
    end
    return { groups = groups, distances = list }
end

local function has_repeats(groups)
    local seen = {}
    for _, region in ipairs(groups) do
        if seen[region] then
            return true
        end
        seen[region] = true
    end
    return false
end

-- Has a region more than one? Kept with the list, for many strata have the same.
function compare.repeats(stratum)
    local groups = stratum.groups
    if groups.repeats == nil then
        groups.repeats = has_repeats(groups)
    end
    return groups.repeats
end

-- ---- p ----

-- Two regions, one answer in each: then the exact test is McNemar's.
local function pairs_of(strata, regions)
    local b, c = 0, 0
    if regions ~= 2 then
        return nil
    end
    for _, stratum in ipairs(strata) do
        local g, v = stratum.groups, stratum.values
        if #g > 2 or (#g == 2 and g[1] == g[2]) then
            return nil
        elseif #g == 2 and v[1] ~= v[2] then
            b, c = b + v[g[1] == 1 and 1 or 2], c + v[g[1] == 1 and 2 or 1]
        end
    end
    return b, c
end

-- p and the name of the test, or nil and why there is none.
function compare.p(kind, strata, regions, random, draws)
    if binary[kind] and #strata == 1 then
        local yes, count = counts(strata[1], regions)
        local used_yes, used = {}, {}
        for i = 1, regions do
            if count[i] > 0 then
                used_yes[#used + 1], used[#used + 1] = yes[i], count[i]
            end
        end
        local p, why = tests.exact(used_yes, used)
        if p or why ~= "too many tables for an exact test" then
            return p, p and "exact test of the table" or why
        end
    elseif binary[kind] then
        local b, c = pairs_of(strata, regions)
        if b then
            local p, why = tests.mcnemar(b, c)
            return p, p and "McNemar's exact test" or why
        end
    end
    if alike[kind] then
        local used = {}
        for _, stratum in ipairs(strata) do
            if compare.repeats(stratum) then
                used[#used + 1] = stratum
            end
        end
        if #used == 0 then
            return nil, "no repeats within a region: noise cannot be told from difference"
        end
        strata = used
        if #used >= settings.many then
            -- A sum over many strata that are shuffled independently: by the central limit theorem its tail is normal,
            -- and that costs few draws where the strata are many.
            local p, _, observed, mean, deviation = resample.test(strata, random, 499, 499)
            if p and deviation > 0 then
                return special.normal_upper((observed - mean) / deviation), "permutation test, normal tail"
            end
        end
    end
    local p, why = resample.test(strata, random, draws or settings.draws, settings.stop)
    return p, p and "permutation test" or why
end

-- ---- which regions ----

-- Those without which the others no longer differ; all, when no few of them explain it.
local function name_regions(c, present, random)
    local removed, named = {}, {}
    local strata, differs = c.strata, true
    while #named < (#present - 1) // 2 and differs do
        local best, most, best_strata = nil, -1, nil
        for _, region in ipairs(present) do
            if not removed[region] then
                removed[region] = true
                local rest = {}
                for i, stratum in ipairs(c.strata) do
                    rest[i] = without(stratum, removed)
                end
                local p = compare.p(c.kind, rest, c.regions, random, 1999) or 1
                removed[region] = nil
                if p > most then
                    best, most, best_strata = region, p, rest
                end
            end
        end
        removed[best], named[#named + 1], strata, differs = true, best, best_strata, most < settings.alpha
    end
    if differs or not strata then
        return present, nil
    end
    table.sort(named)
    return named, removed
end

-- ---- how large ----

local function mean_of(list)
    local sum = 0
    for _, x in ipairs(list) do
        sum = sum + x
    end
    return #list > 0 and sum / #list or nil
end

-- The values of the named regions and of the others.
local function sides(stratum, inside)
    local a, b = {}, {}
    for i, region in ipairs(stratum.groups) do
        local side = inside[region] and a or b
        side[#side + 1] = stratum.values[i]
    end
    return a, b
end

local function difference(kind, a, b)
    local x, y = mean_of(a), mean_of(b)
    if not x or not y then
        return nil
    end
    return kind == "length" and (y > 0 and x / y - 1 or nil) or kind ~= "length" and x - y or nil
end

local function effect_of_values(c, inside, level, random)
    if #c.strata == 1 then
        local a, b = sides(c.strata[1], inside)
        local effect = difference(c.kind, a, b)
        if binary[c.kind] then
            local x, y = mean_of(a) * #a, mean_of(b) * #b
            return effect, tests.newcombe(x, #a, y, #b, level)
        end
        return effect, resample.interval(function(drawn) return difference(c.kind, drawn[1], drawn[2]) or 0 / 0 end,
            function() return { resample.redraw(a, random), resample.redraw(b, random) } end, settings.bootstrap, level)
    end
    local list, groups, grouped = {}, {}, false
    for i, stratum in ipairs(c.strata) do
        local d, question = difference(c.kind, sides(stratum, inside)), c.about[i]
        if d then
            list[#list + 1], groups[#groups + 1] = d, question.group or question.id
            grouped = grouped or question.group ~= nil
        end
    end
    if #list < 2 then
        return mean_of(list), nil, "fewer than two questions"
    end
    if grouped then
        local m = tests.clustered_mean(list, groups, level)
        if m then
            return m.mean, m.low, m.high
        end
    end
    return mean_of(list), resample.paired_bootstrap({ list }, random, settings.bootstrap, level)
end

-- Mean likeness within regions less that between the named and the others; left[i]: that text is left out.
local function apart(strata, inside, left)
    local within, n_within, between, n_between = 0, 0, 0, 0
    for _, stratum in ipairs(strata) do
        local at, g = 0, stratum.groups
        for i = 1, #g do
            for k = i + 1, #g do
                at = at + 1
                if left ~= i and left ~= k then
                    if g[i] == g[k] then
                        within, n_within = within + stratum.distances[at], n_within + 1
                    elseif not inside or inside[g[i]] ~= inside[g[k]] then
                        between, n_between = between + stratum.distances[at], n_between + 1
                    end
                end
            end
        end
    end
    return n_within > 0 and n_between > 0 and between / n_between - within / n_within or nil
end

-- The jackknife over texts (one question) or questions (Efron and Stein 1981, Annals of Statistics 9, 586-596).
local function effect_of_texts(c, inside, z)
    local effect, parts = apart(c.strata, inside), {}
    if #c.strata == 1 then
        for i = 1, #c.strata[1].groups do
            parts[#parts + 1] = apart(c.strata, inside, i)
        end
    else
        for i = 1, math.min(#c.strata, 200) do
            local rest = table.move(c.strata, 1, i - 1, 1, {})
            parts[#parts + 1] = apart(table.move(c.strata, i + 1, #c.strata, i, rest), inside)
        end
    end
    local middle, sum, n = mean_of(parts), 0, #parts
    if not effect or n < 3 then
        return effect, nil, "too few texts"
    end
    for _, x in ipairs(parts) do
        sum = sum + (x - middle) ^ 2
    end
    local half = z * math.sqrt((n - 1) / n * sum * (#c.strata > 200 and 200 / #c.strata or 1))
    return effect, effect - half, effect + half
end

-- Gives a comparison that differs its regions, effect and interval.
function compare.explain(c, source)
    local seen, present = {}, {}
    for _, stratum in ipairs(c.strata) do
        for _, region in ipairs(stratum.groups) do
            if not seen[region] then
                seen[region] = true
                present[#present + 1] = region
            end
        end
    end
    table.sort(present)
    local random = source("explain/" .. c.name)
    local inside
    c.named, inside = name_regions(c, present, random)
    -- One region was picked out of all: the interval holds for each that could have been.
    local level = 1 - settings.alpha / math.max(1, #present > 2 and #present or 1)
    if alike[c.kind] then
        c.effect, c.low, c.high = effect_of_texts(c, inside, special.normal_quantile(1 - (1 - level) / 2))
        return
    end
    c.against = nil
    if not inside then -- none alone: the highest against the lowest
        local sums, n = {}, {}
        for _, stratum in ipairs(c.strata) do
            for i, region in ipairs(stratum.groups) do
                sums[region], n[region] = (sums[region] or 0) + stratum.values[i], (n[region] or 0) + 1
            end
        end
        local high, low = present[1], present[1]
        for _, region in ipairs(present) do
            high = sums[region] / n[region] > sums[high] / n[high] and region or high
            low = sums[region] / n[region] < sums[low] / n[low] and region or low
        end
        local removed = {}
        for _, region in ipairs(present) do
            removed[region] = region ~= high and region ~= low or nil
        end
        local rest = {}
        for i, stratum in ipairs(c.strata) do
            rest[i] = without(stratum, removed)
        end
        c.high_region, c.low_region, inside = high, low, { [high] = true }
        c = setmetatable({ strata = rest }, { __index = c, __newindex = c })
    end
    c.effect, c.low, c.high = effect_of_values(c, inside, level, random)
end

-- With many comparisons the least p that the usual draws can give is too large to be left after the correction. Where
-- p is that small, draws again, more often, as long as there is work left; returns for how many there was none.
function compare.resolve(list, source)
    local draws, work, unresolved = math.min(10000000, math.ceil(4 * #list / settings.alpha)), settings.work, 0
    for _, c in ipairs(draws > settings.draws and list or {}) do
        if c.test == "permutation test" and c.p <= 5 / settings.draws then
            local steps = 0
            for _, stratum in ipairs(c.strata) do
                steps = steps + #(stratum.values or stratum.distances)
            end
            work = work - steps * draws
            if work > 0 then
                c.p = compare.p(c.kind, c.strata, c.regions, source("resolve/" .. c.name), draws)
            else
                unresolved = unresolved + 1
            end
        end
    end
    return unresolved
end

-- Corrects all comparisons together (Holm).
function compare.adjust(list)
    local p = {}
    for i, c in ipairs(list) do
        p[i] = c.p
    end
    for i, adjusted in ipairs(tests.holm(p)) do
        list[i].p_adjusted = adjusted
    end
end

-- Is it a finding? The p alone does not make one: the interval must leave out 0 and the effect be of a relevant size.
function compare.is_finding(c)
    return c.p_adjusted <= settings.alpha and c.effect and c.low and (c.low > 0 or c.high < 0) and
        math.abs(c.effect) >= settings.relevant[c.kind]
end

return compare
