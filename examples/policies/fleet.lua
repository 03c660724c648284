-- Two models in three regions, where one region takes four times as long as the others.

local quick, slow = { 8, 12 }, { 30, 50 } -- seconds

local function models(service)
  return { ["llama3.2-1b"] = { service = service }, ["qwen2.5-1.5b"] = { service = service } }
end

return {
  seed = 3,
  defaults = { cold = { 20, 30 }, queue = 4 },
  regions = { us = models(quick), eu = models(quick), asia = models(slow) },
}
