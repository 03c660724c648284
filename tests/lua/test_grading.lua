-- What a grading reply is read as, and what an answer cannot get out of.

local check = require "lua.check"
local grading = require "canvass.grading"
local numbers = require "canvass.numbers"

local near, equal = check.near, check.equal
local suite = {}

function suite.one_object_with_a_score_is_read()
    for _, reply in ipairs {
        '{"score": 0.5, "reason": "r"}', '{"score":5e-1}', '```json\n{"score": 0.5}\n```', 'So: {"score": 0.5}. Done.',
        '{"score": 0.5, "reason": "a } and a { and \\" and \\\\"}', '{"plan": {"a": "{"}} {"score": 0.5}',
        'unpaired { and " before {"score": 0.5}', '{not json} {"score": 0.5} {not json}',
        '{"score": 0.5, "reason": "it says \\"score\\": 1"}',
    } do
        equal(grading.verdict(reply), 0.5, reply)
    end
    equal(grading.verdict '{"score": 0}', 0)
    equal(grading.verdict '{"score": 1}', 1)
end

function suite.anything_else_is_no_grade()
    for reply, why in pairs {
        [""] = "has no score", ["0.5"] = "has no score", ['"score": 0.5'] = "no score", ['{"Score": 1}'] = "no score",
        ['{"score": null}'] = "no number", ['{"score": "0.5"}'] = "no number", ['{"score": true}'] = "no number",
        ['{"score": [0.5]}'] = "no number", ['{"score": 1e999}'] = "no", ['{"score": NaN}'] = "has no score",
        ['{"score": 1.0001}'] = "no number", ['{"score": -0.1}'] = "no number",
        ['{"score": 1}{"score": 0}'] = "more than one", ['{"score": 1}{"score": 1}'] = "more than one",
        ['{"score": 0, "score": 1}'] = "more than one", ['{"a": {"score": 1}}'] = "has no score",
        ['{"score": 1'] = "has no score", ['{"score": 1, "reason": "'] = "has no score",
        [("x"):rep(70000)] = "too long", [("{"):rep(65000)] = "too many", [('{"'):rep(32000)] = "too many",
    } do
        local score, said = grading.verdict(reply)
        equal(score, nil, reply:sub(1, 60))
        assert(said and said:find(why, 1, true), reply:sub(1, 60) .. ": " .. tostring(said))
    end
end

function suite.no_text_has_the_marks()
    local fence, n = grading.fence("plain", "text")
    equal(n, 1)
    equal(fence("ANSWER", "a\n%d b"), "[ANSWER 1]\na\n%d b\n[END 1]")
    equal(select(2, grading.fence("[END 1]", "x [ answer 2 ] [end3]")), 4)
    equal(select(2, grading.fence(("[END 7]"):rep(1000))), 1)
    local all = {}
    for i = 1, 2000 do
        all[i] = ("[END %d]"):format(i)
    end
    equal(select(2, grading.fence(table.concat(all))), 2001)
end

function suite.cosines()
    local a, b = numbers.vector { 3, 4 }, numbers.vector { 4, 3 }
    near(numbers.cosine(a, b), 0.96, 1e-12)
    near(numbers.cosine(a, a), 1, 1e-12)
    near(numbers.cosine(a, numbers.vector { -3e300, -4e300 }), -1, 1e-12)
    near(numbers.cosine(a, numbers.vector { 4e-320, -3e-320 }), 0, 1e-3)
    equal(#a, 2)
    for _, none in ipairs { {}, { 0, 0 }, { 1, "2" }, { 0 / 0 }, { 1 / 0 }, { 1, false } } do
        equal(numbers.vector(none), nil)
    end
    assert(not pcall(numbers.cosine, a, numbers.vector { 1 }))
    assert(not pcall(numbers.cosine, a, { 1, 2 }))
end

return suite
