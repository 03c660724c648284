-- Text from outside made harmless in HTML and SVG.

local escape = {}

local entities = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

-- Control characters are shown as their pictures (U+2400 ...), and bytes that are no UTF-8 as U+FFFD. The direction
-- of the text around it is guarded by the page: it stands in elements of their own.
function escape.html(s)
    if not utf8.len(s) then
        local parts, at = {}, 1
        while at <= #s do
            local _, bad = utf8.len(s, at)
            parts[#parts + 1] = s:sub(at, (bad or #s + 1) - 1)
            parts[#parts + 1] = bad and "\u{FFFD}" or nil
            at = (bad or #s) + 1
        end
        s = table.concat(parts)
    end
    s = s:gsub("[&<>\"']", entities)
    return (s:gsub("[%z\1-\8\11-\31\127]", function(c)
        return utf8.char(c == "\127" and 0x2421 or 0x2400 + c:byte())
    end):gsub("\u{202A}", "\u{FFFD}"):gsub("\u{202B}", "\u{FFFD}"):gsub("\u{202D}", "\u{FFFD}")
        :gsub("\u{202E}", "\u{FFFD}"))
end

-- At most so many bytes, cut between characters; then how many were left out.
function escape.cut(s, bytes)
    if #s <= bytes then
        return s, 0
    end
    local at = bytes
    while at > 0 and (s:byte(at + 1) or 0) & 0xC0 == 0x80 do
        at = at - 1
    end
    return s:sub(1, at), #s - at
end

return escape
