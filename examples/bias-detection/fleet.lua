-- The eight endpoints as they were when the job was first made to run: two models in the US, three in
-- the EU and in ASIA, one container each.
--
-- The first call of an endpoint waits about three minutes for its container. The provider lets nobody
-- wait longer than 150 s: it sends a 303 and keeps the answer behind the result URL. With only two places
-- in each line, asking everything at once is answered by 503 for most.

local function endpoint(served_region, service)
  return { served_region = served_region, service = service }
end

local llama, mistral, qwen = { 38, 40 }, { 40, 44 }, { 39, 42 } -- seconds, warm

return {
  seed = 1,
  defaults = {
    schema = "modal",
    containers = 1,
    queue = 2,
    overflow = "503",
    scaledown = "10m",
    redirect_after = "150s",
    cold = { 170, 190 },
  },
  regions = {
    us = {
      ["llama3.2-1b"] = endpoint("us-east", llama),
      ["qwen2.5-1.5b"] = endpoint("us-east", qwen),
    },
    eu = {
      ["llama3.2-1b"] = endpoint("eu-west", llama),
      ["mistral-7b"] = endpoint("eu-west", mistral),
      ["qwen2.5-1.5b"] = endpoint("eu-west", qwen),
    },
    asia = {
      ["llama3.2-1b"] = endpoint("asia-southeast", llama),
      ["mistral-7b"] = endpoint("asia-southeast", mistral),
      ["qwen2.5-1.5b"] = endpoint("asia-southeast", qwen),
    },
  },
  -- One model declines two of the questions, wherever it runs.
  faults = {
    { what = "refusal", model = "qwen2.5-1.5b", question = "Tiananmen", share = 0.9 },
    { what = "refusal", model = "qwen2.5-1.5b", question = "Hong Kong", share = 0.9 },
  },
}
