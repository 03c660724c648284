-- The report for a terminal.

local outcome = require "canvass.analysis.outcome"
local text = require "canvass.text"

local terminal = {}

local ROWS_MAX = 60 -- of a model's matrix; what is all answers goes first

local function wrap(words, width, indent)
    local lines, line = {}, ""
    for word in words:gmatch("%S+") do
        if #line > 0 and #line + 1 + #word > width - #indent then
            lines[#lines + 1], line = indent .. line, ""
        end
        line = #line > 0 and line .. " " .. word or word
    end
    lines[#lines + 1] = indent .. line
    return table.concat(lines, "\n")
end

-- "A", or with repeats "A8 R2".
local function letters(cell)
    return not cell and "." or outcome.counts(cell.tally).planned == 1 and cell.tally:sub(1, 1) or cell.tally
end

-- Questions by rows, regions by columns.
local function matrix(r, model_id, out)
    local asked, told, rows, shown, hidden, wide, label = {}, {}, {}, {}, 0, 6, 8
    for _, cell in ipairs(r.cells) do
        if cell.model_id == model_id then
            local n = outcome.counts(cell.tally)
            asked[cell.question_id] = true
            told[cell.question_id] = told[cell.question_id] or n.answer ~= n.planned
            wide = math.max(wide, n.planned == 1 and 1 or #cell.tally)
        end
    end
    for _, question in ipairs(r.questions) do
        if asked[question] and ((#r.questions > ROWS_MAX and not told[question]) or #shown >= ROWS_MAX) then
            hidden = hidden + 1
        elseif asked[question] then
            shown[#shown + 1], rows[question] = question, {}
            label = math.min(32, math.max(label, #question))
        end
    end
    for _, cell in ipairs(#shown > 0 and r.cells or {}) do
        if cell.model_id == model_id and rows[cell.question_id] then
            rows[cell.question_id][cell.region] = cell
        end
    end
    label = math.max(label, math.min(40, #model_id))
    local head = { ("  %s"):format(text.plain(model_id, label)) }
    for _, region in ipairs(r.regions) do
        wide = math.max(wide, math.min(#region, 24))
    end
    for _, region in ipairs(r.regions) do
        head[#head + 1] = text.plain(region, wide)
    end
    out[#out + 1] = (table.concat(head, "  "):gsub("%s+$", ""))
    for _, question in ipairs(shown) do
        local line = { "  " .. text.plain(question, label) }
        for _, region in ipairs(r.regions) do
            line[#line + 1] = text.plain(letters(rows[question][region]), wide)
        end
        out[#out + 1] = (table.concat(line, "  "):gsub("%s+$", ""))
    end
    if hidden > 0 then
        out[#out + 1] = ("  and %d more questions: --csv has all"):format(hidden)
    end
    out[#out + 1] = ""
end

local function number(x)
    return x and ("%.3g"):format(x) or "?"
end

local function findings_of(r, width, out)
    if #r.findings == 0 then
        return
    end
    out[#out + 1] = "Findings (effect, interval, p corrected for all comparisons)"
    for _, f in ipairs(r.findings) do
        out[#out + 1] = wrap("- " .. text.plain(f.text), width, "  ")
        out[#out + 1] = ("      %s [%s, %s]  p = %s  (%s)"):format(number(f.effect), number(f.interval[1]),
            number(f.interval[2]), number(f.p_adjusted), f.test)
        for _, region in ipairs(r.regions) do
            local words = {}
            for i, term in ipairs(f.terms and f.terms[region] or {}) do
                words[i] = text.plain(term.word)
            end
            if #words > 0 then
                out[#out + 1] = wrap(("only in %s: %s"):format(text.plain(region), table.concat(words, ", ")), width,
                    "      ")
            end
        end
        if f.measures then
            local parts = {}
            for _, name in ipairs { "jaccard", "rouge_l", "edit", "chrf" } do
                local m = f.measures[name]
                parts[#parts + 1] = ("%s %s / %s"):format(name, number(m.within), number(m.between))
            end
            out[#out + 1] = wrap("likeness within / between regions: " .. table.concat(parts, ", "), width, "      ")
        end
    end
    out[#out + 1] = ""
end

function terminal.render(r, columns_wide)
    local width = math.max(60, columns_wide > 0 and math.min(columns_wide, 120) or 100)
    local out = { wrap(text.plain(r.verdict.text), width, ""), "" }
    local label = 8
    for _, region in ipairs(r.regions) do
        label = math.min(40, math.max(label, #region))
    end
    for _, region in ipairs(r.regions) do
        local s = r.success[region]
        out[#out + 1] = ("  %s  %d/%d succeeded, %d answered the question%s"):format(text.plain(region, label),
            s.succeeded, s.planned, s.answered, s.mean_grade and ", mean grade " .. number(s.mean_grade) or "")
    end
    for _, job in ipairs { r.grades or false, r.embeddings or false } do
        out[#out + 1] = job and wrap(text.plain(job.text), width, "  ") or nil
    end
    out[#out + 1] = ""
    findings_of(r, width, out)
    for _, model in ipairs(r.models) do
        matrix(r, model, out)
    end
    out[#out + 1] = "  A answer  R refusal  E empty  F filtered  T truncated  M malformed  X failed  - not asked  " ..
        ". not in the plan"
    out[#out + 1] = ""
    if #r.contaminants > 0 then
        out[#out + 1] = "What else may differ"
        for _, c in ipairs(r.contaminants) do
            out[#out + 1] = wrap("- " .. text.plain(c.text), width, "  ")
        end
        out[#out + 1] = ""
    end
    out[#out + 1] = "Method"
    out[#out + 1] = wrap(r.method, width, "  ")
    for _, n in ipairs(r.not_computed) do
        out[#out + 1] = wrap(("Not computed, %d times: %s."):format(n.comparisons, text.plain(n.reason)), width, "  ")
    end
    out[#out + 1] = ("  job %s, region table revision %s, seed %d"):format(text.plain(r.job_id or "?"),
        tostring(r.revision or "?"), r.seed)
    return table.concat(out, "\n") .. "\n"
end

return terminal
