-- The models that are studied in three regions, and a judge beside them. It is reserved: only jobs that name it ask it,
-- and `canvass grade --by judge` does.

return {
  defaults = { price_per_second = 0.0003, slots = 2 },

  regions = {
    us = {
      health = "https://example--health-us.modal.run/",
      models = { ["qwen2.5-7b"] = { url = "https://example--inference-us.modal.run/" } },
    },
    eu = {
      health = "https://example--health-eu.modal.run/",
      models = { ["qwen2.5-7b"] = { url = "https://example--inference-eu.modal.run/" } },
    },
    asia = {
      health = "https://example--health-asia.modal.run/",
      models = { ["qwen2.5-7b"] = { url = "https://example--inference-asia.modal.run/" } },
    },
    hosted = {
      adapter = "openai",
      headers = { Authorization = secret("HOSTED_API_KEY", "Bearer %s") },
      health = "https://api.example.com/v1/models",
      reserved = true,
      models = { judge = { url = "https://api.example.com/v1/chat/completions", slots = 8 } },
    },
  },
}
