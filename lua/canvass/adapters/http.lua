-- Any API that takes a JSON body and answers in JSON, described in the region table:
--
--   adapter = "http",
--   options = {
--       body   = { inputs = "{{prompt}}", parameters = { temperature = "{{parameters.temperature}}" } },
--       answer = "data[0].generated_text",
--   }
--
-- body: a table, or the JSON text itself. A value that is exactly one placeholder becomes what it names, with its type,
-- and is left out when the job does not set it; inside a longer text it becomes text. In a JSON text, placeholders
-- outside of quotes become JSON values. Placeholders: prompt model region endpoint sample, parameters.NAME,
-- question.NAME.
--
-- answer and the other paths: names with dots, [0] for the first of a list, ["a.b"] for odd names.

local json = require "json"
local adapter = require "canvass.adapter"

local http = {}

-- ---- paths ----

local function parse_path(source)
    local steps, at = {}, 1
    while at <= #source do
        local name, after = source:match("^([%w_$@-]+)()", at)
        if not name then name, after = source:match('^%["([^"]+)"%]()', at) end
        if name then
            steps[#steps + 1] = name
        else
            local index
            index, after = source:match("^%[(%d+)%]()", at)
            if not index or #index > 6 then return nil end
            steps[#steps + 1] = tonumber(index) + 1
        end
        at = after
        local following = source:sub(at, at)
        if following == "." then
            at = at + 1
            if at > #source then return nil end
        elseif following ~= "" and following ~= "[" then
            return nil
        end
    end
    return #steps > 0 and steps or nil
end

local function walk(value, steps)
    for _, step in ipairs(steps) do
        if type(value) ~= "table" then return nil end
        value = value[step]
    end
    if value == json.null then return nil end
    return value
end

local function is_path(needed)
    return function(value)
        if value == nil and not needed then return true end
        if type(value) == "string" and parse_path(value) then return true end
        return false, 'write a path into the answer: "choices[0].message.content"'
    end
end

-- ---- templates ----

local roots = {
    prompt = true, model = true, region = true, endpoint = true, sample = true, parameters = true, question = true,
}

local function lookup(name, ask)
    if name == "model" then return ask.options.send_model or ask.model end
    local value
    for part in name:gmatch("[^.]+") do
        if value ~= nil and type(value) ~= "table" then return nil end
        value = (value or ask)[part]
        if value == nil or value == json.null then return nil end
    end
    return value
end

local function as_text(name, ask)
    local value = lookup(name, ask)
    if value == nil then
        error("{{" .. name .. "}} has no value for this question: set it in the job, or make it the whole value", 0)
    end
    return type(value) == "string" and value or json.encode(value)
end

-- Cuts a text at its placeholders: "a {{b}} c" -> { "a ", { name = "b" }, " c" }. On a fault nil and what is wrong.
local function cut(source)
    local pieces, at = {}, 1
    while true do
        local from, to, name = source:find("{{%s*([%w_.-]*)%s*}}", at)
        local literal = source:sub(at, from and from - 1 or -1)
        if literal:find("{{", 1, true) then return nil, "a placeholder is written {{prompt}}" end
        if literal ~= "" then pieces[#pieces + 1] = literal end
        if not from then return pieces end
        if not roots[name:match("^[^.]*")] then
            return nil, "there is no {{" .. name .. "}}; there are prompt, model, region, endpoint, sample, " ..
                "parameters.NAME and question.NAME"
        end
        pieces[#pieces + 1] = { name = name }
        at = to + 1
    end
end

-- A template becomes a function of ask.
local function compile_text(source)
    local pieces, fault = cut(source)
    if not pieces then return nil, fault end
    if #pieces == 1 and type(pieces[1]) == "table" then
        local name = pieces[1].name
        return function(ask) return lookup(name, ask) end
    end
    return function(ask)
        local out = {}
        for i, piece in ipairs(pieces) do out[i] = type(piece) == "string" and piece or as_text(piece.name, ask) end
        return table.concat(out)
    end
end

local compile

local function compile_table(template)
    local parts = {}
    for key, value in pairs(template) do
        local part, fault = compile(value)
        if not part then return nil, fault end
        parts[key] = part
    end
    if next(parts) == nil then return function() return template end end
    local is_list = parts[1] ~= nil
    return function(ask)
        local out = {}
        for key, part in pairs(parts) do
            local value = part(ask)
            if value == nil and is_list then value = json.null end
            out[key] = value
        end
        return out
    end
end

function compile(template)
    if type(template) == "string" then return compile_text(template) end
    if type(template) == "table" then return compile_table(template) end
    return function() return template end
end

-- Is the end of this piece of JSON inside a string, if its beginning was or was not?
local function ends_quoted(piece, quoted)
    local escaped = false
    for c in piece:gmatch('[\\"]?[^\\"]*') do
        local first = c:sub(1, 1)
        if escaped then
            escaped = false
        elseif first == "\\" then
            escaped = #c == 1
        elseif first == '"' then
            quoted = not quoted
        end
    end
    return quoted
end

local function compile_json_text(source)
    local pieces, fault = cut(source)
    if not pieces then return nil, fault end
    local quoted = false
    for i, piece in ipairs(pieces) do
        if type(piece) == "string" then quoted = ends_quoted(piece, quoted) else pieces[i].quoted = quoted end
    end
    if quoted then return nil, "a quoted text does not end" end
    return function(ask)
        local out = {}
        for i, piece in ipairs(pieces) do
            if type(piece) == "string" then
                out[i] = piece
            elseif piece.quoted then
                out[i] = json.encode(as_text(piece.name, ask)):sub(2, -2)
            else
                local value = lookup(piece.name, ask)
                out[i] = value == nil and "null" or json.encode(value)
            end
        end
        return table.concat(out)
    end
end

-- A JSON text must be JSON whatever the placeholders become.
local function compile_body(body)
    if type(body) == "table" then return compile(body) end
    if type(body) ~= "string" then return nil, "write a table, or a JSON text" end
    local render, fault = compile_json_text(body)
    if not render then return nil, fault end
    local any = setmetatable({}, { __index = function() return "x" end })
    local sample = { prompt = "x", model = "x", region = "x", endpoint = "x", sample = 1, options = {},
                     question = any, parameters = any }
    if not pcall(json.decode, render(sample)) then
        return nil, "the text is not JSON once its placeholders are filled in"
    end
    return render
end

-- ---- the adapter ----

http.options = {
    body = function(value)
        if value == nil then return false, 'give the request: body = { prompt = "{{prompt}}" }' end
        local render, fault = compile_body(value)
        return render ~= nil, fault
    end,
    answer = is_path(true),
    error = is_path(false),
    model = is_path(false),
    region = is_path(false),
    prompt_tokens = is_path(false),
    completion_tokens = is_path(false),
    poll = is_path(false),
    send_model = "string",  -- what {{model}} becomes, if not the table's id
}

-- By options, which live as long as their endpoint.
local compiled = setmetatable({}, { __mode = "k" })

local function plan_of(options)
    local plan = compiled[options]
    if plan then return plan end
    plan = { render = compile_body(options.body) }
    for _, name in ipairs { "answer", "error", "model", "region", "prompt_tokens", "completion_tokens", "poll" } do
        plan[name] = options[name] and parse_path(options[name])
    end
    compiled[options] = plan
    return plan
end

function http.request(ask)
    local ok, body = pcall(plan_of(ask.options).render, ask)
    if not ok then return nil, body end
    return body
end

local function read(body, steps)
    return steps and walk(body, steps)
end

function http.answer(response, ask)
    local body, plan = response.json, plan_of(ask.options)
    if type(body) ~= "table" then return nil end
    local problem = read(body, plan.error)
    if problem and problem ~= "" then
        local words = adapter.error_text(problem) or json.encode(problem)
        if response.status >= 300 then return { error = words } end
        return adapter.bad(words)
    end
    if response.status >= 300 then return nil end

    local value = walk(body, plan.answer)
    local poll = read(body, plan.poll)
    if value == nil and type(poll) == "string" then return { poll = poll } end
    if value == nil then
        if response.status == 202 then return nil end
        return adapter.bad("there is nothing at " .. ask.options.answer .. " in the answer")
    elseif type(value) == "table" then
        return adapter.bad("at " .. ask.options.answer .. " stands a table and not a text: make the path longer")
    end
    return {
        text = type(value) == "string" and value or json.encode(value),
        model = adapter.text(read(body, plan.model)),
        region = adapter.text(read(body, plan.region)),
        prompt_tokens = adapter.count(read(body, plan.prompt_tokens)),
        completion_tokens = adapter.count(read(body, plan.completion_tokens)),
    }
end

return http
