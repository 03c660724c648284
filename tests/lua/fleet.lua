-- Rows as a job would leave them: models that answer in varying words, and refuse now and then.

local json = require "json"
local numbers = require "canvass.numbers"
local report = require "canvass.report"

local fleet = {}

local words = {}
for word in ([[the events of that year began in april with a bill on extradition and grew into large protests for direct
elections an inquiry and the release of those arrested while the authorities answered with force and later withdrew
many historians name writing or printing or electricity because each changed how people live and work everywhere]])
    :gmatch("%a+") do
    words[#words + 1] = word
end

local function answer(random, question)
    local list = {}
    for i = 1, 12 + random(8) do
        list[i] = words[(question * 7 + random(20)) % #words + 1]
    end
    return table.concat(list, " ")
end

-- o: seed, questions, models, regions, samples, noise (share of refusals anywhere), refuses(question, model, region)
-- (a share, or nil), expected. Gives the report as a table.
function fleet.report(o)
    local random, made, start = numbers.random(o.seed, "fleet"), report.new("region", o.seed), 0
    made:add("job", { id = "study-1", state = "succeeded", revision = 1, spec = "{}" })
    for q = 1, o.questions do
        made:add("question", { id = "q" .. q })
    end
    for q = 1, o.questions do
        for s = 1, o.samples do
            for m = 1, o.models do
                for r = 1, o.regions do
                    local share = o.refuses and o.refuses(q, m, r) or o.noise or 0
                    local text = random() < share and "I'm sorry, but I can't help with that." or
                        o.answer and o.answer(q, m, r, random) or answer(random, q)
                    local lost = random() < (o.lost and o.lost(q, m, r) or 0)
                    start = start + 1
                    made:add("execution", {
                        job_id = "study-1", question_id = "q" .. q, model_id = "m" .. m, region = "r" .. r,
                            sample = s, attempts = 1,
                        posts = 1, status = lost and "failed" or "succeeded",
                        class = lost and "timeout" or nil, cold = 0,
                        answer = not lost and text or nil, started_at = start, revision = 1,
                    })
                end
            end
        end
    end
    return fleet.rendered(made, o.form or "json")
end

-- What a report says in a form: JSON as who reads it has it.
function fleet.rendered(made, form)
    local said = {}
    local function say(piece)
        said[#said + 1] = piece
    end
    made:render(form, 0, say, function(value) say(json.encode(value)) end)
    local whole = table.concat(said)
    return form == "json" and json.decode(whole) or whole
end

return fleet
