-- The special functions behind p-values, to about 14 digits.
--
-- NR: Press, Teukolsky, Vetterling, Flannery, Numerical Recipes in C, 2nd ed. 1992. AS 241: Wichura 1988,
-- Applied Statistics 37, 477-484. Both are compared with R in tests/lua/test_statistics.lua.

local special = {}

local exp, log, sqrt, abs, huge, pi = math.exp, math.log, math.sqrt, math.abs, math.huge, math.pi
local EPSILON, TINY, STEPS = 2 ^ -52, 1e-300, 10000

-- Lanczos 1964 with g = 7 and nine terms, as computed by Godfrey 2001.
local lanczos = {
    0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
    12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
}

function special.log_gamma(x)
    if x < 0.5 then
        return log(pi / abs(math.sin(pi * x))) - special.log_gamma(1 - x) -- the reflection formula
    end
    x = x - 1
    local sum, t = lanczos[1], x + 7.5
    for i = 2, #lanczos do
        sum = sum + lanczos[i] / (x + i - 1)
    end
    return 0.5 * log(2 * pi) + (x + 0.5) * log(t) - t + log(sum)
end

-- Exact sums of logarithms: the table is short, and Lanczos' last digits matter where terms cancel.
local factorials = { [0] = 0.0 }
function special.log_factorial(n)
    if n > 100000 then
        return special.log_gamma(n + 1)
    end
    for i = #factorials + 1, n do
        factorials[i] = factorials[i - 1] + log(i)
    end
    return factorials[n]
end

function special.log_choose(n, k)
    local f = special.log_factorial
    return f(n) - f(k) - f(n - k)
end

-- Lentz's method (NR 5.2): b(0) + a(1)/(b(1) + a(2)/(b(2) + ...)).
local function continued_fraction(a, b)
    local f = b(0)
    f = f == 0 and TINY or f
    local c, d = f, 0
    for i = 1, STEPS do
        local ai, bi = a(i), b(i)
        d = bi + ai * d
        d = 1 / (d == 0 and TINY or d)
        c = bi + ai / c
        c = c == 0 and TINY or c
        local step = c * d
        f = f * step
        if abs(step - 1) <= EPSILON then
            break
        end
    end
    return f
end

-- Q(a, x), the upper regularised incomplete gamma function (NR 6.2).
function special.gamma_upper(a, x)
    if x <= 0 then
        return 1
    end
    local scale = exp(-x + a * log(x) - special.log_gamma(a))
    if x >= a + 1 then
        return scale / continued_fraction(function(i) return -i * (i - a) end, function(i) return x + 2 * i + 1 - a end)
    end
    local term, sum = 1 / a, 1 / a
    for i = 1, STEPS do
        term = term * x / (a + i)
        sum = sum + term
        if term < sum * EPSILON then
            break
        end
    end
    return 1 - scale * sum
end

-- P(X > x) for a chi-squared variable.
function special.chi2_upper(x, df)
    return special.gamma_upper(df / 2, x / 2)
end

function special.normal_upper(z)
    local half = special.gamma_upper(0.5, z * z / 2) / 2
    return z >= 0 and half or 1 - half
end

-- I_x(a, b), the regularised incomplete beta function (NR 6.4).
function special.beta(x, a, b)
    if x <= 0 or x >= 1 then
        return x <= 0 and 0 or 1
    end
    if x > (a + 1) / (a + b + 2) then
        return 1 - special.beta(1 - x, b, a)
    end
    local g = special.log_gamma
    local front = exp(g(a + b) - g(a) - g(b) + a * log(x) + b * log(1 - x)) / a
    return front / continued_fraction(function(i)
        local m = i // 2
        if i % 2 == 0 then
            return m * (b - m) * x / ((a + i - 1) * (a + i))
        end
        return -(a + m) * (a + b + m) * x / ((a + i - 1) * (a + i))
    end, function() return 1 end)
end

-- P(T > t) for Student's t.
function special.t_upper(t, df)
    local half = special.beta(df / (df + t * t), df / 2, 0.5) / 2
    return t >= 0 and half or 1 - half
end

local function polynomial(r, c)
    local sum = 0
    for i = #c, 1, -1 do
        sum = sum * r + c[i]
    end
    return sum
end

-- AS 241, PPND16.
local centre = {
    { 3.3871328727963666080, 133.14166789178437745, 1971.5909503065514427, 13731.693765509461125,
      45921.953931549871457, 67265.770927008700853, 33430.575583588128105, 2509.0809287301226727 },
    { 1, 42.313330701600911252, 687.18700749205790830, 5394.1960214247511077, 21213.794301586595867,
      39307.895800092710610, 28729.085735721942674, 5226.4952788528545610 },
}
local near_tail = {
    { 1.42343711074968357734, 4.63033784615654529590, 5.76949722146069140550, 3.64784832476320460504,
      1.27045825245236838258, 0.241780725177450611770, 0.0227238449892691845833, 7.74545014278341407640e-4 },
    { 1, 2.05319162663775882187, 1.67638483018380384940, 0.689767334985100004550, 0.148103976427480074590,
      0.0151986665636164571966, 5.47593808499534494600e-4, 1.05075007164441684324e-9 },
}
local far_tail = {
    { 6.65790464350110377720, 5.46378491116411436990, 1.78482653991729133580, 0.296560571828504891230,
      0.0265321895265761230930, 0.00124266094738807843860, 2.71155556874348757815e-5, 2.01033439929228813265e-7 },
    { 1, 0.599832206555887937690, 0.136929880922735805310, 0.0148753612908506148525, 7.86869131145613259100e-4,
      1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15 },
}

-- The z with P(Z <= z) = p.
function special.normal_quantile(p)
    local q = p - 0.5
    if abs(q) <= 0.425 then
        local r = 0.180625 - q * q
        return q * polynomial(r, centre[1]) / polynomial(r, centre[2])
    end
    local r = q < 0 and p or 1 - p
    if r <= 0 then
        return q < 0 and -huge or huge
    end
    r = sqrt(-log(r))
    local tail = r <= 5 and near_tail or far_tail
    r = r - (r <= 5 and 1.6 or 5)
    local z = polynomial(r, tail[1]) / polynomial(r, tail[2])
    return q < 0 and -z or z
end

-- The x in [low, high] where f, which grows, becomes 0.
function special.bisect(f, low, high)
    for _ = 1, 200 do
        local middle = (low + high) / 2
        if f(middle) < 0 then
            low = middle
        else
            high = middle
        end
    end
    return (low + high) / 2
end

-- The t with P(T <= t) = p.
-- One report asks for few different ones, and for each of them often.
local quantiles = {}

function special.t_quantile(p, df)
    if p < 0.5 then
        return -special.t_quantile(1 - p, df)
    end
    local known = quantiles[p] or {}
    quantiles[p] = known
    if not known[df] then
        local high = 1
        while special.t_upper(high, df) > 1 - p and high < 1e15 do
            high = high * 2
        end
        known[df] = special.bisect(function(t) return 1 - p - special.t_upper(t, df) end, 0, high)
    end
    return known[df]
end

return special
