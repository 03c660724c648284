-- Results as promptfoo writes them to a JSON file (https://www.promptfoo.dev/docs/configuration/outputs, version 3): a
-- provider is a model in a region, a test is a question.

local json = require "json"
local target

local promptfoo = {}
local methods = {}

local FAILED, WRONG = 2, 1 -- failureReason: an error, an assertion

function promptfoo.new(put)
    target = require("canvass.export").target
    return setmetatable({ put = put, providers = {}, order = {}, passed = 0, failed = 0, errors = 0, first = true,
                          prompt_tokens = 0, completion_tokens = 0 }, { __index = methods })
end

local function tokens(input, output, requests)
    return { prompt = input, completion = output, total = input + output, cached = 0, numRequests = requests }
end

function methods:job(row)
    self.of = row
    local head = json.encode {
        evalId = row.id, shareableUrl = json.null,
        config = { description = row.name, prompts = json.array { "{{prompt}}" } },
        metadata = { canvassVersion = row.version, regionTableRevision = row.revision, policy = row.policy },
    }
    self.put("", head:sub(1, -2) .. (',"results":{"version":3,"timestamp":%s,"results":[\n'):format(json.encode(
        ((row.started or row.created):gsub(" ", "T")) .. "Z")))
end

function methods:endpoint(row)
    local id = row.region .. "/" .. row.model_id
    local p = { place = #self.order, id = id, pass = 0, fail = 0, errors = 0, right = 0, wrong = 0, ms = 0, cost = 0,
                input = 0, output = 0, n = 0 }
    self.providers[id], self.order[#self.order + 1] = p, p
end

-- What promptfoo would check, where it can be said in its words.
local function assertions(expected)
    if expected == nil then
        return nil
    elseif type(expected) == "table" and expected.exact ~= nil then
        return json.array { { type = "equals", value = tostring(expected.exact) } }
    end
    local wanted = target(expected)
    return json.array { type(wanted) == "table" and { type = "icontains-any", value = json.array(wanted) } or
        { type = "icontains", value = wanted } }
end

function methods:execution(row)
    local p = self.providers[row.region .. "/" .. row.model_id]
    local ok, input, output = row.status == "succeeded", row.prompt_tokens or 0, row.completion_tokens or 0
    local passed, ms = ok and row.correct ~= false, nil
    if row.started_at and row.ended_at then
        ms = math.floor((row.ended_at - row.started_at) * 1000 + 0.5)
    end
    p.n, p.input, p.output, p.ms, p.cost = p.n + 1, p.input + input, p.output + output, p.ms + (ms or 0),
        p.cost + (row.cost or 0)
    p.pass, p.fail = p.pass + (passed and 1 or 0), p.fail + (ok and not passed and 1 or 0)
    p.errors, p.right = p.errors + (ok and 0 or 1), p.right + (row.correct and 1 or 0)
    p.wrong = p.wrong + (row.correct == false and 1 or 0)
    local grading
    if row.correct ~= nil then
        grading = { pass = row.correct, score = row.correct and 1 or 0, reason = row.correct and "as expected" or
            "not what is expected" }
    end
    self.put("", (self.first and "" or ",\n") .. json.encode {
        id = row.id, promptIdx = p.place, testIdx = row.position - 1, promptId = "prompt", success = passed,
        score = row.score or (passed and 1 or 0), latencyMs = ms or 0, cost = row.cost or 0, namedScores = {},
        failureReason = ok and (passed and 0 or WRONG) or FAILED, error = not ok and (row.error or row.status) or nil,
        provider = { id = p.id, label = p.id }, prompt = { raw = row.prompt, label = "{{prompt}}" },
        vars = { prompt = row.prompt },
        testCase = { description = row.question_id, vars = { prompt = row.prompt }, assert = assertions(row.expected),
                     metadata = { id = row.question_id, expected = row.expected, question = row.metadata } },
        response = ok and { output = row.answer or "", tokenUsage = tokens(input, output, row.posts) } or nil,
        gradingResult = grading or json.null,
        metadata = { region = row.region, model_id = row.model_id, sample = row.sample, outcome = row.outcome,
                     refusalPhrase = row.phrase, cold = row.cold == 1, attempts = row.attempts, posts = row.posts,
                     hops = row.hops, revision = row.revision },
    })
    self.first = false
    self.passed, self.failed = self.passed + (passed and 1 or 0), self.failed + (ok and not passed and 1 or 0)
    self.errors = self.errors + (ok and 0 or 1)
    self.prompt_tokens, self.completion_tokens = self.prompt_tokens + input, self.completion_tokens + output
end

function methods:finish()
    local prompts, n = json.array {}, 0
    for i, p in ipairs(self.order) do
        n = n + p.n
        prompts[i] = {
            raw = "{{prompt}}", label = "{{prompt}}", provider = p.id, id = "prompt",
            metrics = { score = p.pass, testPassCount = p.pass, testFailCount = p.fail, testErrorCount = p.errors,
                        assertPassCount = p.right, assertFailCount = p.wrong, totalLatencyMs = p.ms, cost = p.cost,
                        tokenUsage = tokens(p.input, p.output, p.n), namedScores = {}, namedScoresCount = {} },
        }
    end
    self.put("", ('\n],"prompts":%s,"stats":%s}}\n'):format(json.encode(prompts), json.encode {
        successes = self.passed, failures = self.failed, errors = self.errors,
        tokenUsage = tokens(self.prompt_tokens, self.completion_tokens, n) }))
end

return promptfoo
