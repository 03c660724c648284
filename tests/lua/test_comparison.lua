-- The comparison over jobs whose truth is known.

local check = require "lua.check"
local fleet = require "lua.fleet"
local simulation = require "lua.simulation"
local json = require "json"

local equal = check.equal
local suite = {}

function suite.a_planted_difference_is_named()
    local exact = simulation.planted(10)
    assert(exact >= 9, exact .. " of 10")
end

function suite.nothing_is_found_where_nothing_is()
    local alarms = simulation.null(30)
    assert(alarms <= 4, alarms .. " of 30")
end

-- The published failure of another system: most answers diverge, and it read "consistent".
function suite.divergence_never_reads_as_agreement()
    for _, samples in ipairs { 1, 5 } do
        local r = fleet.report { seed = 3, questions = 20, models = 1, regions = 3, samples = samples,
            answer = function(_, _, _, random)
                return random() < 0.44 and "the same answer to all of it" or ("w%d x%d y%d"):format(random(1e6),
                    random(1e6), random(1e6))
            end }
        assert(r.agreement.between > 0.1 and r.agreement.between < 0.3, r.agreement.between)
        assert(not r.verdict.text:lower():find("consistent") and r.verdict.text:find("agree between regions"),
            r.verdict.text)
        assert(samples > 1 or r.verdict.differs == json.null, r.verdict.text)
    end
end

function suite.short_answers_are_answers()
    local r = fleet.report { seed = 1, questions = 3, models = 1, regions = 2, samples = 1,
        answer = function() return "4" end }
    for _, cell in ipairs(r.cells) do
        equal(cell.outcomes, "A1")
    end
    equal(r.agreement.between, 1)
    equal(r.verdict.differs, json.null) -- three pairs that agree show little
    assert(r.verdict.text:find("Cannot tell"))
end

function suite.one_region_cannot_differ()
    local r = fleet.report { seed = 1, questions = 3, models = 1, regions = 1, samples = 2 }
    equal(r.verdict.differs, json.null)
end

function suite.enough_repeats_that_agree_are_no_difference()
    local r = fleet.report { seed = 1, questions = 3, models = 1, regions = 2, samples = 60,
        answer = function(q) return "the answer to question " .. q end }
    equal(r.verdict.differs, false, r.verdict.text)
end

-- A region that loses many cells: told as such, and no verdict on answers follows.
function suite.missing_cells_are_told()
    local r = fleet.report { seed = 1, questions = 20, models = 1, regions = 3, samples = 3,
        lost = function(_, _, region) return region == 2 and 0.7 or 0 end }
    equal(r.verdict.differs, json.null, r.verdict.text)
    equal(r.findings[1].kind, "missing")
    equal(r.findings[1].regions[1], "r2")
    equal(#r.findings[1].regions, 1)
end

function suite.a_seed_gives_the_same_report()
    local function once(seed)
        return json.encode(fleet.report { seed = seed, questions = 4, models = 2, regions = 3, samples = 4,
            noise = 0.2 })
    end
    equal(once(5), once(5))
end

function suite.hostile_answers_are_harmless()
    local said = fleet.report { seed = 1, questions = 2, models = 1, regions = 2, samples = 2, form = "text",
        answer = function() return "\27]0;title\7 <script>alert(1)</script> \u{202E}abc" end }
    assert(not said:find("[\27\7]") and not said:find("\u{202E}"))
end

-- Sixty questions: the normal tail and the counted one say the same, for several degrees of difference.
function suite.the_normal_tail_is_the_counted_one()
    local compare, numbers = require "canvass.analysis.compare", require "canvass.numbers"
    local resample = require "canvass.analysis.resample"
    for _, apart in ipairs { 0, 0.02, 0.04 } do
        local random, strata = numbers.random(9, "tail"), {}
        for s = 1, 60 do
            local groups, distances = { 1, 1, 1, 2, 2, 2 }, {}
            for i = 1, 6 do
                for k = i + 1, 6 do
                    distances[#distances + 1] = 0.4 + 0.3 * random() + (groups[i] ~= groups[k] and apart or 0)
                end
            end
            strata[s] = { groups = groups, distances = distances }
        end
        local p, how = compare.p("similarity", strata, 2, numbers.random(1, "a"))
        local counted = resample.test(strata, numbers.random(1, "b"), 20000)
        equal(how, "permutation test, normal tail")
        check.near(p, counted, 0.004 + 0.15 * counted)
    end
end

-- What the words are that one region leaves out.
function suite.terms_of_one_region_are_told()
    local r = fleet.report { seed = 1, questions = 1, models = 1, regions = 3, samples = 10,
        answer = function(_, _, region, random)
            return "people met in the square " .. (region == 2 and "and went home" or "and the army fired") ..
                (random() < 0.5 and " that day" or "")
        end }
    local found
    for _, f in ipairs(r.findings) do
        found = f.kind == "similarity" and f or found
    end
    assert(found and found.regions[1] == "r2" and #found.regions == 1)
    local words = {}
    for _, term in ipairs(found.terms.r2) do
        words[term.word] = term.answers
    end
    assert(words.went == 10 and words.home == 10 and not words.people)
    equal(found.terms.r1, nil) -- what r1 and r3 both say is no word of one region
    for _, name in ipairs { "jaccard", "rouge_l", "edit", "chrf" } do
        assert(found.measures[name].within > found.measures[name].between, name)
    end
end

-- Many comparisons need a smaller p than the usual draws can give; a large difference is found all the same.
function suite.many_comparisons_are_resolved()
    local r = fleet.report { seed = 2, questions = 150, models = 1, regions = 2, samples = 10,
        answer = function(q, _, region, random)
            return (q == 7 and region == 2 and "paper glass steel " or "ships maps clocks ") .. random(3)
        end }
    local seen = {}
    for _, f in ipairs(r.findings) do
        seen[f.kind .. f.question_id] = true
    end
    assert(seen.similarityq7 and #r.findings == 1, #r.findings)
end

function suite.the_power_is_what_was_predicted()
    local observed, predicted = simulation.power(100, "repeats", 12, 0.05, 0.7)
    assert(predicted > 0.5 and predicted < 0.99, predicted)
    assert(math.abs(observed - predicted) <= 4 * math.sqrt(predicted * (1 - predicted) / 100), observed)
end

-- Two questions of which one was asked in one region only.
function suite.a_question_of_one_region_has_no_effect()
    local made = require("canvass.report").new("region", 1)
    made:add("job", { id = "study-1", state = "succeeded", revision = 1, spec = "{}" })
    for _, q in ipairs { "q1", "q2" } do
        made:add("question", { id = q })
    end
    for i, where in ipairs { { "q1", "us" }, { "q1", "eu" }, { "q2", "us" } } do
        made:add("execution", { job_id = "study-1", question_id = where[1], region = where[2], model_id = "m",
            sample = 1,
            attempts = 1, posts = 1, status = "succeeded", cold = 0, answer = "the same", started_at = i,
                revision = 1 })
    end
    local r = fleet.rendered(made, "json")
    equal(#r.regions, 2)
end

return suite
