-- The statistics against R (tests/fixtures/statistics.lua), published examples, and each other.

local check = require "lua.check"
local special = require "canvass.analysis.special"
local tests = require "canvass.analysis.tests"
local resample = require "canvass.analysis.resample"
local numbers = require "canvass.numbers"

local near, equal = check.near, check.equal

-- How the numbers of a fixture become a call.
local calls = {
    exact = function(...)
        local x, yes, count = { ... }, {}, {}
        for i = 1, #x // 2 do
            yes[i], count[i] = x[i], x[#x // 2 + i]
        end
        return tests.exact(yes, count)
    end,
    cochran_q = function(k, ...)
        local x, rows = { ... }, {}
        for i = 1, #x, k do
            rows[#rows + 1] = table.move(x, i, i + k - 1, 1, {})
        end
        return tests.cochran_q(rows)
    end,
    holm = function(...) return table.unpack(tests.holm { ... }) end,
    clustered_mean = function(level, ...)
        local values, patients = { ... }, {}
        for i = 1, #values do
            patients[i] = (i - 1) % 10
        end
        local r = tests.clustered_mean(values, patients, level)
        return r.mean, r.se, r.low, r.high
    end,
}

local suite = {}

function suite.as_R_says()
    local seen = 0
    for _, case in ipairs(require "fixtures.statistics") do
        local name, arguments, expected = case[1], case[2], case[3]
        local f = calls[name] or tests[name] or special[name]
        local found = { f(table.unpack(arguments)) }
        for i, value in ipairs(expected) do
            near(found[i], value, 1e-9 * math.max(1e-6, math.abs(value)) + 1e-15,
                name .. "(" .. table.concat(arguments, ", ") .. ")")
        end
        seen = seen + 1
    end
    assert(seen > 100)
end

function suite.not_computable_is_nil()
    for _, found in ipairs { { tests.mcnemar(0, 0) }, { tests.exact({ 0, 0 }, { 5, 5 }) },
                             { tests.exact({ 3 }, { 5 }) },
                             { tests.exact({ 500, 400 }, { 1000, 1000 }) }, { tests.wilson(0, 0, 0.95) },
                             { tests.newcombe(1, 2, 0, 0, 0.95) }, { tests.cochran_q {} },
                             { tests.cochran_q { { 1, 1 }, { 0, 0 } } },
                             { tests.needed(0.5, 0.5, "repeats", 0.05, 0.8) },
                             { tests.clustered_mean({ 1, 2 }, { 1, 1 }, 0.95) },
                             { tests.detectable(1, "repeats", 0, 0.05, 0.8) },
                             { resample.test({ { groups = { 1, 2 }, values = { 3, 3 } } }, numbers.random(1, "")) } } do
        equal(found[1], nil)
        assert(type(found[2]) == "string")
    end
end

-- Maize, crossed less self-fertilised, in eighths of an inch (Darwin 1876); Fisher 1935, section 21, counts 1726 of the
-- 32768 signs as at least so large.
local maize = { 49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48 }

function suite.the_paired_permutation_test_is_fishers()
    local strata = {}
    for i, difference in ipairs(maize) do
        strata[i] = { groups = { 1, 2 }, values = { difference, 0 } }
    end
    local p, draws = resample.test(strata, numbers.random(1, "maize"), 200000)
    equal(draws, 200000)
    near(p, 1726 / 32768, 4 * math.sqrt(0.0527 * 0.9473 / 200000))
end

function suite.permuting_distances_finds_what_is_apart()
    -- Six texts, the first three alike and the last three alike: 2 of the 20 assignments are as extreme.
    local d = {}
    for i = 1, 6 do
        for k = i + 1, 6 do
            d[#d + 1] = (i <= 3) == (k <= 3) and 0 or 1
        end
    end
    local p = resample.test({ { groups = { 1, 1, 1, 2, 2, 2 }, distances = d } }, numbers.random(1, "d"), 100000)
    near(p, 0.1, 0.005)
end

function suite.stopping_early_keeps_p()
    local strata = {}
    for i, difference in ipairs(maize) do
        strata[i] = { groups = { 1, 2 }, values = { difference, 0 } }
    end
    local sum, most = 0, 0
    for i = 1, 200 do
        local p, draws = resample.test(strata, numbers.random(i, "stop"), 9999, 20)
        sum, most = sum + p, math.max(most, draws)
    end
    near(sum / 200, 1726 / 32768, 0.006) -- an estimate that stops at 20 is a little high
    assert(most < 2000)
end

function suite.permutation_agrees_with_the_exact_test()
    local groups, values = {}, {}
    for region, yes in ipairs { 4, 0, 1 } do
        for i = 1, 5 do
            groups[#groups + 1], values[#values + 1] = region, i <= yes and 1 or 0
        end
    end
    -- The statistics order tables differently only where probabilities tie; here they do not matter.
    local p = resample.test({ { groups = groups, values = values } }, numbers.random(1, "x"), 100000)
    near(p, tests.exact({ 4, 0, 1 }, { 5, 5, 5 }), 0.005)
end

-- What ends on both sides of the true mean in 2.5 % each. The percentile interval of 40 normal values covers a little
-- less than its 95 %.
function suite.the_bootstrap_covers()
    local random, covered = numbers.random(3, "bootstrap"), 0
    for _ = 1, 300 do
        local list = {}
        for i = 1, 40 do
            list[i] = special.normal_quantile(random() * 0.999998 + 1e-6) + 5
        end
        local low, high = resample.paired_bootstrap({ list }, random, 400, 0.95)
        covered = covered + (low <= 5 and 5 <= high and 1 or 0)
    end
    near(covered / 300, 0.94, 0.045)
end

function suite.power_is_what_a_detectable_difference_has()
    for _, of in ipairs { "repeats", "questions" } do
        for _, n in ipairs { 20, 50, 400 } do
            local d = tests.detectable(n, of, 0.05, 0.01, 0.8)
            near(tests.exact_power(n, of, 0.05, 0.05 + d, 0.01), 0.8, 1e-6)
            local needed = tests.needed(0.05, 0.05 + d, of, 0.01, 0.8)
            assert(tests.exact_power(needed, of, 0.05, 0.05 + d, 0.01) >= 0.8 - 1e-6, needed)
        end
    end
end

-- The exact power is the sum over all outcomes of those that the test finds.
function suite.exact_power_is_the_test_s_own()
    local n, p1, p2, alpha, sum = 7, 0.1, 0.7, 0.05, 0
    local function probability(k, p) return math.exp(special.log_choose(n, k)) * p ^ k * (1 - p) ^ (n - k) end
    for x = 0, n do
        for y = 0, n do
            local p = tests.exact({ x, y }, { n, n })
            sum = sum + (p and p <= alpha and probability(x, p1) * probability(y, p2) or 0)
        end
    end
    near(tests.exact_power(n, "repeats", p1, p2, alpha), sum, 1e-12)
end

function suite.the_same_seed_gives_the_same_numbers()
    local a, b, c = numbers.random(5, "a"), numbers.random(5, "a"), numbers.random(5, "b")
    local differ = false
    for _ = 1, 20 do
        local x = a()
        equal(x, b())
        differ = differ or x ~= c()
    end
    assert(differ)
    local seen = {}
    for _ = 1, 1000 do
        seen[a(6)] = true
    end
    equal(#seen, 6)
end

return suite
