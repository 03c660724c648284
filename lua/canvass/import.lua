-- Questions from the files of other tools, for job scripts:
--
--   local import = require "canvass.import"
--   questions = import.inspect(canvass.json "log.json")            a log of Inspect AI
--   questions = import.lm_eval(canvass.jsonl "samples_x.jsonl")    of lm-evaluation-harness, with --log_samples
--   questions = import.promptfoo(canvass.json "results.json")      results, or a configuration with prompts and tests
--
-- A question that is there more often (epochs, providers) is taken once. What cannot be asked as one prompt is an
-- error.

local json = require "json"

local import = {}

-- null is a value in JSON, and none here.
local function some(value)
    if value == json.null then
        return nil
    end
    return value
end

local function fail(what, place, format, ...)
    error(("%s, %s: %s"):format(what, place, format:format(...)), 0)
end

-- Collects questions by id.
local function collector(what)
    local list, known = {}, {}
    return list, function(place, question)
        if type(question.prompt) ~= "string" or question.prompt == "" then
            fail(what, place, "there is no prompt that is a text: leave this one out of the file")
        end
        local before = known[question.id]
        if before and before.prompt ~= question.prompt then
            fail(what, place, "the id %s is there with another prompt: give each an id of its own", question.id)
        elseif not before then
            known[question.id], list[#list + 1] = question, question
        end
    end
end

local function wanted(target)
    target = some(target)
    if type(target) == "table" then
        return #target > 1 and target or target[1]
    end
    return target ~= "" and target or nil
end

local function content(message, what, place)
    if type(message.content) == "string" then
        return message.content
    end
    local parts = {}
    for _, part in ipairs(type(message.content) == "table" and message.content or {}) do
        if part.type ~= "text" then
            fail(what, place, "its input holds something of type %s: only text can be asked", tostring(part.type))
        end
        parts[#parts + 1] = part.text
    end
    return table.concat(parts, "\n")
end

function import.inspect(log)
    local what = "the Inspect log"
    if type(log) ~= "table" or type(log.samples) ~= "table" then
        error(what .. " has no samples: write it with --log-format json and with samples (--log-samples)", 0)
    end
    local list, add = collector(what)
    for i, sample in ipairs(log.samples) do
        local place, input = ("sample %d (%s)"):format(i, tostring(sample.id)), sample.input
        if type(input) == "table" then
            if #input ~= 1 or input[1].role ~= "user" then
                fail(what, place, "its input is a conversation of %d messages: canvass asks one prompt", #input)
            end
            input = content(input[1], what, place)
        end
        local metadata = type(sample.metadata) == "table" and sample.metadata or {}
        local expected = metadata.execution_id and some(metadata.expected) or wanted(sample.target)
        add(place, { id = tostring(sample.id), prompt = input, expected = expected })
    end
    return list
end

-- The prompt among the arguments: { gen_args_0 = { arg_0 = "..." } }, or in older files { { "...", { ... } } }.
local function prompt_of(arguments)
    local first = type(arguments) == "table" and (arguments.gen_args_0 or arguments[1])
    return type(first) == "table" and (first.arg_0 or first[1]) or nil
end

function import.lm_eval(samples)
    local what = "the lm-eval samples"
    local list, add = collector(what)
    for i, line in ipairs(samples) do
        local doc = type(line.doc) == "table" and line.doc or {}
        local id = type(doc.id) == "string" and doc.id or line.doc_id and ("doc-%d"):format(line.doc_id)
        if not id then
            fail(what, "line " .. i, "it has no doc_id: this is no file of samples")
        end
        local expected = some(doc.expected)
        if expected == nil then
            expected = wanted(line.target)
        end
        add("line " .. i, { id = id, prompt = prompt_of(line.arguments), expected = expected })
    end
    return list
end

local function expected_of(assertions)
    for _, a in ipairs(type(assertions) == "table" and assertions or {}) do
        if a.type == "equals" then
            return { exact = a.value }
        elseif a.type == "contains" or a.type == "icontains" or a.type == "contains-any" or
            a.type == "icontains-any" then
            return a.value
        end
    end
    return nil
end

local function fill(prompt, vars, what, place)
    return (prompt:gsub("{{%s*([%w_.-]+)%s*}}", function(name)
        local value = vars[name]
        if value == nil or type(value) == "table" then
            fail(what, place, "{{%s}} is no text among its vars: canvass fills in texts and numbers only", name)
        end
        return tostring(value)
    end))
end

local function from_tests(config, what, add)
    for i, test in ipairs(config.tests) do
        for k, prompt in ipairs(config.prompts) do
            local place = ("test %d"):format(i)
            local text = type(prompt) == "table" and (prompt.raw or prompt.content) or prompt
            if type(text) ~= "string" or text:find("^file://") then
                fail(what, place, "prompt %d is in a file of its own: write its text in its place", k)
            end
            local name = some(test.description) or ("test-%d"):format(i)
            add(place, { id = #config.prompts > 1 and ("%s.%d"):format(name, k) or name,
                         prompt = fill(text, test.vars or {}, what, place), expected = expected_of(test.assert) })
        end
    end
end

function import.promptfoo(file)
    local what = "the promptfoo file"
    local list, add = collector(what)
    local results = type(file) == "table" and type(file.results) == "table" and file.results.results or nil
    if results then
        for i, one in ipairs(results) do
            local test = type(one.testCase) == "table" and one.testCase or {}
            local metadata = type(test.metadata) == "table" and test.metadata or {}
            local id = some(metadata.id) or some(test.description) or ("test-%d"):format(one.testIdx or i)
            local expected = some(metadata.expected)
            if expected == nil then
                expected = expected_of(test.assert)
            end
            add("result " .. i, { id = id, prompt = type(one.prompt) == "table" and one.prompt.raw,
                expected = expected })
        end
    elseif type(file) == "table" and type(file.tests) == "table" and type(file.prompts) == "table" then
        from_tests(file, what, add)
    else
        error(what .. " has neither results nor prompts and tests: export it with promptfoo eval --output " ..
            "results.json", 0)
    end
    return list
end

return import
