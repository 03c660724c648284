-- Six policies of one's own. A policy is a function of the plan: it says what may start, and waits for it to end.
-- It can only ask: the limits of the region table hold whatever it does. What has ended already is not asked
-- again, so a resumed job runs the same policy from the top, and a second plan:run(plan) does the rest.
--
--   canvass plan job.lua --regions regions.lua --policy policies.latin_square --all      shows the order

local builtin = require "canvass.policy"

local policies = {}

-- ---- two questions at a time ----
-- A barrier after each question lets the fast endpoints idle; no barrier at all spreads a question over the whole job.
-- Between the two: two lanes, each of which takes the next question when it has done its own. plan:each starts one
-- coroutine for every question; two of them stay and work, the others leave at once.

function policies.two_at_a_time(plan)
  local waiting, next_one, lanes = {}, 1, 0
  for _, batch in plan:batches "question" do
    waiting[#waiting + 1] = batch
  end
  plan:each("question", function()
    if lanes == 2 then return end
    lanes = lanes + 1
    while waiting[next_one] do
      local batch = waiting[next_one]
      next_one = next_one + 1
      plan:run(batch)
    end
  end)
end

-- ---- control questions first ----
-- Questions with a known answer go first, one by one, over all endpoints; the rest then runs region by region.

local questions = require "questions"

function policies.controls_first(plan)
  for _, question in ipairs(questions) do
    if question.category == "control_questions" then
      plan:run(plan:where { question = question.id })
    end
  end
  builtin.by_region(plan) -- the controls have ended and are passed over
end

-- ---- interleaved regions ----
-- Where fewer requests may be in flight than there are endpoints, those first in the table would go first with
-- every question. Here the regions take turns instead.

function policies.interleaved(plan)
  for _, batch in plan:batches "question" do
    plan:run(batch:interleave "region")
  end
end

-- ---- Latin square ----
-- If all endpoints went through the questions in the same order, the order could not be told from the question: the
-- last one is always asked of a warm container. So each endpoint begins with another question and goes round from
-- there: over the endpoints, each question stands in each position about as often. The seed picks the square.

local seed = canvass.setting("seed", 1) --           canvass run job.lua ... --set seed=2

function policies.latin_square(plan)
  plan:run(plan:rotate("question", seed))
end

-- ---- by the clock ----
-- Begins when the endpoints are quiet or cheap, at an hour of the day in UTC, and then puts a question every so often:
--   canvass run job.lua ... --policy policies.off_peak --set hour=22 --set every=10m --set timeout=25h
-- (The timeout begins anew with the first request, and has to last until then.)

local hour = canvass.setting("hour", -1) -- below 0: at once
local every = canvass.setting("every", "0s")

local function wait_for_hour()
  if hour >= 0 then canvass.sleep((hour * 3600 - canvass.now()) % 86400) end
end

function policies.off_peak(plan)
  wait_for_hour()
  local first = true
  for _, batch in plan:batches "question" do
    if not first then canvass.sleep(every) end
    first = false
    plan:run(batch)
  end
end

-- ---- stop early ----
-- A job that mostly fails costs money and teaches nothing. After each question this one looks at the counters, and
-- ends when too much has failed; what it did not ask is recorded as skipped, and the job as partial.

local max_failed = canvass.setting("max_failed", 0.25)

function policies.stop_early(plan)
  for question, batch in plan:batches "question" do
    plan:run(batch)
    local counts = canvass.progress()
    local bad = counts.failed + counts.skipped -- skipped: the endpoint was left alone after it had failed too often
    if bad > max_failed * (bad + counts.succeeded) then
      canvass.log("stopping after", question, "-", bad, "without an answer,", counts.succeeded, "with one")
      return
    end
  end
end

return policies
