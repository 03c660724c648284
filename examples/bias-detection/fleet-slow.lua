-- The same eight endpoints on a worse day, with the times that were measured later: Mistral takes 150 to
-- 160 s a call, right at the line where the provider sends a 303, and in ASIA a call may first wait six
-- minutes for a GPU, 480 s in all. Containers go after two idle minutes, so a question asked of all
-- endpoints in step finds the quick ones cold again.

local function endpoint(served_region, cold, service)
  return { served_region = served_region, cold = cold, service = service }
end

local llama, mistral, qwen = { 30, 40 }, { 150, 160 }, { 35, 45 } -- seconds, warm
local us_cold, eu_cold, asia_cold = { 30, 45 }, { 60, 100 }, { 150, 320 }

return {
  seed = 1,
  defaults = {
    schema = "modal",
    containers = 1,
    queue = 2,
    overflow = "503",
    scaledown = "2m",
    redirect_after = "150s",
  },
  regions = {
    us = {
      ["llama3.2-1b"] = endpoint("us-east", us_cold, llama),
      ["qwen2.5-1.5b"] = endpoint("us-east", us_cold, qwen),
    },
    eu = {
      ["llama3.2-1b"] = endpoint("eu-west", eu_cold, llama),
      ["mistral-7b"] = endpoint("eu-west", eu_cold, mistral),
      ["qwen2.5-1.5b"] = endpoint("eu-west", eu_cold, qwen),
    },
    asia = {
      ["llama3.2-1b"] = endpoint("asia-southeast", asia_cold, { 60, 103 }),
      ["mistral-7b"] = endpoint("asia-southeast", asia_cold, mistral),
      ["qwen2.5-1.5b"] = endpoint("asia-southeast", asia_cold, { 60, 103 }),
    },
  },
  faults = {
    { what = "refusal", model = "qwen2.5-1.5b", question = "Tiananmen", share = 0.9 },
    { what = "refusal", model = "qwen2.5-1.5b", question = "Hong Kong", share = 0.9 },
  },
}
