-- Samples as lm-evaluation-harness logs them with --log_samples: for each model in a region a folder with
-- samples_TASK_TIME.jsonl, one line for each question with all its repeats, and results_TIME.json.

local json = require "json"
local target

local lm_eval = {}
local methods = {}

function lm_eval.new(put)
    target = require("canvass.export").target
    return setmetatable({ put = put, endpoints = {}, order = {}, lines = {} }, { __index = methods })
end

function methods:job(row)
    self.of = row
end

function methods:endpoint(row)
    local time = (row.started or self.of.created):gsub(" ", "T"):gsub(":", "-")
    local folder = (row.region .. "__" .. row.model_id):gsub("[^%w._-]", "_")
    local e = { region = row.region, model_id = row.model_id, folder = folder, time = time, asked = 0, answered = 0,
        refused = 0, checked = 0,
                right = 0, samples = ("%s/samples_%s_%s.jsonl"):format(folder, self.of.name, time) }
    self.endpoints[row.region .. "/" .. row.model_id], self.order[#self.order + 1] = e, e
    self.put(e.samples, "")
end

local function mean(sum, n)
    return n > 0 and sum / n or nil
end

-- The lines of a question, one for each endpoint.
function methods:flush()
    for _, e in ipairs(self.order) do
        local line = self.lines[e]
        if line then
            line.metrics = json.array { "refusal" }
            line.refusal = mean(line.refused, line.answered)
            if line.checked > 0 then
                line.metrics[2], line.exact_match = "exact_match", line.right / line.checked
            end
            line.refused, line.answered, line.checked, line.right = nil, nil, nil, nil
            self.put(e.samples, json.encode(line) .. "\n")
        end
    end
    self.lines = {}
end

function methods:execution(row)
    if row.question_id ~= self.question then
        self:flush()
        self.question = row.question_id
    end
    local e = self.endpoints[row.region .. "/" .. row.model_id]
    local line = self.lines[e]
    if not line then
        line = {
            doc_id = row.position - 1, target = target(row.expected), filter = "none", answered = 0, refused = 0,
            doc = { id = row.question_id, prompt = row.prompt, expected = row.expected, metadata = row.metadata },
            arguments = { gen_args_0 = { arg_0 = row.prompt, arg_1 = self.of.parameters } }, checked = 0, right = 0,
            resps = json.array { json.array {} }, filtered_resps = json.array {}, outcomes = json.array {},
        }
        self.lines[e] = line
    end
    local all = line.resps[1]
    all[#all + 1] = row.answer or ""
    line.filtered_resps[#all], line.outcomes[#all] = row.answer or "", row.outcome
    for _, sums in ipairs { e, line } do
        sums.answered = sums.answered + (row.status == "succeeded" and 1 or 0)
        sums.refused = sums.refused + (row.outcome == "refusal" and 1 or 0)
        sums.checked = sums.checked + (row.correct ~= nil and 1 or 0)
        sums.right = sums.right + (row.correct and 1 or 0)
    end
end

function methods:finish()
    self:flush()
    local task = self.of.name
    for _, e in ipairs(self.order) do
        self.put(("%s/results_%s.json"):format(e.folder, e.time), json.encode {
            results = { [task] = { alias = task, ["refusal,none"] = mean(e.refused, e.answered),
                                   ["exact_match,none"] = mean(e.right, e.checked) } },
            configs = { [task] = { task = task, output_type = "generate_until",
                generation_kwargs = self.of.parameters } },
            versions = { [task] = 0 }, ["n-shot"] = { [task] = 0 },
                higher_is_better = { [task] = { exact_match = true } },
            ["n-samples"] = { [task] = { original = self.of.questions, effective = self.of.questions } },
            config = { model = "canvass", model_args = ("model=%s,region=%s"):format(e.model_id, e.region) },
            model_name = e.region .. "/" .. e.model_id, canvass_version = self.of.version, job_id = self.of.id,
        } .. "\n")
    end
end

return lm_eval
