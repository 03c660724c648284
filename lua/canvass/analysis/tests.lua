-- Tests, intervals and power, in closed form. What cannot be computed is nil and a reason, never a number.

local special = require "canvass.analysis.special"

local tests = {}

local exp, sqrt, min, max = math.exp, math.sqrt, math.min, math.max
local TABLES_MAX = 20000 -- of one exact test

-- McNemar 1947, Psychometrika 12, 153-157, in its exact form: of the pairs that differ, is one direction more
-- frequent than chance? b pairs are yes/no, c are no/yes. The two-sided binomial test of b in b + c at 1/2.
function tests.mcnemar(b, c)
    local n, sum = b + c, 0
    if n == 0 then
        return nil, "no pair differs"
    end
    for k = 0, min(b, c) do
        sum = sum + exp(special.log_choose(n, k) - n * math.log(2))
    end
    return min(1, 2 * sum)
end

-- Cochran 1950, Biometrika 37, 256-266. rows: one list of 0 or 1 for each question, in the order of the regions.
-- Returns Q, its degrees of freedom and the p of its chi-squared limit.
function tests.cochran_q(rows)
    local k = rows[1] and #rows[1] or 0
    if k < 2 then
        return nil, "fewer than two regions"
    end
    local columns, total, squares = {}, 0, 0
    for _, row in ipairs(rows) do
        local sum = 0
        for i = 1, k do
            sum = sum + row[i]
            columns[i] = (columns[i] or 0) + row[i]
        end
        total, squares = total + sum, squares + sum * sum
    end
    if k * total == squares then
        return nil, "no question is answered differently by any two regions"
    end
    local spread = 0
    for i = 1, k do
        spread = spread + (columns[i] - total / k) ^ 2
    end
    local q = k * (k - 1) * spread / (k * total - squares)
    return q, k - 1, special.chi2_upper(q, k - 1)
end

-- Freeman and Halton 1951, Biometrika 38, 141-149 (Fisher's exact test for 2 x k): yes[i] of count[i] in region i.
-- The sum of the probabilities of all tables with the same margins that are no more likely than this one.
function tests.exact(yes, count)
    local n, total, size = 0, 0, 1
    for i = 1, #count do
        n, total, size = n + count[i], total + yes[i], size * (count[i] + 1)
    end
    if total == 0 or total == n or #count < 2 then
        return nil, "all outcomes are the same"
    elseif size > TABLES_MAX then
        return nil, "too many tables for an exact test"
    end
    local all, observed = special.log_choose(n, total), 0
    for i = 1, #count do
        observed = observed + special.log_choose(count[i], yes[i])
    end
    local least, p = observed + 1e-7, 0 -- equal tables differ in their last digits; R uses the same margin
    local function walk(i, left, sum)
        if i == #count then
            if left <= count[i] then
                sum = sum + special.log_choose(count[i], left)
                p = sum <= least and p + exp(sum - all) or p
            end
            return
        end
        for k = 0, min(left, count[i]) do
            walk(i + 1, left - k, sum + special.log_choose(count[i], k))
        end
    end
    walk(1, total, 0)
    return min(1, p)
end

-- Holm 1979, Scandinavian Journal of Statistics 6, 65-70. p: list of numbers; the adjusted ones in the same order.
function tests.holm(p)
    local order, adjusted, highest = {}, {}, 0
    for i = 1, #p do
        order[i] = i
    end
    table.sort(order, function(a, b) return p[a] < p[b] or p[a] == p[b] and a < b end)
    for rank, i in ipairs(order) do
        highest = max(highest, min(1, (#p - rank + 1) * p[i]))
        adjusted[i] = highest
    end
    return adjusted
end

-- Wilson 1927, Journal of the American Statistical Association 22, 209-212: the interval of a proportion.
function tests.wilson(yes, n, level)
    if n == 0 then
        return nil, "nothing was counted"
    end
    local z = special.normal_quantile(1 - (1 - level) / 2)
    local share, z2 = yes / n, z * z
    local middle, half = share + z2 / (2 * n), z * sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    -- At the ends the bound is exact; rounding would put it beside.
    return yes == 0 and 0 or (middle - half) / (1 + z2 / n), yes == n and 1 or (middle + half) / (1 + z2 / n)
end

-- Newcombe 1998, Statistics in Medicine 17, 873-890, method 10: the interval of a difference of two proportions.
function tests.newcombe(yes1, n1, yes2, n2, level)
    if n1 == 0 or n2 == 0 then
        return nil, "nothing was counted"
    end
    local p1, p2 = yes1 / n1, yes2 / n2
    local l1, u1 = tests.wilson(yes1, n1, level)
    local l2, u2 = tests.wilson(yes2, n2, level)
    return p1 - p2 - sqrt((p1 - l1) ^ 2 + (u2 - p2) ^ 2), p1 - p2 + sqrt((u1 - p1) ^ 2 + (p2 - l2) ^ 2)
end

-- Mean, standard error and interval of values that come in clusters (Liang and Zeger 1986, Biometrika 73, 13-22, with
-- the correction G / (G - 1), and Student's t with G - 1 degrees of freedom).
function tests.clustered_mean(values, clusters, level)
    local n, total, index, sums = #values, 0, {}, {}
    for i = 1, n do
        total = total + values[i]
    end
    local mean = total / n
    for i = 1, n do
        local at = index[clusters[i]]
        if not at then
            at = #sums + 1
            index[clusters[i]], sums[at] = at, 0
        end
        sums[at] = sums[at] + values[i] - mean
    end
    local groups, meat = #sums, 0
    if groups < 2 then
        return nil, "fewer than two clusters"
    end
    for at = 1, groups do
        meat = meat + sums[at] ^ 2
    end
    local se = sqrt(groups / (groups - 1) * meat) / n
    local half = special.t_quantile(1 - (1 - level) / 2, groups - 1) * se
    return { mean = mean, se = se, low = mean - half, high = mean + half, clusters = groups }
end

-- Cohen 1988, Statistical Power Analysis, ch. 6: the effect size of two proportions.
function tests.cohen_h(p1, p2)
    return 2 * math.asin(sqrt(p1)) - 2 * math.asin(sqrt(p2))
end

-- The power of a two-sided comparison of two proportions with n each (Fleiss, Levin, Paik 2003, Statistical Methods
-- for Rates and Proportions, ch. 4.1; R's power.prop.test).
function tests.power(n, p1, p2, alpha)
    local z = special.normal_quantile(1 - alpha / 2)
    local pooled = sqrt((p1 + p2) * (1 - (p1 + p2) / 2))
    local apart = sqrt(p1 * (1 - p1) + p2 * (1 - p2))
    if apart == 0 then
        return p1 == p2 and alpha or sqrt(n) > z * pooled and 1 or 0
    end
    return special.normal_upper(-(sqrt(n) * math.abs(p1 - p2) - z * pooled) / apart)
end

-- ---- the power of the exact tests themselves ----

local EXACT_MAX = 100 -- of n; from there on the formula is close

local function binomial(n, p)
    local list = {}
    for k = 0, n do
        list[k] = (p == 0 or p == 1) and (k == n * p and 1 or 0) or
            exp(special.log_choose(n, k) + k * math.log(p) + (n - k) * math.log(1 - p))
    end
    return list
end

-- By x + y and x: which tables (x of n, y of n) the exact test finds at this alpha.
local function rejected(n, alpha)
    local found = {}
    for total = 0, 2 * n do
        local list, all, p = {}, special.log_choose(2 * n, total), 0
        for x = max(0, total - n), min(n, total) do
            list[#list + 1] = { x, exp(special.log_choose(n, x) + special.log_choose(n, total - x) - all) }
        end
        table.sort(list, function(a, b) return a[2] < b[2] end)
        found[total] = {}
        local i = 1
        while i <= #list do -- equal tables together, as the test takes them
            local k = i
            while k <= #list and list[k][2] <= list[i][2] * (1 + 1e-7) do
                p, k = p + list[k][2], k + 1
            end
            if p > alpha then
                break
            end
            for at = i, k - 1 do
                found[total][list[at][1]] = true
            end
            i = k
        end
    end
    return found
end

-- Repeats of one question in two regions, n in each: the chance that the exact test finds p1 against p2.
local function power_of_repeats(found, n, p1, p2)
    local a, b, sum = binomial(n, p1), binomial(n, p2), 0
    for total = 0, 2 * n do
        for x in pairs(found[total]) do
            sum = sum + a[x] * b[total - x]
        end
    end
    return sum
end

-- n questions, each asked once in two regions, whose outcomes do not depend on each other: McNemar's exact test. Where
-- they do, as is usual, fewer pairs differ by chance and the power is larger.
local function power_of_questions(found, n, p1, p2)
    local up, down, sum = p2 * (1 - p1), p1 * (1 - p2), 0
    local differ = up + down
    local pairs_that_differ = binomial(n, differ)
    for d = 1, differ > 0 and n or 0 do
        local b, inner = binomial(d, up / differ), 0
        for k in pairs(found[d]) do
            inner = inner + b[k]
        end
        sum = sum + pairs_that_differ[d] * inner
    end
    return sum
end

local function rejected_pairs(n, alpha)
    local found = {}
    for d = 1, n do
        found[d] = {}
        for k = 0, d do
            found[d][k] = tests.mcnemar(k, d - k) <= alpha or nil
        end
    end
    return found
end

-- The power function of p1 and p2 for n of these: "repeats" of a question, or "questions".
local function power_function(n, of, alpha)
    if n > EXACT_MAX then
        return function(p1, p2) return tests.power(n, p1, p2, alpha) end
    end
    local found = of == "questions" and rejected_pairs(n, alpha) or rejected(n, alpha)
    local power = of == "questions" and power_of_questions or power_of_repeats
    return function(p1, p2) return power(found, n, p1, p2) end
end

function tests.exact_power(n, of, p1, p2, alpha)
    return power_function(n, of, alpha)(p1, p2)
end

-- The smallest p2 - p1 that n in each of two regions would show with this power; nil when not even all against none
-- would.
function tests.detectable(n, of, p1, alpha, power)
    if n < 1 then
        return nil, "nothing was asked"
    end
    local f = power_function(n, of, alpha)
    if f(p1, 1) < power then
        return nil, "too few repeats to show any difference"
    end
    return special.bisect(function(d) return f(p1, p1 + d) - power end, 0, 1 - p1)
end

-- How many in each of two regions would show a difference of this size.
function tests.needed(p1, p2, of, alpha, power)
    if p1 == p2 then
        return nil, "no difference"
    end
    local n = 1
    while tests.power(n, p1, p2, alpha) < power do
        n = n * 2
    end
    n = math.ceil(special.bisect(function(x) return tests.power(x, p1, p2, alpha) - power end, n / 2, n) - 1e-9)
    while n <= EXACT_MAX and power_function(n, of, alpha)(p1, p2) < power do
        n = n + 1
    end
    return n
end

return tests
