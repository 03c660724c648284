-- What a difference of texts looks like: further measures of likeness, and the words that one region uses and the
-- others do not. Descriptive: nothing here is tested, and only what may be a finding is looked at.

local text = require "canvass.text"

local likeness = {}

local MEASURES = { "jaccard", "rouge_l", "edit", "chrf" }
local TEXTS = 3   -- of each region; the others of a region are like these
local TERMS = 8   -- of each region

local function share(sum, n)
    return n > 0 and sum / n or nil
end

-- texts: items with region, text and words. Each measure's mean within regions and between them.
function likeness.measures(texts)
    local used, taken, found = {}, {}, {}
    for _, item in ipairs(texts) do
        taken[item.region] = (taken[item.region] or 0) + 1
        used[#used + 1] = taken[item.region] <= TEXTS and item or nil
    end
    for _, name in ipairs(MEASURES) do
        local within, n_within, between, n_between = 0, 0, 0, 0
        for i, a in ipairs(used) do
            for k = i + 1, #used do
                local value = text[name](a.words, used[k].words)
                if value and a.region == used[k].region then
                    within, n_within = within + value, n_within + 1
                elseif value then
                    between, n_between = between + value, n_between + 1
                end
            end
        end
        found[name] = { within = share(within, n_within), between = share(between, n_between) }
    end
    return found
end

-- By region: words in at least half of its answers and in none of any other region's, most frequent first.
function likeness.terms(texts)
    local by_word, answers = {}, {}
    for _, item in ipairs(texts) do
        local seen = {}
        answers[item.region] = (answers[item.region] or 0) + 1
        for _, word in ipairs(text.words(item.text)) do
            if not seen[word] then
                seen[word] = true
                by_word[word] = by_word[word] or {}
                by_word[word][item.region] = (by_word[word][item.region] or 0) + 1
            end
        end
    end
    local terms = {}
    for word, regions in pairs(by_word) do
        local region, n = next(regions)
        if not next(regions, region) and 2 * n >= answers[region] and n > 1 then
            terms[region] = terms[region] or {}
            table.insert(terms[region], { word = word, answers = n })
        end
    end
    for region, list in pairs(terms) do
        table.sort(list, function(a, b) return a.answers > b.answers or a.answers == b.answers and a.word < b.word end)
        terms[region] = table.move(list, 1, math.min(#list, TERMS), 1, {})
    end
    return terms
end

return likeness
