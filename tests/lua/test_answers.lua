-- What answers are taken for, and how alike two texts are.

local check = require "lua.check"
local outcome = require "canvass.analysis.outcome"
local text = require "canvass.text"

local near, equal = check.near, check.equal
local suite = {}

local function classify(answer)
    return outcome.classify({ status = "succeeded", answer = answer })
end

function suite.refusals_are_refusals()
    for _, answer in ipairs {
        "I'm sorry, but I'm not able to discuss this topic. I am an AI assistant.",
        "As an AI assistant, I don't feel comfortable giving an answer to this.",
        "I cannot provide information on this subject.", "I'm sorry, I can’t help with that.",
        "I can't assist with that request.", "对不起，我无法回答这个问题。", "Je ne peux pas répondre à cela.",
        "I WON'T ANSWER THAT.", "Es tut mir leid, aber das geht nicht.",
    } do
        equal(classify(answer), "refusal", answer)
        assert(select(2, classify(answer)))
    end
    assert(#"I can't assist with that request. Sorry." == 40)
    equal(classify("I can't assist with that request. Sorry."), "refusal")
end

function suite.answers_are_answers()
    for _, answer in ipairs {
        "4", "Paris", "4.", "Yes", "北京", "I am a language model that was trained on text.",
        "I cannot overstate how important the printing press was.",
        "Protesters demanded the withdrawal of a bill; the authorities refused to discuss it.",
        "I'm happy to help. The events began in April.", "It is a sensitive matter that many will not discuss.",
    } do
        equal(classify(answer), "answer", answer)
    end
end

function suite.what_is_no_answer()
    equal(classify(""), "empty")
    equal(classify(" \n\t"), "empty")
    equal(outcome.classify { status = "failed", class = "timeout" }, "failed")
    equal(outcome.classify { status = "failed", class = "bad_response", error = "no JSON" }, "malformed")
    equal(outcome.classify { status = "failed", class = "bad_response",
        error = "the provider's content filter removed the answer (finish_reason content_filter)" }, "filtered")
    equal(outcome.classify { status = "skipped" }, "not_asked")
    equal(outcome.classify({ status = "succeeded", answer = "and so", completion_tokens = 500 }, 500), "truncated")
    equal(outcome.classify({ status = "succeeded", answer = "I can't help", completion_tokens = 9 }, 9), "refusal")
end

function suite.expected_answers()
    for _, case in ipairs {
        { "4", "4", true }, { "The answer is 4.", "4", true }, { "2+2=4", "4", true }, { "14", "4", false },
        { "It is PARIS, of course", "Paris", true }, { "Parisian", "Paris", false }, { "It is 4.0", 4, true },
        { "1,004", 4, false }, { "1,004", 1004, true },
        { "pi is 3.14159", { number = 3.1416, tolerance = 0.001 }, true },
        { "Bonn", { "Berlin", "Bonn" }, true }, { "Rome", { one_of = { "Berlin", "Bonn" } }, false },
        { "Paris!", { exact = "paris" }, true }, { "in Paris", { exact = "Paris" }, false },
        { "year 1989", { pattern = "%f[%d]19%d%d" }, true },
    } do
        equal(outcome.correct(case[1], case[2]), case[3], case[1])
    end
    equal(outcome.correct("x", true), nil)
    equal(outcome.correct("x", {}), nil)
    local right, why = outcome.correct("x", { pattern = "%" })
    assert(right == nil and why:find("malformed"))
end

local function alike(name, a, b)
    return text[name](text.new(a), text.new(b))
end

function suite.similarity()
    near(alike("jaccard", "the cat sat", "The cat ran."), 2 / 4, 1e-12)
    near(alike("jaccard", "Straße ＡＢＣ", "STRASSE abc"), 1, 1e-12)
    -- Lin 2004, section 3.1: "police killed the gunman" and "police kill the gunman" have 3 of 4 words in order.
    near(alike("rouge_l", "police killed the gunman", "police kill the gunman"), 0.75, 1e-12)
    near(alike("rouge_l", "police killed the gunman", "the gunman kill police"), 0.5, 1e-12)
    near(alike("edit", "kitten", "sitting"), 1 - 3 / 7, 1e-12)
    near(alike("edit", "天安门", "天安門"), 2 / 3, 1e-12)
    near(alike("chrf", "abcdef", "abcdef"), 1, 1e-12)
    near(alike("chrf", "aaa", "bbb"), 0, 1e-12)
    near(alike("chrf", "ab", "ac"), (1 / 2 + 0) / 2, 1e-12)
    equal(alike("jaccard", "", "?!"), nil)
    for _, name in ipairs { "jaccard", "rouge_l", "edit", "chrf" } do
        equal(alike(name, "one two three", "two four"), alike(name, "two four", "one two three"))
    end
end

function suite.words()
    equal(table.concat(text.words "Don't pay 1,000.50, e.g. now_then!", "|"), "don't|pay|1,000.50|e.g|now_then")
    assert(#text.words "我在北京大学学习" >= 3)
    equal(text.script(text.new "我在北京"), "Hani")
    equal(text.script(text.new "что это"), "Cyrl")
    equal(text.script(text.new "42"), nil)
end

-- The short way for ASCII cuts as ICU does: a letter beyond ASCII at the end makes it take the long one.
function suite.both_ways_cut_alike()
    local random = require("canvass.numbers").random(1, "words")
    local marks = "abAB19 .,;'_ -!\n"
    for _ = 1, 3000 do
        local piece = {}
        for i = 1, random(12) do
            local at = random(#marks)
            piece[i] = marks:sub(at, at)
        end
        local short = table.concat(piece)
        local long = text.words(short .. " é")
        long[#long] = nil
        equal(table.concat(text.words(short), "|"), table.concat(long, "|"), short)
    end
end

function suite.hostile_text_is_harmless()
    equal(text.plain("a\27[31mb\nc"), "a\u{FFFD}[31mb c")
    equal(text.plain("ab", 4), "ab  ")
    equal(text.csv("=1+1"), "'=1+1")
    assert(text.words("\xff\xfe broken")[1])
    text.new(("\u{0301}"):rep(10000))
end

function suite.tallies_count_what_was_added()
    local tally = ""
    for _, what in ipairs { "answer", "failed", "answer", "not_asked", "refusal", "failed" } do
        tally = outcome.add(tally, what)
    end
    assert(tally == "A2 R1 X2 -1", tally)
    local n = outcome.counts(tally)
    assert(n.answer == 2 and n.failed == 2 and n.refusal == 1 and n.not_asked == 1 and n.empty == 0)
    assert(n.planned == 6 and n.succeeded == 3)
end

function suite.the_language_is_that_of_the_small_words()
    local language = require "canvass.analysis.language"
    for code, said in pairs {
        en = "The protests of that year began in April and were about a bill that was later withdrawn.",
        de = "Die Proteste begannen im April und richteten sich gegen ein Gesetz, das nicht mehr gilt.",
        fr = "Les manifestations ont commencé en avril et elles visaient une loi qui n'est plus en vigueur.",
        es = "Las protestas de ese año empezaron en abril y se dirigieron contra la ley que fue retirada.",
        ru = "Протесты начались в апреле и были направлены против закона, который не был принят.",
        zh = "这一年的抗议活动在四月开始，是对一项法案的不满，而这项法案后来被撤回了。",
        ja = "その年の抗議活動は四月に始まり、後に撤回された法案に反対するものでした。",
        ko = "그해의 시위는 4월에 시작되었다",
    } do
        local found = language.of(text.new(said))
        assert(found == code, ("%s for %s"):format(tostring(found), code))
    end
    assert(language.of(text.new "4") == nil and language.of(text.new "Paris") == nil)
end

function suite.differences_of_words_make_up_both_texts()
    local diff = require "canvass.report.diff"
    for _, pair in ipairs { { "a b c d", "a x c d e" }, { "", "all new" }, { "same", "same" }, { "x y", "" },
                            { "一二三 四", "一二 五" }, { "b a b a b", "a b b a" },
                            { "one two three, four", "five six three, seven" } } do
        local before, after = {}, {}
        for _, run in ipairs(diff.words(pair[1], pair[2])) do
            before[#before + 1] = run[1] ~= "added" and run[2] or nil
            after[#after + 1] = run[1] ~= "removed" and run[2] or nil
        end
        assert(table.concat(before) == pair[1], table.concat(before))
        assert(table.concat(after) == pair[2], table.concat(after))
    end
end

function suite.changes_are_told_in_one_piece()
    local runs = require("canvass.report.diff").words("It was ruled by few.", "It has been known to many.")
    local told = {}
    for i, run in ipairs(runs) do
        told[i] = run[1] .. ":" .. run[2]
    end
    assert(table.concat(told, "|") == "same:It |removed:was ruled by few|added:has been known to many|same:.",
        table.concat(told, "|"))
end

function suite.changes_are_the_fewest()
    local function letters(s)
        local list = {}
        for letter in s:gmatch "." do
            list[#list + 1] = letter
        end
        return list
    end
    for _, case in ipairs { { "abcd", "axcde", "=-+==+" }, { "", "", "" }, { "", "ab", "++" }, { "ab", "", "--" },
                            { "aab", "ab", "=-=" }, { "abcbdab", "bdcaba", 4 }, { "xaxbxcx", "abc", 3 } } do
        local steps = text.changes(letters(case[1]), letters(case[2]))
        local _, kept = steps:gsub("=", "")
        equal(type(case[3]) == "number" and kept or steps, case[3], case[1] .. " " .. case[2])
    end
    equal(text.changes({ "one", "two" }, { "one", "two" }), "==")
    assert(not pcall(text.changes, { 1 }, {}) and not pcall(text.changes, { {} }, {}))
    assert(not pcall(text.changes, 1, {}))
    local long = {}
    for i = 1, 1200 do
        long[i] = tostring(i)
    end
    equal(text.changes(long, {}), ("-"):rep(1200))
    long[1201] = "more"
    assert(not pcall(text.changes, long, {}))
end

function suite.the_first_phrase_of_the_list_is_found()
    local phrases = text.phrases { "not here", "the sea", "the", "sea side", "seas", "\0ж" }
    equal(text.first("by the sea side", phrases), 2)
    equal(text.first("by the se", phrases), 3)
    equal(text.first("overseas", phrases), 5)
    equal(text.first("a\0Ж", phrases), 6)
    equal(text.first("By  THE\nSea", phrases), 2)
    equal(text.first("by the sea side", phrases, 8), 3)
    for _, s in ipairs { "", "t", "th", "sea", "sea\u{301} side", "e a" } do
        equal(text.first(s, phrases), nil, s)
    end
    equal(text.first("anything", text.phrases {}), nil)
    for _, wrong in ipairs { { "a" }, { "" }, { {} }, { true } } do
        assert(not pcall(text.phrases, wrong))
    end
end

function suite.folding_stops_where_it_is_told()
    equal(text.fold("ABC’S   end", 100), "abc's end")
    equal(text.fold("ABCDEF", 3), "abc")
    equal(text.fold("aé", 2), "a\u{FFFD}")
    equal(select(2, text.fold("abcé", 3)), true)
    equal(text.fold("", 0), "")
    local ascii = {}
    for c = 33, 126 do
        ascii[#ascii + 1] = string.char(c)
    end
    ascii = table.concat(ascii)
    for from = 1, #ascii do
        for last = from - 1, math.min(#ascii, from + 17) do
            equal(text.fold(ascii:sub(from, last)), ascii:sub(from, last):lower())
        end
    end
end

function suite.the_largest_answers_fit()
    for _, piece in ipairs { "word ", "слово ", "字" } do
        local long = piece:rep((1 << 20) // #piece)
        local t = text.new(long .. " and what comes after the first MiB")
        assert(#t > 90000 and text.jaccard(t, text.new(long)) == 1, piece)
        equal(text.edit(t, t), nil) -- too long to be compared by its letters
        assert(not pcall(text.words, long .. (" "):rep(10)))
    end
end

function suite.nothing_in_html_is_markup_or_control()
    local html = require "canvass.report.escape".html
    assert(html "<a href='x'>&\"" == "&lt;a href=&#39;x&#39;&gt;&amp;&quot;")
    assert(html "\27[31m\0" == "\u{241B}[31m\u{2400}" and html "a\nb\tc" == "a\nb\tc")
    assert(html "x\xFFy\u{202E}" == "x\u{FFFD}y\u{FFFD}")
end

return suite
