-- The same fleet with one region out of order from the second minute on: for policies.stop_early.

local fleet = require "fleet"

fleet.faults = { { what = "500", region = "asia", from = "1m" } }

return fleet
