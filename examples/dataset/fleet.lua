-- Six endpoints with 32 containers each. Sums it really works out, and now and then gets one wrong; what else it
-- is asked, it answers with the simulator's own words.

local wrong_share = { ["qwen2.5-7b"] = 0.03, ["llama3.1-8b"] = 0.1 }

local function models()
  return { ["qwen2.5-7b"] = {}, ["llama3.1-8b"] = {} }
end

return {
  seed = 11,
  defaults = {
    schema = "openai",
    containers = 32,
    queue = 64,
    redirect_after = false,
    cold = { 1, 3 },
    service = { lognormal = 0.4, sigma = 0.4 },
  },
  regions = { us = models(), eu = models(), asia = models() },
  answers = function(question, model, _, random)
    local a, sign, b = question:match("^What is (%d+) ([-+*/]) (%d+)%?")
    if not a then return nil end
    local result = sign == "+" and a + b or sign == "-" and a - b or sign == "*" and a * b or a // b
    if random() < wrong_share[model] then result = result + random(1, 9) end
    return ("%d"):format(result)
  end,
}
