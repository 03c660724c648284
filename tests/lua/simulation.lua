-- How often the comparison is right, counted over many jobs. A few run with the tests, all with simulate.lua.

local fleet = require "lua.fleet"
local settings = require "canvass.analysis.settings"
local tests = require "canvass.analysis.tests"

local simulation = {}

-- Jobs without any difference: how many report one.
function simulation.null(jobs)
    local alarms = 0
    for seed = 1, jobs do
        local r = fleet.report { seed = seed, questions = 4 + seed % 5, models = 1 + seed % 2, regions = 2 + seed % 2,
                                 samples = ({ 1, 3, 5, 8 })[1 + seed % 4], noise = ({ 0, 0.05, 0.3 })[1 + seed % 3] }
        alarms = alarms + (#r.findings > 0 and 1 or 0)
    end
    return alarms
end

-- One of two models refuses two of eight questions in one region: how often exactly these two cells are named.
function simulation.planted(jobs, first)
    local exact = 0
    for seed = first or 1, (first or 1) + jobs - 1 do
        local r = fleet.report { seed = seed, questions = 8, models = 2, regions = 3, samples = 10, noise = 0.03,
            refuses = function(q, m, region) return (q == 2 or q == 5) and m == 2 and region == 3 and 0.95 or nil end }
        local named, other = {}, 0
        for _, f in ipairs(r.findings) do
            local right = f.model_id == "m2" and (f.question_id == "q2" or f.question_id == "q5") and
                #f.regions == 1 and f.regions[1] == "r3"
            named[right and f.question_id or ""] = true
            other = other + (right and 0 or 1)
        end
        exact = exact + (named.q2 and named.q5 and other == 0 and r.verdict.differs == true and 1 or 0)
    end
    return exact
end

-- A difference of known size in one question's repeats, or over questions: how often it is found, and the power that
-- was predicted.
function simulation.power(jobs, of, n, p1, p2)
    local found = 0
    for seed = 1, jobs do
        local r = fleet.report { seed = seed, models = 1, regions = 2, questions = of == "questions" and n or 1,
            samples = of == "repeats" and n or 1, answer = function() return "the same answer everywhere" end,
            refuses = function(_, _, region) return region == 1 and p1 or p2 end }
        for _, f in ipairs(r.findings) do
            found = found + (f.kind == "refusal" and 1 or 0)
        end
    end
    return found / jobs, tests.exact_power(n, of, p1, p2, settings.alpha)
end

return simulation
