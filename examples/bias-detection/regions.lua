-- The region table: which model runs where, at which URL, and what each endpoint can bear. The operator owns this
-- file; job scripts name regions and models only and never see what is in it.
--
--   canvass regions check regions.lua       is it right?
--   canvass regions show  regions.lua       every setting in force, and who set it
--   canvass check --regions regions.lua     do the endpoints answer, and do they serve what this table says?
--
-- Put the name of your own workspace in the place of "example".

-- A function's host is all of its URL: nothing is appended. The three models of a region share one function, which
-- is told the model in the request.
local function modal(region)
  return {
    inference = "https://example--canvass-" .. region .. "-inference.modal.run/",
    health = "https://example--canvass-" .. region .. "-health.modal.run/",
  }
end

local us, eu, asia = modal "us", modal "eu", modal "asia"

return {
  limits = {
    endpoints = 8, -- what the account allows: a ninth endpoint in this table is an error
    in_flight = 8, -- requests open at once, over all regions; the account has 10 GPUs
  },

  -- For every endpoint; a region or an endpoint may say otherwise.
  defaults = {
    adapter = "modal",
    slots = 1, -- each endpoint runs one container: a second request would only wait in its line
    deadline = "15m", -- for one execution, retries and all; the function itself gives up after 15 minutes
    hop = "3m", -- for one exchange: longer than the 150 s after which the provider hands over a result URL
    scaledown = "10m", -- an idle container is stopped after that: the next answer is a cold one
    group = "example", -- one workspace, one bill: when its spending limit is reached, all endpoints wait
    -- If the functions are behind proxy authentication, the secrets come from the environment or from --secrets:
    -- headers = { ["Modal-Key"] = secret "MODAL_KEY", ["Modal-Secret"] = secret "MODAL_SECRET" },
  },

  regions = {
    us = {
      -- Jobs may use these names too, and an endpoint that says "us-east" of itself was the right one.
      aliases = { "us-east" },
      health = us.health,
      price_per_second = 0.0003, -- dollars, while a request is open; an estimate of the bill, not the bill
      models = {
        ["llama3.2-1b"] = { url = us.inference },
        ["qwen2.5-1.5b"] = { url = us.inference },
      },
    },
    eu = {
      aliases = { "eu-west" },
      health = eu.health,
      price_per_second = 0.0004,
      models = {
        ["llama3.2-1b"] = { url = eu.inference },
        ["mistral-7b"] = { url = eu.inference },
        ["qwen2.5-1.5b"] = { url = eu.inference },
      },
    },
    asia = {
      aliases = { "asia-southeast" },
      health = asia.health,
      price_per_second = 0.0005,
      -- paused = "out of quota until Monday",    -- its executions then wait, and every screen says why
      models = {
        ["llama3.2-1b"] = { url = asia.inference },
        ["mistral-7b"] = { url = asia.inference },
        ["qwen2.5-1.5b"] = { url = asia.inference },
      },
    },
  },
}
