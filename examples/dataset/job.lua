-- A thousand questions with known answers, out of a file, for two models in three regions: 6,000 executions.
--
--   canvass run job.lua --regions regions.lua
--   canvass run job.lua --regions regions.lua --set category=word_problems
--   canvass run job.lua --regions regions.lua --set first=50                   a cheap look before the whole
--
-- How often an answer holds what was expected, by category, model and region (expected is JSON text):
--
--   canvass query "SELECT json_extract(q.metadata, '$.category') AS category, e.model_id, e.region,
--       count(*) AS asked, avg(instr(lower(e.answer), lower(json_extract(q.expected, '$'))) > 0) AS holds
--     FROM executions e JOIN questions q ON q.job_id = e.job_id AND q.id = e.question_id
--     WHERE e.status = 'succeeded' GROUP BY 1, 2, 3"

local policy = require "canvass.policy"

-- The list reads like a Lua table, but a line becomes a Lua value only when it is looked at: a hundred thousand
-- questions that are passed on as they are cost the script next to nothing.
local questions = canvass.jsonl "questions.jsonl"

local category = canvass.setting("category", "")
local first = canvass.setting("first", 0)

if category ~= "" or first > 0 then
  local chosen = {}
  for _, question in ipairs(questions) do
    if first > 0 and #chosen == first then break end
    if category == "" or question.category == category then chosen[#chosen + 1] = question end
  end
  if #chosen == 0 then error("no question is of category " .. category) end
  questions = chosen
end

return {
  name = "dataset",
  questions = questions,
  parameters = { temperature = 0, max_tokens = 60 },

  -- No barrier: with a thousand questions nobody needs the cells of one question to be asked in the same minute.
  policy = policy.free,

  -- A paused or removed endpoint does not hold up the rest.
  on_missing = "skip",
  timeout = "6h",
}
