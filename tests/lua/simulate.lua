-- The whole of tests/lua/simulation.lua, with its figures: `make simulate`.

local simulation = require "lua.simulation"

return {
    false_alarms = function()
        local alarms = simulation.null(2000)
        print(("no difference: %d of 2000 jobs report one (at most 100 may)"):format(alarms))
        assert(alarms <= 100)
    end,
    planted = function()
        local exact = simulation.planted(100)
        print(("two cells differ: exactly these are named in %d of 100 jobs (at least 95 must)"):format(exact))
        assert(exact >= 95)
    end,
    power = function()
        for _, c in ipairs { { "repeats", 10, 0.05, 0.65 }, { "repeats", 20, 0.1, 0.5 }, { "repeats", 40, 0.02, 0.25 },
                             { "questions", 20, 0.05, 0.5 }, { "questions", 60, 0.1, 0.35 } } do
            local jobs = c[1] == "questions" and 200 or 1000
            local observed, predicted = simulation.power(jobs, table.unpack(c))
            print(("%d %s, %.2f against %.2f: found in %.3f of %d jobs, predicted %.3f"):format(c[2], c[1], c[3], c[4],
                observed, jobs, predicted))
            assert(math.abs(observed - predicted) <= 4 * math.sqrt(predicted * (1 - predicted) / jobs))
        end
    end,
}
