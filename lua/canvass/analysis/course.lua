-- How the run went: when each endpoint was at work, how long its answers took, what they cost. Told, never judged.

local resample = require "canvass.analysis.resample"

local course = {}
local methods = {}

function course.new()
    return setmetatable({ index = {}, endpoints = {}, posts = 0, hops = 0, answers = 0, priced = 0, cost = 0,
                          prompt_tokens = 0, completion_tokens = 0 }, { __index = methods })
end

function methods:endpoint(region, model_id)
    local of_region = self.index[region] or {}
    self.index[region] = of_region
    local e = of_region[model_id]
    if not e then
        e = { region = region, model_id = model_id, from = {}, to = {}, what = {}, is_cold = {}, cold = {}, warm = {} }
        of_region[model_id], self.endpoints[#self.endpoints + 1] = e, e
    end
    return e
end

function methods:execution(row, what)
    local e, is_cold = self:endpoint(row.region, row.model_id), (row.cold or 0) ~= 0
    self.posts, self.hops = self.posts + (row.posts or 0), self.hops + (row.hops or 0)
    self.prompt_tokens = self.prompt_tokens + (row.prompt_tokens or 0)
    self.completion_tokens = self.completion_tokens + (row.completion_tokens or 0)
    if row.cost then
        self.cost, self.priced = self.cost + row.cost, self.priced + 1
    end
    local from, to = row.started_at, row.ended_at
    if row.status == "succeeded" then
        self.answers = self.answers + 1
        if from and to and row.attempts == 1 then
            local times = is_cold and e.cold or e.warm
            times[#times + 1] = to - from
        end
    end
    if from and to then
        local n = #e.from + 1
        e.from[n], e.to[n], e.what[n], e.is_cold[n] = from, to, what, is_cold
        self.first = self.first and self.first <= from and self.first or from
        self.last = self.last and self.last >= to and self.last or to
    end
end

-- Seconds from the first byte sent to the answer, of those that took one attempt.
local function spread(times)
    if #times == 0 then
        return nil
    end
    table.sort(times)
    local q = function(share) return resample.quantile(times, share) end
    return { n = #times, least = times[1], tenth = q(0.1), median = q(0.5), nine_tenths = q(0.9), most = times[#times] }
end

function methods:report()
    local endpoints = {}
    for i, e in ipairs(self.endpoints) do
        endpoints[i] = { region = e.region, model_id = e.model_id, cold_s = spread(e.cold), warm_s = spread(e.warm) }
    end
    return {
        seconds = self.first and self.last - self.first or nil, posts = self.posts, hops = self.hops,
            answers = self.answers,
        posts_per_answer = self.answers > 0 and self.posts / self.answers or nil,
        cost = self.priced > 0 and self.cost or nil, priced = self.priced,
        prompt_tokens = self.prompt_tokens, completion_tokens = self.completion_tokens, endpoints = endpoints,
    }
end

return course
