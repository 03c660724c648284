-- What one text says in other words than another.

local text = require "canvass.text"

local diff = {}

local PIECES_MAX = 1200 -- of a text, words and what lies between them; longer ones are not compared

-- How much two lists have in common at the beginning, or with step -1 at the end.
local function common(a, b, from_a, from_b, step, most)
    local n = 0
    while n < most and a[from_a + n * step] == b[from_b + n * step] do
        n = n + 1
    end
    return n
end

-- The longest common subsequence (Hirschberg 1975, Communications of the ACM 18, 341-343, has the recurrence).
-- Returns rows of lengths: of what follows a[i] and b[k].
local function lengths(a, b, first, last_a, last_b)
    local rows = {}
    rows[last_a + 1] = {}
    for i = last_a, first, -1 do
        local row, below, x = {}, rows[i + 1], a[i]
        for k = last_b, first, -1 do
            if x == b[k] then
                row[k] = (below[k + 1] or 0) + 1
            else
                local down, right = below[k] or 0, row[k + 1] or 0
                row[k] = down > right and down or right
            end
        end
        rows[i] = row
    end
    return rows
end

-- A space or a comma between two changes is no word in common: what changed is told in one piece, first what was
-- removed.
local function tidy(runs)
    local out, removed, added = {}, "", ""
    local function flush()
        out[#out + 1] = removed ~= "" and { "removed", removed } or nil
        out[#out + 1] = added ~= "" and { "added", added } or nil
        removed, added = "", ""
    end
    for i, run in ipairs(runs) do
        local what, words = run[1], run[2]
        local between = what == "same" and runs[i + 1] and removed .. added ~= "" and words:find("^[%s%p]*$")
        if what == "same" and not between then
            flush()
            out[#out + 1] = run
        end
        removed = (what == "removed" or between) and removed .. words or removed
        added = (what == "added" or between) and added .. words or added
    end
    flush()
    return out
end

-- Runs of { what, text }: "same", "added" (in `after` only), "removed" (in `before` only); nil for texts too long.
function diff.words(before, after)
    local a, b = text.pieces(before), text.pieces(after)
    if #a > PIECES_MAX or #b > PIECES_MAX then
        return nil
    end
    local runs = {}
    local function put(what, piece)
        local run = runs[#runs]
        if not run or run[1] ~= what then
            run = { what, {} }
            runs[#runs + 1] = run
        end
        run[2][#run[2] + 1] = piece
    end
    local head = common(a, b, 1, 1, 1, math.min(#a, #b))
    local tail = common(a, b, #a, #b, -1, math.min(#a, #b) - head)
    for i = 1, head do
        put("same", a[i])
    end
    local i, k, last_a, last_b = head + 1, head + 1, #a - tail, #b - tail
    local rows = lengths(a, b, head + 1, last_a, last_b)
    while i <= last_a or k <= last_b do
        if i <= last_a and k <= last_b and a[i] == b[k] then
            put("same", a[i])
            i, k = i + 1, k + 1
        elseif k > last_b or i <= last_a and (rows[i + 1][k] or 0) >= (rows[i][k + 1] or 0) then
            put("removed", a[i])
            i = i + 1
        else
            put("added", b[k])
            k = k + 1
        end
    end
    for n = #a - tail + 1, #a do
        put("same", a[n])
    end
    for n, run in ipairs(runs) do
        runs[n] = { run[1], table.concat(run[2]) }
    end
    return tidy(runs)
end

return diff
