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
}
