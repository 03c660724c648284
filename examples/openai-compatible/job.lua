-- The same questions to a chat model behind any server that speaks the OpenAI API: vLLM, llama.cpp, Ollama, a hosted
-- one. "Regions" need not be continents: here each kind of server is one, so that its answers have their own column.
--
--   canvass run job.lua --regions regions.lua --secrets secrets
--   canvass simulate fleet.lua --table sim.lua                    without any server: a fleet that speaks the same API

local policy = require "canvass.policy"

return {
  name = "openai-compatible",
  questions = require "questions",

  -- Each of these becomes a field of the request. `system` becomes the first message.
  parameters = {
    system = "Answer in one short sentence.",
    temperature = 0,
    max_tokens = 200,
  },

  -- Twice each: at temperature 0 the two ought to be equal, and where they are not, differences between servers
  -- as small as that say nothing.
  samples = 2,

  -- All at once: these servers bear many requests at a time, and the `slots` of the region table say how many.
  policy = policy.free,
  timeout = "30m",
}
