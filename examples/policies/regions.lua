-- Two models in three regions, and room for four requests at a time: fewer than there are endpoints, so it shows what
-- a policy lets go first.

local function models(region)
  local url = "https://example--policies-" .. region .. ".modal.run/"
  return { ["llama3.2-1b"] = { url = url }, ["qwen2.5-1.5b"] = { url = url } }
end

return {
  limits = { in_flight = 4 },
  regions = {
    us = { models = models "us" },
    eu = { models = models "eu" },
    asia = { models = models "asia" },
  },
}
