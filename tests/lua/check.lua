-- What the suites of tests/lua share.

local check = {}

function check.equal(found, expected, what)
    if found ~= expected then
        error(string.format("%sexpected %s, found %s", what and what .. ": " or "", tostring(expected),
            tostring(found)), 2)
    end
end

function check.near(found, expected, tolerance, what)
    if not (type(found) == "number" and math.abs(found - expected) <= tolerance) then
        error(string.format("%sexpected %.17g within %g, found %s", what and what .. ": " or "", expected, tolerance,
            tostring(found)), 2)
    end
end

return check
