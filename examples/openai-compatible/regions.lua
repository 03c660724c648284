-- One table for four kinds of servers. The url is the whole path of the chat completions: nothing is appended to it.
--
-- Of the secret only its name stands here. Its value comes from the environment, or from a file that nobody else
-- can read:
--
--   echo 'HOSTED_API_KEY=...' > secrets && chmod 600 secrets
--   canvass regions check regions.lua --secrets secrets

return {
  limits = { in_flight = 48 },

  defaults = {
    adapter = "openai",
    deadline = "10m",
    hop = "5m",
    scaledown = "30m",
  },

  regions = {
    -- vLLM batches: it answers many requests at once, each of them a little slower. One more replica, one more line.
    vllm = {
      health = "http://vllm-1.internal:8000/v1/models",
      models = {
        ["qwen2.5-7b"] = {
          url = "http://vllm-1.internal:8000/v1/chat/completions",
          slots = 32,
          -- The table's id is what reports say; this is what the server wants to hear.
          options = { send_model = "Qwen/Qwen2.5-7B-Instruct" },
        },
      },
    },

    -- llama.cpp: as many slots as it was started with (--parallel 4). It says "loading model" with 503 for a while.
    llamacpp = {
      health = "http://llamacpp-1.internal:8080/v1/models",
      models = {
        ["qwen2.5-7b"] = {
          url = "http://llamacpp-1.internal:8080/v1/chat/completions",
          slots = 4,
          serves = { "qwen2.5-7b-instruct-q4_k_m.gguf" }, -- how it calls the model in its answers
          retry = { attempts = 10, base = "2s", cap = "30s" },
        },
      },
    },

    -- Ollama answers one at a time unless told otherwise, and unloads a model after five idle minutes.
    ollama = {
      health = "http://ollama-1.internal:11434/v1/models",
      scaledown = "5m",
      models = {
        ["qwen2.5-7b"] = {
          url = "http://ollama-1.internal:11434/v1/chat/completions",
          options = { send_model = "qwen2.5:7b" },
        },
      },
    },

    -- A hosted provider: paid by the token, limited by the minute. When it says 429 with Retry-After the whole group
    -- waits; `adaptive` lowers the number of requests in flight then, and raises it again while all goes well.
    hosted = {
      headers = { Authorization = secret("HOSTED_API_KEY", "Bearer %s") },
      group = "hosted-account",
      models = {
        ["qwen2.5-7b"] = {
          url = "https://api.hosted.example/v1/chat/completions",
          options = { send_model = "qwen/qwen-2.5-7b-instruct" },
          slots = 8,
          adaptive = { floor = 1, ceiling = 16 },
          price_per_token = 0.0000002, -- dollars; for a price by tokens canvass needs the usage the answers report
        },
      },
    },
  },

  -- What the account may do, however many models of it stand in the table.
  groups = {
    ["hosted-account"] = { in_flight = 16, rate = 60 }, -- 60 requests a minute
  },
}
