-- Strata, which the comparison exchanges answers within: of one question and model, the regions of its answers and what
-- each comes to. Most questions have the same regions, and nothing in which they differ, so that what is the same is
-- there once.

local numbers = require "canvass.numbers"

local strata = {}
local methods = {}

function strata.new()
    return setmetatable({ lists = {}, constant = {} }, { __index = methods })
end

local function of(index, name)
    local there = index[name]
    if not there then
        there = {}
        index[name] = there
    end
    return there
end

-- The regions of items: one list for all that have the same.
function methods:groups_of(items)
    local groups = numbers.list(#items)
    for i = 1, #items do
        groups[i] = items[i].region
    end
    local key = table.concat(groups, " ")
    self.lists[key] = self.lists[key] or groups
    return self.lists[key]
end

-- The stratum in which each of the groups has the same value: one for all questions.
function methods:same(groups, value)
    local same = of(of(self.constant, value), groups)
    if not same.groups then
        same.groups, same.values, same.varied = groups, numbers.list(#groups), false
        for i = 1, #groups do
            same.values[i] = value
        end
    end
    return same
end

-- value: what it says of each item, or a number that all have. nil without any.
function methods:of(items, groups, value)
    if #items == 0 then
        return nil
    elseif type(value) == "number" then
        return self:same(groups, value)
    end
    local values, varied = numbers.list(#items), false
    for i = 1, #items do
        values[i] = value(items[i])
        varied = varied or values[i] ~= values[1]
    end
    return varied and { groups = groups, values = values, varied = true } or self:same(groups, values[1])
end

-- The items that have the field.
function strata.with(items, field)
    local list = {}
    for _, item in ipairs(items) do
        list[#list + 1] = item[field] ~= nil and item or nil
    end
    return list
end

-- The stratum of those that have the field.
function methods:marked(items, field, value_of)
    local list = strata.with(items, field)
    return self:of(list, self:groups_of(list), value_of)
end

-- ---- of pairs ----

-- What is added up of pairs for a model, by regions.
function strata.alike_of(index, model_id)
    index[model_id] = index[model_id] or { sums = {}, lists = {} }
    return index[model_id]
end

-- The sums for pairs of regions, over the questions of a model: for each two of groups, in the order of its pairs.
local function sums_of(of_model, groups)
    local list = of_model.lists[groups]
    if list then
        return list
    end
    list = {}
    for i = 1, #groups do
        for k = i + 1, #groups do
            local a, b = math.min(groups[i], groups[k]), math.max(groups[i], groups[k])
            local key = a << 16 | b
            of_model.sums[key] = of_model.sums[key] or { sum = 0, n = 0, a = a, b = b }
            list[#list + 1] = of_model.sums[key]
        end
    end
    of_model.lists[groups] = list
    return list
end

-- The stratum of all pairs' distances. They are added up in sum, within regions and between them, and in alike by
-- model and pair of regions. measure(a, b) says how alike two are, and whether they count as the same.
function strata.likeness(texts, groups, alike, sum, measure)
    local distances, at = numbers.list(#texts * (#texts - 1) // 2), 0
    local sums = sums_of(alike, groups)
    for i = 1, #texts do
        local a, group = texts[i], groups[i]
        for k = i + 1, #texts do
            local share, same = measure(a, texts[k])
            at = at + 1
            distances[at] = 1 - share
            local pair = sums[at]
            pair.sum, pair.n = pair.sum + share, pair.n + 1
            same = same and 1 or 0
            if group == groups[k] then
                sum.within, sum.n_within = sum.within + share, sum.n_within + 1
                sum.same_within = sum.same_within + same
            else
                sum.between, sum.n_between, sum.same = sum.between + share, sum.n_between + 1, sum.same + same
            end
        end
    end
    return { groups = groups, distances = distances, varied = true }
end

return strata
