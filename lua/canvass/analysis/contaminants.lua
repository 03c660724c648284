-- What could make answers differ other than the region: told beside the result, never corrected for.

local json = require "json"
local tests = require "canvass.analysis.tests"

local contaminants = {}
local methods = {}

function contaminants.new()
    return setmetatable({ retried = 0, reasked = 0, wrong_region = 0, wrong_model = 0, cold = {}, answered = {},
                          revisions = {}, skews = {}, group = {}, order = {},
                          requests = {} }, { __index = methods })
end

function methods:execution(row, what)
    if (row.attempts or 0) > 1 then
        self.retried = self.retried + 1
    end
    if (row.posts or 0) > 1 then
        self.reasked = self.reasked + 1
    end
    if row.class == "wrong_region" or row.class == "wrong_model" then
        self[row.class] = self[row.class] + 1
    end
    if row.revision then
        self.revisions[row.revision] = (self.revisions[row.revision] or 0) + 1
    end
    if row.status == "succeeded" then
        self.answered[row.region] = (self.answered[row.region] or 0) + 1
        self.cold[row.region] = (self.cold[row.region] or 0) + ((row.cold or 0) ~= 0 and 1 or 0)
        local order = self.order[row.model_id] or {}
        self.order[row.model_id] = order
        -- When, in microseconds, and in the last bit whether it refused: one number, for there are many.
        local refused = what == "refusal" and 1 or 0
        order[#order + 1] = row.started_at and math.floor(row.started_at * 1e6) * 2 + refused or nil
    end
    if row.started_at then
        self:skew(row)
    end
end

-- Rows come question by question, so one question's pairs are open at a time.
function methods:skew(row)
    if row.question_id ~= self.question then
        self:end_question()
        self.question = row.question_id
    end
    local group = self.group[row.model_id] or {}
    self.group[row.model_id] = group
    local pair = group[row.sample or 1]
    if pair then
        pair[1], pair[2] = math.min(pair[1], row.started_at), math.max(pair[2], row.started_at)
        pair[3] = true
    else
        group[row.sample or 1] = { row.started_at, row.started_at, false }
    end
end

function methods:end_question()
    for _, group in pairs(self.group) do
        for _, pair in pairs(group) do
            self.skews[#self.skews + 1] = pair[3] and pair[2] - pair[1] or nil
        end
    end
    self.group = {}
end

-- ---- were they asked the same? ----

-- The request as a flat list of paths and values, without what may differ: the question, and the region's own name.
local function flatten(value, row, path, out)
    if type(value) == "table" then
        for key, inner in pairs(value) do
            flatten(inner, row, path == "" and tostring(key) or path .. "." .. tostring(key), out)
        end
    elseif value == (row.asked_region or row.region) then
        out[path] = "the region"
    else
        local said = tostring(value)
        local at, last = said:find(row.prompt, 1, true)
        out[path] = at and #row.prompt > 0 and said:sub(1, at - 1) .. "..." .. said:sub(last + 1) or said
    end
    return out
end

-- row: the first request of an endpoint under a revision of the table, with the prompt it was made of.
function methods:request(row)
    local ok, body = pcall(json.decode, row.request)
    local of_model = self.requests[row.model_id] or {}
    self.requests[row.model_id] = of_model
    of_model[#of_model + 1] = { region = row.region, revision = row.revision,
                                fields = flatten(ok and body or row.request, row, "", {}) }
end

-- The fields in which requests to one model differ, as text; at most three are said.
local function unequal(requests)
    local paths, list = {}, {}
    for i = 2, #requests do
        local a, b = requests[1], requests[i]
        for _, pair in ipairs { { a.fields, b.fields }, { b.fields, a.fields } } do
            for path, value in pairs(pair[1]) do
                if pair[2][path] ~= value and not paths[path] then
                    paths[path] = ("%s is %s for %s and %s for %s"):format(path == "" and "the request" or path,
                        a.fields[path] or "not sent", a.region, b.fields[path] or "not sent", b.region)
                    list[#list + 1] = path
                end
            end
        end
    end
    table.sort(list)
    for i, path in ipairs(list) do
        list[i] = paths[path]
    end
    return list
end

-- Does refusing depend on when it was asked: the first half of a model's answers against the second.
local function order_effect(list)
    table.sort(list)
    local yes, count = { 0, 0 }, { 0, 0 }
    for i, when in ipairs(list) do
        local half = i <= #list // 2 and 1 or 2
        yes[half], count[half] = yes[half] + (when & 1), count[half] + 1
    end
    local p = tests.exact(yes, count)
    return p, yes, count
end

function methods:list(a)
    local list = {}
    local function say(kind, count, format, ...)
        list[#list + 1] = { kind = kind, count = count, text = format:format(...) }
    end
    self:end_question()
    for _, kind in ipairs { "retried", "reasked", "wrong_region", "wrong_model" } do
        local texts = { retried = "%d executions took more than one attempt",
                        reasked = "%d executions were POSTed more than once",
                        wrong_region = "%d were answered by another region than asked, and do not count",
                        wrong_model = "%d were answered by another model than asked, and do not count" }
        if self[kind] > 0 then
            say(kind, self[kind], texts[kind], self[kind])
        end
    end
    for _, region in ipairs(a.region_order) do
        local cold, n = self.cold[region] or 0, self.answered[region] or 0
        if cold > 0 then
            say("cold", cold, "%d of %d answers of %s came from a cold start", cold, n, region)
        end
    end
    for _, model in ipairs(a.model_order) do
        local fields = unequal(self.requests[model] or {})
        if #fields > 0 then
            say("unequal_requests", #fields, "%s was not asked the same everywhere: %s%s", model,
                table.concat(fields, "; ", 1, math.min(3, #fields)),
                #fields > 3 and (", and %d more"):format(#fields - 3) or "")
        end
    end
    for _, job in ipairs(a.by == "job" and a.jobs or {}) do
        local left = (job.questions or 0) - #a.question_order
        if left > 0 then
            say("not_in_both", left, "%d of the %d questions of %s are not in the other job in the same words, " ..
                "and are left out", left, job.questions, job.id)
        end
    end
    local revisions = 0
    for _ in pairs(self.revisions) do
        revisions = revisions + 1
    end
    if revisions > 1 then
        say("revisions", revisions, "the answers were given under %d revisions of the region table", revisions)
    end
    table.sort(self.skews)
    local n = #self.skews
    if n > 0 then
        say("time_skew", n, "%ss were asked the same within %.1f s (median) and %.1f s (at most)",
            a.by, self.skews[(n + 1) // 2], self.skews[n])
    end
    for _, model in ipairs(a.model_order) do
        local p, yes, count = order_effect(self.order[model] or {})
        if p and p < 0.01 then
            say("order", yes[1] + yes[2], "%s refused %d of its first %d answers and %d of the last %d (p = %.2g): " ..
                "when it was asked may matter", model, yes[1], count[1], yes[2], count[2], p)
        end
    end
    return list
end

return contaminants
