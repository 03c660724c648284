-- What one text says in other words than another.

local text = require "canvass.text"

local diff = {}

local PIECES_MAX = 1200 -- of a text, words and what lies between them; longer ones are not compared
local names = { ["="] = "same", ["-"] = "removed", ["+"] = "added" }

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
    local runs, i, k = {}, 1, 1
    for step in text.changes(a, b):gmatch(".") do
        local what, piece = names[step], step == "+" and b[k] or a[i]
        i, k = i + (step == "+" and 0 or 1), k + (step == "-" and 0 or 1)
        local run = runs[#runs]
        if not run or run[1] ~= what then
            run = { what, {} }
            runs[#runs + 1] = run
        end
        run[2][#run[2] + 1] = piece
    end
    for n, run in ipairs(runs) do
        runs[n] = { run[1], table.concat(run[2]) }
    end
    return tidy(runs)
end

return diff
