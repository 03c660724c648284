-- Four questions with a right answer, and a judge that says how right each answer is: another model, in the same region
-- table, reserved so that it is not asked these questions itself.
--
--   canvass run job.lua --regions regions.lua --secrets secrets
--   canvass grade last  --regions regions.lua --secrets secrets --by judge
--   canvass report grading-1
--
-- An answer that evades refuses with no phrase that is known, and is long enough; that it says nothing takes a reader.

return {
  name = "grading",
  questions = require "questions",
  models = { "qwen2.5-7b" },
  parameters = { temperature = 0.7, max_tokens = 200 },
  samples = 8, -- what differs between regions must be more than what differs between askings
  policy = "by_endpoint",
  timeout = "2h",
}
