-- Logs of Inspect AI (https://inspect.aisi.org.uk/reference/inspect_ai.log.html, EvalLog, format 2): a JSON file for
-- each
-- model in a region, for a log is of one model. A question is a sample, and its repeats are epochs.

local json = require "json"
local target

local inspect = {}
local methods = {}

local statuses = { succeeded = "success", partial = "success", failed = "error", cancelled = "cancelled",
                   timed_out = "cancelled" }

function inspect.new(put)
    target = require("canvass.export").target
    return setmetatable({ put = put, logs = {}, order = {} }, { __index = methods })
end

function methods:job(row)
    self.of = row
end

local function iso(time)
    return time and time:gsub(" ", "T") .. "+00:00" or ""
end

function methods:endpoint(row)
    local job, name = self.of, row.region .. "/" .. row.model_id
    local created = iso(row.started or job.created)
    local id = ("%s-%d"):format(job.id, #self.order + 1)
    local usage = { input_tokens = row.prompt_tokens or 0, output_tokens = row.completion_tokens or 0,
                    total_tokens = (row.prompt_tokens or 0) + (row.completion_tokens or 0) }
    local status = statuses[job.state] or "started"
    local header = {
        version = 2, status = status,
        eval = {
            eval_id = id, run_id = job.id, created = created, task = job.name, task_id = id, task_version = 0,
            task_attribs = {}, task_args = {}, task_args_passed = {}, model = name, model_args = {},
            model_generate_config = {}, config = { epochs = row.samples }, packages = { canvass = job.version },
            dataset = { name = job.name, samples = job.questions, shuffled = false },
            metadata = { region = row.region, model_id = row.model_id, region_table_revision = job.revision,
                         policy = job.policy, parameters = job.parameters },
        },
        plan = { name = "plan", steps = json.array {}, config = {} },
        results = { total_samples = row.planned, completed_samples = row.succeeded, scores = json.array {} },
        stats = { started_at = iso(row.started), completed_at = iso(row.ended), model_usage = { [name] = usage } },
        error = status == "error" and { message = "no execution of the job succeeded", traceback = "",
                                        traceback_ansi = "" } or nil,
    }
    local log = { name = name, first = true,
                  file = ("%s_%s_%s.json"):format((created:gsub("[:]", "-")), job.name, id):gsub("[^%w._+-]", "_") }
    self.logs[name], self.order[#self.order + 1] = log, log
    self.put(log.file, json.encode(header):sub(1, -2) .. ',"samples":[\n')
end

local function output(row, name)
    local choices = json.array {}
    if row.status == "succeeded" then
        choices[1] = { stop_reason = row.outcome == "truncated" and "max_tokens" or "stop",
                       message = { role = "assistant", content = row.answer or "", source = "generate" } }
    end
    return {
        model = name, choices = choices, error = row.status ~= "succeeded" and (row.error or row.status) or nil,
        usage = { input_tokens = row.prompt_tokens or 0, output_tokens = row.completion_tokens or 0,
                  total_tokens = (row.prompt_tokens or 0) + (row.completion_tokens or 0) },
        time = row.started_at and row.ended_at and row.ended_at - row.started_at or nil,
    }
end

function methods:execution(row)
    local log = self.logs[row.region .. "/" .. row.model_id]
    local out = output(row, log.name)
    local scores = { outcome = { value = row.outcome, explanation = row.phrase } }
    if row.correct ~= nil then
        scores.expected = { value = row.correct and "C" or "I", answer = row.answer }
    end
    scores.score = row.score and { value = row.score } or nil
    local messages = json.array { { role = "user", content = row.prompt, source = "input" } }
    messages[2] = out.choices[1] and out.choices[1].message or nil
    local sample = {
        id = row.question_id, epoch = row.sample, input = row.prompt, target = target(row.expected),
        messages = messages, output = out, scores = scores, store = {}, events = json.array {}, attachments = {},
        model_usage = { [log.name] = out.usage }, total_time = out.time, uuid = row.id,
        metadata = { region = row.region, model_id = row.model_id, execution_id = row.id, cold = row.cold == 1,
                     attempts = row.attempts, posts = row.posts, hops = row.hops, cost = row.cost,
                         expected = row.expected,
                     revision = row.revision, status = row.status, class = row.class, question = row.metadata },
        error = row.status ~= "succeeded" and { message = row.error or row.status, traceback = "",
            traceback_ansi = "" } or
            nil,
    }
    self.put(log.file, (log.first and "" or ",\n") .. json.encode(sample))
    log.first = false
end

function methods:finish()
    for _, log in ipairs(self.order) do
        self.put(log.file, "\n]}\n")
    end
end

return inspect
