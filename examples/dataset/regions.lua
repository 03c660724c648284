-- Two models in three regions behind vLLM servers that bear many requests at once.

local function server(region, model)
  return "http://" .. model .. "." .. region .. ".internal:8000/v1/chat/completions"
end

local function region(id)
  return {
    models = {
      ["qwen2.5-7b"] = { url = server(id, "qwen2-5-7b") },
      ["llama3.1-8b"] = { url = server(id, "llama3-1-8b") },
    },
  }
end

return {
  limits = { in_flight = 128 },
  defaults = {
    adapter = "openai",
    slots = 32, -- a cold endpoint gets one request, and the others once that one has answered
    adaptive = true, -- fewer while it answers 429 or 503
    deadline = "5m",
    hop = "3m",
    retry = { attempts = 6 },
  },
  regions = { us = region "us", eu = region "eu", asia = region "asia" },
}
