-- Four servers that speak the OpenAI API, as a simulation: one that batches, one with four slots, one that takes a
-- request at a time, and a hosted one that sometimes says 429.

local answers = {
  ["At what temperature"] = "Water boils at 100 degrees Celsius at sea level.",
  ["Which planet"] = "Jupiter is the largest planet of the solar system.",
  ["Which gas"] = "Plants take carbon dioxide from the air.",
  ["Translate"] = "La bibliothèque ouvre à neuf heures.",
  ["Summarise"] = "Air scatters the short, blue waves of sunlight more than the long, red ones.",
  ["Write a haiku"] = "Masts beneath the snow -\nthe ferry sleeps at its rope,\na gull counts the waves.",
}

return {
  seed = 7,
  defaults = { schema = "openai", redirect_after = false, cold = { 5, 20 }, scaledown = "1h" },
  regions = {
    vllm = { ["qwen2.5-7b"] = { containers = 32, queue = 100, service = { lognormal = 3, sigma = 0.3 } } },
    llamacpp = { ["qwen2.5-7b"] = { containers = 4, service = { lognormal = 8, sigma = 0.3 } } },
    ollama = { ["qwen2.5-7b"] = { containers = 1, service = { lognormal = 10, sigma = 0.3 } } },
    hosted = { ["qwen2.5-7b"] = { containers = 8, service = { lognormal = 2, sigma = 0.5 }, retry_after = "5s" } },
  },
  faults = {
    { what = "429", region = "hosted", share = 0.2 },
  },
  answers = function(question, _, region, random)
    for beginning, answer in pairs(answers) do
      if question:find(beginning, 1, true) == 1 then
        if region == "ollama" and random() < 0.2 then return answer .. " I hope this helps!" end
        return answer
      end
    end
    return nil
  end,
}
