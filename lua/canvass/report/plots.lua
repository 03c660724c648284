-- The pictures of the report's page, as SVG. Colours are the page's, by class; each picture says the same in words or
-- numbers beside it.

local escape = require "canvass.report.escape"

local plots = {}

local html = escape.html
local WIDE = 960

local function svg(wide, high, label, parts)
    return ('<svg viewBox="0 0 %d %d" role="img" aria-label="%s">%s</svg>'):format(wide, high, html(label),
        table.concat(parts))
end

local function write(parts, x, y, class, words)
    parts[#parts + 1] = ('<text x="%.1f" y="%.1f" class="%s">%s</text>'):format(x, y, class, html(words))
end

local function line(parts, x1, y1, x2, y2, class)
    parts[#parts + 1] = ('<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" class="%s"/>'):format(x1, y1, x2, y2, class)
end

local function rect(parts, x, y, wide, high, class)
    parts[#parts + 1] = ('<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" class="%s"/>'):format(x, y, wide, high,
        class)
end

-- A step of 1, 2 or 5 times a power of ten that makes at most `most` of them.
local function step_of(range, most)
    local step = 10 ^ math.floor(math.log(range / most, 10))
    for _, factor in ipairs { 1, 2, 5, 10 } do
        if range / (step * factor) <= most then
            return step * factor
        end
    end
end

local function time_step(seconds)
    for _, step in ipairs { 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400 } do
        if seconds / step <= 10 then
            return step
        end
    end
    return 86400 * math.ceil(seconds / 864000)
end

function plots.seconds(s)
    if s < 0.9995 then
        return ("%.0f ms"):format(s * 1000)
    elseif s < 120 then
        return ("%.3g s"):format(s)
    elseif s < 7200 then
        return ("%d min %02d s"):format(s // 60, math.floor(s % 60))
    end
    return ("%d h %02d min"):format(s // 3600, math.floor(s % 3600 / 60))
end

-- ---- effects with their intervals ----

-- list: of one kind. unit: what a full step of the axis is called.
function plots.effects(list, percent)
    local low, high = 0, 0
    for _, e in ipairs(list) do
        low, high = math.min(low, e.low or e.effect, e.effect), math.max(high, e.high or e.effect, e.effect)
    end
    local pad = math.max(high - low, 1e-9) * 0.05
    low, high = low - pad, high + pad
    local left, right, row = 330, WIDE - (percent and 150 or 220), 22 -- then +0.0917 [-0.221, +0.403]
    local function x(value) return left + (value - low) / (high - low) * (right - left) end
    local function number(value)
        return percent and ("%+.0f %%"):format(100 * value) or ("%+.3g"):format(value)
    end
    local parts, bottom = {}, #list * row + 8
    local step = step_of(high - low, 8)
    for n = math.ceil(low / step), math.floor(high / step) do
        line(parts, x(n * step), 4, x(n * step), bottom, n == 0 and "axis" or "grid")
        write(parts, x(n * step), bottom + 14, "tick", number(n * step))
    end
    for i, e in ipairs(list) do
        local y = i * row - 6
        write(parts, left - 10, y + 4, "label", e.model_id .. "  " .. e.region)
        if e.low then
            line(parts, x(e.low), y, x(e.high), y, "interval")
            line(parts, x(e.low), y - 4, x(e.low), y + 4, "interval")
            line(parts, x(e.high), y - 4, x(e.high), y + 4, "interval")
        end
        parts[#parts + 1] = ('<circle cx="%.1f" cy="%.1f" r="4" class="dot%s"/>'):format(x(e.effect), y,
            e.low and (e.low > 0 or e.high < 0) and " apart" or "")
        write(parts, right + 12, y + 4, "value", e.low and ("%s [%s, %s]"):format(number(e.effect), number(e.low),
            number(e.high)) or number(e.effect))
    end
    return svg(WIDE, bottom + 20, "effects with intervals", parts)
end

-- ---- the run over time ----

local LANES = { { "answer", "s-answer", 1 }, { "refusal", "s-refusal", 2 }, { "other", "s-failed", 3 } }
local lane_of = { answer = 1, truncated = 1, refusal = 2 }

-- Adds a span to those that begin in the same half of a pixel. None is shorter than a pixel, so they overlap.
local function add_span(lane, from, to)
    local place = math.floor(2 * from)
    local span = lane[place]
    if span then
        span[1], span[2] = math.min(span[1], from), math.max(span[2], to)
    else
        lane[place] = { from, to }
    end
end

-- Overlapping spans as one, as fine as a pixel.
local function merged(lane)
    local spans, out = {}, {}
    for _, span in pairs(lane) do
        spans[#spans + 1] = span
    end
    table.sort(spans, function(a, b) return a[1] < b[1] end)
    for _, span in ipairs(spans) do
        local last = out[#out]
        if last and span[1] <= last[2] + 0.5 then
            last[2] = math.max(last[2], span[2])
        else
            out[#out + 1] = { span[1], span[2] }
        end
    end
    return out
end

-- endpoints: of the course, with all their spans.
function plots.timeline(endpoints, first, last)
    local left, right, row = 250, WIDE - 10, 24
    local seconds = math.max(last - first, 1e-3)
    local function x(at) return left + (at - first) / seconds * (right - left) end
    local parts, bottom, step = {}, #endpoints * row + 6, time_step(seconds)
    if seconds < 1 then
        step = step_of(seconds, 8)
    end
    for n = 0, math.floor(seconds / step) do
        line(parts, x(first + n * step), 4, x(first + n * step), bottom, "grid")
        write(parts, x(first + n * step), bottom + 14, "tick", n == 0 and "0" or plots.seconds(n * step))
    end
    for i, e in ipairs(endpoints) do
        local top = (i - 1) * row + 6
        write(parts, left - 10, top + 13, "label", e.region .. "  " .. e.model_id)
        local lanes, cold = { {}, {}, {} }, {}
        for n, from in ipairs(e.from) do
            local left_end, right_end = x(from), math.max(x(e.to[n]), x(from) + 1)
            add_span(lanes[lane_of[e.what[n]] or 3], left_end, right_end)
            if e.is_cold[n] then
                add_span(cold, left_end, right_end)
            end
        end
        for k, lane in ipairs(LANES) do
            for _, span in ipairs(merged(lanes[k])) do
                rect(parts, span[1], top + (k - 1) * 5, span[2] - span[1], 5, lane[2])
            end
        end
        for _, span in ipairs(merged(cold)) do
            line(parts, span[1], top + 17.5, span[2], top + 17.5, "cold")
        end
    end
    return svg(WIDE, bottom + 20, "each endpoint's executions over time", parts)
end

-- ---- how long answers took ----

function plots.latency(endpoints)
    local rows, most = {}, 1e-3
    for _, e in ipairs(endpoints) do
        for _, kind in ipairs { "cold", "warm" } do
            local t = e[kind .. "_s"]
            if t then
                rows[#rows + 1] = { e, kind, t }
                most = math.max(most, t.most)
            end
        end
    end
    if #rows == 0 then
        return nil
    end
    local left, right, row = 290, WIDE - 190, 20
    local function x(s) return left + s / most * (right - left) end
    local parts, bottom, step = {}, #rows * row + 8, step_of(most, 8)
    for n = 0, math.floor(most / step) do
        line(parts, x(n * step), 4, x(n * step), bottom, n == 0 and "axis" or "grid")
        write(parts, x(n * step), bottom + 14, "tick", n == 0 and "0" or plots.seconds(n * step))
    end
    for i, r in ipairs(rows) do
        local e, kind, t, y = r[1], r[2], r[3], i * row - 5
        write(parts, left - 10, y + 4, "label", ("%s  %s  %s"):format(e.region, e.model_id, kind))
        line(parts, x(t.least), y, x(t.most), y, "whisker")
        rect(parts, x(t.tenth), y - 5, math.max(1, x(t.nine_tenths) - x(t.tenth)), 10, "box-" .. kind)
        line(parts, x(t.median), y - 6, x(t.median), y + 6, "median")
        write(parts, right + 12, y + 4, "value", ("%s (%d), at most %s"):format(plots.seconds(t.median), t.n,
            plots.seconds(t.most)))
    end
    return svg(WIDE, bottom + 20, "seconds to an answer", parts)
end

return plots
