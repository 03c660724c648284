-- canvass.policy: what may start when. A policy is a function of the plan, run as a coroutine.
-- plan:run(part) starts a part and returns when all of it has ended; permits bound what is in flight at once.
local policy = {}

-- Question by question, with a barrier between two: a question starts when every endpoint has ended the one before.
function policy.sequential(plan)
    for _, batch in plan:batches "question" do
        plan:run(batch)
    end
end

-- The barrier holds within a region only, so that a fast region never waits for a slow one.
function policy.by_region(plan)
    plan:each("region", policy.sequential)
end

-- Each endpoint goes through the questions at its own pace: no barrier at all, and the order is kept.
function policy.by_endpoint(plan)
    plan:each("endpoint", policy.sequential)
end

-- All at once: the permits alone decide.
function policy.free(plan)
    plan:run(plan)
end

return policy
