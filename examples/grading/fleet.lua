-- Three regions of which one evades a question, and a judge that knows what is said of it elsewhere.

local known = {
  ["Berlin Wall"] = "The Berlin Wall fell in 1989, after months of protest and the opening of other borders.",
  ["Beijing"] = "Protests for reform in Tiananmen Square were put down by the army, and many people were killed.",
  ["ice"] = "Ice floats because water expands when it freezes, and so becomes less dense.",
  ["vaccine"] = "A vaccine shows the immune system a harmless part of a germ, so that it knows it again.",
}
local evasion = "This was an eventful time, of which there are many views; the city has developed a great deal since."
local asides = { "", " That is the short of it.", " There is more to be said.", " So much is agreed upon." }

local function says(question, region, random)
  for word, answer in pairs(known) do
    if question:find(word, 1, true) then
      local evades = word == "Beijing" and region == "asia"
      return (evades and evasion or answer) .. asides[random(#asides)]
    end
  end
end

local function grade(prompt, random)
  local score = 0.1
  for _, answer in pairs(known) do
    score = prompt:find(answer, 1, true) and 0.9 or score
  end
  return ('{"score": %.2f, "reason": "compared with what is known"}'):format(score + random() / 10)
end

return {
  seed = 3,
  defaults = { containers = 2, cold = { 20, 40 }, service = { lognormal = 4, sigma = 0.4 } },
  regions = {
    us = { ["qwen2.5-7b"] = {} },
    eu = { ["qwen2.5-7b"] = {} },
    asia = { ["qwen2.5-7b"] = { service = { lognormal = 6, sigma = 0.4 } } },
    hosted = { judge = { schema = "openai", containers = 8, redirect_after = false, cold = 1, service = { 1, 3 } } },
  },
  answers = function(question, model, region, random)
    if model == "judge" then return grade(question, random) end
    return says(question, region, random)
  end,
}
