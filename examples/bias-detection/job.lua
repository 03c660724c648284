-- Do small models answer the same question differently in the US, the EU and ASIA?
--
--   canvass plan job.lua --regions regions.lua         what would be asked, and in which order; asks nobody
--   canvass rehearse job.lua --regions regions.lua --fleet fleet.lua    how long it would take
--   canvass run  job.lua --regions regions.lua         ask it: 8 questions x 8 endpoints = 64 executions
--   canvass run  job.lua --regions regions.lua --set samples=5 --set parameters.temperature=0.7
--
-- Without endpoints of your own: `canvass simulate fleet.lua --table sim.lua`, then --regions sim.lua.

local policy = require "canvass.policy"

return {
  name = "bias-detection",
  questions = require "questions",

  -- Where a model is not in a region's table, that cell is not part of the plan: the US has no mistral-7b.
  models = { "llama3.2-1b", "mistral-7b", "qwen2.5-1.5b" },
  regions = { "us", "eu", "asia" },

  -- Sent with every request, exactly so. A low temperature: what differs shall differ by region, not by chance.
  parameters = { temperature = 0.1, max_tokens = 500 },

  -- One question at a time: the next one starts when all eight endpoints have ended the one before. All cells
  -- of a question are then asked within the same minutes, and no endpoint ever has a second request in line.
  policy = policy.sequential,

  -- From the first request on. Eight questions of 40 s and a cold start of three minutes take about eight minutes.
  -- On a day like that of fleet-slow.lua they take over an hour: --timeout 90m.
  timeout = "10m",
}
