-- A small job to try policies on: nine questions, six endpoints, 54 executions.
--
--   canvass plan job.lua --regions regions.lua --all                              the order, without asking anybody
--   canvass plan job.lua --regions regions.lua --policy policies.two_at_a_time
--   canvass run  job.lua --regions regions.lua --policy policies.stop_early --set max_failed=0.1

local policies = require "policies"

return {
  name = "policies",
  questions = require "questions",
  parameters = { temperature = 0.2, max_tokens = 120 },
  policy = policies.controls_first,
  timeout = "1h",
}
