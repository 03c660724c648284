-- The report as one page of HTML that needs nothing else: no network, no script. It opens as a file, and prints.

local diff = require "canvass.report.diff"
local escape = require "canvass.report.escape"
local outcome = require "canvass.analysis.outcome"
local plots = require "canvass.report.plots"
local style = require "canvass.report.style"

local page = {}

local html = escape.html
local ROWS_MAX = 300        -- of a model's matrix; what is all answers goes first
local QUESTIONS_MAX = 60    -- whose answers are set side by side
local ANSWER_BYTES = 6000   -- of one answer
local FILE_BYTES = 200000   -- of a script or table, to reproduce the job
local WORKS_MAX = 40000000  -- steps of word by word comparison, of a page

local function put(out, format, ...)
    out[#out + 1] = select("#", ...) > 0 and format:format(...) or format
end

local function number(x)
    return x and ("%.3g"):format(x) or "not known"
end

-- Are all of a cell answers?
local function plain(cell)
    local n = outcome.counts(cell.tally)
    return n.answer == n.planned
end

-- ---- which answers are shown ----

-- Ids of questions: those of findings, then those where not every answer is one, then by the plan.
function page.wanted(r)
    local list, seen = {}, {}
    local function want(id)
        if id and not seen[id] and #list < QUESTIONS_MAX then
            seen[id] = true
            list[#list + 1] = id
        end
    end
    for _, f in ipairs(r.findings) do
        want(f.question_id)
    end
    for _, cell in ipairs(r.cells) do
        if not plain(cell) then
            want(cell.question_id)
        end
    end
    for _, id in ipairs(r.questions) do
        want(id)
    end
    return list
end

-- ---- the parts of the page ----

local function of_regions(r, out)
    put(out, '<h2 id="success">What came back</h2><table><tr><th>%s<th>answered<th><th>succeeded%s</tr>', r.by,
        r.grades and "<th>mean grade" or "")
    for _, region in ipairs(r.regions) do
        local s = r.success[region]
        put(out, '<tr><th>%s<td><span class="bar"><i style="width:%.1f%%"></i></span><td class="n">%d/%d' ..
            '<td class="n">%d/%d%s</tr>', html(region), s.planned > 0 and 100 * s.answered / s.planned or 0, s.answered,
            s.planned, s.succeeded, s.planned, r.grades and '<td class="n">' .. number(s.mean_grade) or "")
    end
    put(out, '</table><p class="soft">Answered: neither refused, empty nor filtered. Succeeded: there is a reply.</p>')
    for _, job in ipairs { r.grades or false, r.embeddings or false } do
        if job then
            put(out, "<p class=soft>%s</p>", html(job.text))
        end
    end
end

local function findings(r, out)
    if #r.findings == 0 then
        return
    end
    put(out, '<h2 id="findings">Findings</h2><ul>')
    for _, f in ipairs(r.findings) do
        put(out, "<li><b>%s</b><br><span class=soft>effect %s, interval %s to %s, p = %s after correction (%s)</span>",
            html(f.text), number(f.effect), number(f.interval[1]), number(f.interval[2]), number(f.p_adjusted),
            html(f.test))
        for _, region in ipairs(r.regions) do
            local words = {}
            for i, term in ipairs(f.terms and f.terms[region] or {}) do
                words[i] = "<bdi>" .. html(term.word) .. "</bdi>"
            end
            if #words > 0 then
                put(out, "<br><span class=soft>only in %s: %s</span>", html(region), table.concat(words, ", "))
            end
        end
    end
    put(out, "</ul>")
end

-- The worst first: it gives the colour.
local order = { "refusal", "failed", "malformed", "filtered", "empty", "truncated", "answer", "not_asked" }

local function cell_of(cell)
    if not cell then
        return '<td class="N">.'
    end
    local n, class = outcome.counts(cell.tally), "N"
    for i = #order - 1, 1, -1 do
        class = n[order[i]] > 0 and outcome.letters[order[i]] or class
    end
    return ('<td class="%s"%s>%s'):format(class, cell.phrase and (' title="%s"'):format(html(cell.phrase)) or "",
        n.planned == 1 and cell.tally:sub(1, 1) or cell.tally)
end

-- By model and question: the cells of a row by region; false for one that is hidden.
local function rows_of(r)
    local rows, few = {}, #r.questions <= ROWS_MAX
    for _, model in ipairs(r.models) do
        rows[model] = {}
    end
    for _, cell in ipairs(r.cells) do
        local of_model = rows[cell.model_id]
        of_model[cell.question_id] = of_model[cell.question_id] or (few or not plain(cell)) and {}
    end
    for _, cell in ipairs(r.cells) do
        local row = rows[cell.model_id][cell.question_id]
        if row then
            row[cell.region] = cell
        end
    end
    return rows
end

local function matrices(r, out)
    put(out, '<h2 id="matrix">Question by %s</h2>', r.by)
    put(out, "<p class=soft>A answer, R refusal, E empty, F filtered, T truncated, M malformed, X failed, - not " ..
        "asked, . not in the plan; with repeats, how many of each.</p><div class=many>")
    local rows = rows_of(r)
    for _, model in ipairs(r.models) do
        put(out, '<div><h3>%s</h3><div class="scroll"><table class="m"><tr><th>', html(model))
        for _, region in ipairs(r.regions) do
            put(out, "<th>%s", html(region))
        end
        put(out, "</tr>")
        local shown, hidden = 0, 0
        for _, id in ipairs(r.questions) do
            local row = rows[model][id]
            if row == false or row and shown >= ROWS_MAX then
                hidden = hidden + 1
            elseif row then
                shown = shown + 1
                put(out, "<tr><th>%s", html(id))
                for _, region in ipairs(r.regions) do
                    put(out, cell_of(row[region]))
                end
                put(out, "</tr>")
            end
        end
        put(out, "</table></div>")
        if hidden > 0 then
            put(out, "<p class=soft>And %d more questions%s: canvass report --csv has all.</p>", hidden,
                #r.questions > ROWS_MAX and ", most of them all answers" or "")
        end
        put(out, "</div>")
    end
    put(out, "</div>")
end

-- One table for each model: how alike the answers of two regions are.
local function heat(r, list, words, out)
    local of = {}
    for _, pair in ipairs(list) do
        local model = of[pair.model_id] or {}
        of[pair.model_id] = model
        model[pair.regions[1] .. "\0" .. pair.regions[2]] = pair
        model[pair.regions[2] .. "\0" .. pair.regions[1]] = pair
    end
    put(out, '<p class=soft>%s, mean over pairs of ' ..
        "answers to the same question; on the diagonal, answers of the same %s to the same question: the noise of " ..
        "asking twice.</p><div class=many>", words, r.by)
    for _, model in ipairs(r.models) do
        if of[model] then
            put(out, '<div><h3>%s</h3><div class="scroll"><table class="m"><tr><th>', html(model))
            for _, region in ipairs(r.regions) do
                put(out, "<th>%s", html(region))
            end
            put(out, "</tr>")
            for _, a in ipairs(r.regions) do
                put(out, "<tr><th>%s", html(a))
                for _, b in ipairs(r.regions) do
                    local pair = of[model][a .. "\0" .. b]
                    put(out, pair and '<td class="h" style="--v:%.3f" title="%d pairs">%.2f' or '<td class="N">?',
                        pair and math.max(0, pair.similarity), pair and pair.pairs, pair and pair.similarity)
                end
                put(out, "</tr>")
            end
            put(out, "</table></div></div>")
        end
    end
    put(out, "</div>")
end

local function likeness(r, out)
    if #r.similarity > 0 then
        put(out, '<h2 id="likeness">How alike the answers are</h2>')
        heat(r, r.similarity, "Share of common words (Jaccard)", out)
    end
    if r.embeddings and #r.embeddings.similarity > 0 then
        put(out, '<h2 id="meaning">How alike in meaning</h2>')
        heat(r, r.embeddings.similarity, "Cosine of embeddings", out)
    end
end

local kinds = {
    { "refusal", "Refusals, share of answers", true }, { "answer", "Expected answers, share", true },
    { "missing", "Missing, share of what was asked", true }, { "language", "In another language, share of answers",
        true }, { "length", "Length, against the others", true },
    { "score", "The job's own score", false }, { "grade", "Grades", false },
}

local function effects(r, out)
    local any = false
    for _, kind in ipairs(kinds) do
        local list, varied = {}, false
        for _, e in ipairs(r.effects) do
            if e.kind == kind[1] then
                list[#list + 1] = e
                varied = varied or e.effect ~= 0
            end
        end
        if varied then
            if not any then
                put(out, '<h2 id="effects">How far apart</h2><p class=soft>Each %s against the others, mean over ' ..
                    'questions, ' ..
                    "with 95 %% intervals. Each is for itself: among many, one in twenty leaves 0 out by chance. " ..
        "The findings above are corrected for that.</p>", r.by)
            end
            any = true
            put(out, "<figure><figcaption>%s</figcaption>%s</figure>", kind[2], plots.effects(list, kind[3]))
        end
    end
end

local function contaminants(r, out)
    if #r.contaminants == 0 then
        return
    end
    put(out, '<h2 id="else">What else may differ</h2><ul>')
    for _, c in ipairs(r.contaminants) do
        put(out, "<li>%s", html(c.text))
    end
    put(out, "</ul>")
end

local function course(r, spans, out)
    local c = r.course
    put(out, '<h2 id="run">The run</h2>')
    if spans.first then
        put(out, "<figure>%s<figcaption>By endpoint: answers (upper row, green), refusals (middle, red), other " ..
        "ends (lower, grey), dashed below where it was cold. From an execution's first request to its end, " ..
            "retries and " ..
        "waiting between them included.</figcaption></figure>", plots.timeline(spans.endpoints, spans.first,
            spans.last))
    end
    local latency = plots.latency(c.endpoints)
    if latency then
        put(out, "<figure>%s<figcaption>Seconds to an answer: box from the 10th to the 90th percentile, line from " ..
        "least to most, bar at the median; of executions that took one attempt.</figcaption></figure>", latency)
    end
    put(out, "<table>")
    local function row(name, value)
        put(out, '<tr><th>%s<td class="n">%s</tr>', name, value)
    end
    row("Duration", c.seconds and plots.seconds(c.seconds) or "nothing was asked")
    row("Answers", ("%d"):format(c.answers))
    row("POSTs", ("%d"):format(c.posts))
    row("POSTs per answer", c.posts_per_answer and ("%.3f"):format(c.posts_per_answer) or "no answer")
    row("Result URLs fetched", ("%d"):format(c.hops))
    row("Tokens in, out", ("%d, %d"):format(c.prompt_tokens, c.completion_tokens))
    row("Cost", c.cost and ("%.4f (of %d executions with a price)"):format(c.cost, c.priced) or "no price is known")
    put(out, "</table>")
end

-- ---- answers side by side ----

local function said(text)
    local kept, left = escape.cut(text, ANSWER_BYTES)
    return html(kept), left
end

local function differences(before, after, budget)
    local a, b = escape.cut(before, ANSWER_BYTES), escape.cut(after, ANSWER_BYTES)
    budget.left = budget.left - #a // 4 * (#b // 4)
    local runs = budget.left > 0 and diff.words(a, b)
    if not runs then
        return html(b), select(2, escape.cut(after, ANSWER_BYTES)), true
    end
    local tags, parts = { same = "%s", added = "<ins>%s</ins>", removed = "<del>%s</del>" }, {}
    for i, run in ipairs(runs) do
        parts[i] = tags[run[1]]:format((html(run[2])))
    end
    return table.concat(parts), #after - #b
end

local function side(out, shown, first, budget)
    local one = shown[1]
    put(out, '<div class="side"><b>%s</b> <span class=soft>%s</span>', html(one.region), html(one.counts))
    for i, item in ipairs(shown) do
        if not item.text then
            put(out, '<div class="said soft">%s</div>', html(item.why))
        else
            local body, left, unmarked
            if item.text == first or not first then
                body, left = said(item.text)
            else
                body, left, unmarked = differences(first, item.text, budget)
            end
            put(out, '%s<div class="said" dir="auto">%s</div>', i > 1 and
                "<span class=soft>another of its answers</span>" or
                "", body)
            if left > 0 or unmarked then
                put(out, "<p class=soft>%s%s</p>", left > 0 and
                    ("%d more bytes: canvass results has all. "):format(left) or "",
                    unmarked and "Too long to mark what differs." or "")
            end
        end
    end
    put(out, "</div>")
end

-- answers: by question, then model, then region: lists of { region, counts, text or why }.
local function answers(r, shown, prompts, out)
    if #shown == 0 then
        return
    end
    local budget = { left = WORKS_MAX }
    put(out, '<h2 id="answers">Answers side by side</h2><p class=soft>Of each %s the first answer, and one that ' ..
        'ended otherwise. ' ..
        "Against the first one that is shown, <ins>words added</ins> and <del>words left out</del> are marked.", r.by)
    put(out, #shown < #r.questions and " %d of %d questions, those of findings first: canvass results has all.</p>" or
        "</p>",
        #shown, #r.questions)
    for _, question in ipairs(shown) do
        put(out, '<h3>%s</h3><div class="prompt" dir="auto">%s</div>', html(question.id),
            (said(prompts[question.id] or "")))
        for _, model in ipairs(r.models) do
            local regions = question.models[model]
            if regions then
                put(out, '<p><b>%s</b></p><div class="sides">', html(model))
                local first
                for _, region in ipairs(r.regions) do
                    first = first or regions[region] and regions[region][1].text
                end
                for _, region in ipairs(r.regions) do
                    if regions[region] then
                        side(out, regions[region], first, budget)
                    end
                end
                put(out, "</div>")
            end
        end
    end
end

-- ---- to do it again ----

local function reproduce(r, record, out)
    put(out, '<h2 id="method">Method and limits</h2><p>%s</p>', html(r.method))
    if #r.not_computed > 0 then
        put(out, "<p>Not computed:</p><ul>")
        for _, n in ipairs(r.not_computed) do
            put(out, "<li>%s (%d times)", html(n.reason), n.comparisons)
        end
        put(out, "</ul>")
    end
    put(out, '<h2 id="again">To do it again</h2><table>')
    for _, job in ipairs(record.jobs) do
        put(out, "<tr><th>Job<td>%s, %s, policy %s, %d executions, region table revision %s<br>asked from %s to " ..
            "%s (UTC)</tr>",
            html(job.id), html(job.state), html(job.policy or "?"), job.planned or 0, tostring(job.revision or "?"),
            html(job.started or "never"), html(job.ended or "it has not ended"))
    end
    put(out, "<tr><th>Program<td>canvass %s, %s, SQLite %s</tr><tr><th>Report<td>seed %d</tr></table>",
        html(record.version or "?"), html(_VERSION), html(record.sqlite or "?"), r.seed)
    put(out, "<pre>canvass report %s --seed %d --html report.html\ncanvass results %s --format jsonl</pre>",
        html(#record.jobs > 1 and record.jobs[1].id .. " " .. record.jobs[2].id or r.job_id or "?"), r.seed,
        html(r.job_id or "?"))
    for _, file in ipairs(record.files) do
        local text, left = escape.cut(file.text, FILE_BYTES)
        put(out, "<details><summary>%s%s</summary><pre>%s</pre>%s</details>", html(file.name),
            file.note and " <span class=soft>" .. html(file.note) .. "</span>" or "", html(text),
            left > 0 and ("<p class=soft>%d more bytes are in the database.</p>"):format(left) or "")
    end
end

-- r: the report; spans: the course with its spans; shown, prompts: answers; record: jobs, files, version, sqlite.
function page.render(r, spans, shown, prompts, record)
    local out = {}
    local differs = r.verdict.differs
    put(out, '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">')
    put(out, '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; style-src \'unsafe-inline\'">')
    put(out, '<meta name="generator" content="canvass"><title>%s: do the answers differ by %s?</title><style>',
        html(r.job_id or "a job"), r.by)
    out[#out + 1] = style
    local jobs = {}
    for i, job in ipairs(record.jobs) do
        jobs[i] = job.id
    end
    put(out, '</style><h1>%s: do the answers differ by %s?</h1><p class="verdict %s">%s</p>',
        html(table.concat(jobs, " and ")), r.by, differs and "differs" or differs == false and "same" or "unknown",
        html(r.verdict.text))
    put(out, '<nav><a href="#success">What came back</a><a href="#matrix">Matrix</a><a href="#answers">Answers</a>' ..
        '<a href="#run">The run</a><a href="#method">Method</a><a href="#again">Do it again</a></nav>')
    findings(r, out)
    of_regions(r, out)
    effects(r, out)
    contaminants(r, out)
    matrices(r, out)
    likeness(r, out)
    answers(r, shown, prompts, out)
    course(r, spans, out)
    reproduce(r, record, out)
    put(out, "</html>\n")
    return table.concat(out)
end

-- ---- the answers of the questions that are wanted, row by row ----

-- shown: as answers() takes it; row: an execution, placed and with what it came to.
function page.collect(shown, index, row, what)
    local question = index[row.question_id]
    if not question then
        question = { id = row.question_id, models = {} }
        index[row.question_id], shown[#shown + 1] = question, question
    end
    local model = question.models[row.model_id] or {}
    question.models[row.model_id] = model
    local list = model[row.region] or { tally = "", ends = {} }
    model[row.region] = list
    list.tally = outcome.add(list.tally, what)
    local ended = (what == "refusal" or what == "answer" or what == "truncated") and what or "other"
    if #list == 0 or not list.ends[ended] then
        local text = row.status == "succeeded" and row.answer or nil
        list[#list + 1] = { region = row.region, what = what, text = text, why = what .. (row.error and ": " ..
            row.error or "") }
        list.ends[ended] = true
    end
    list[1].counts = list.tally
end

return page
