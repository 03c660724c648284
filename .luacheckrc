-- The Lua that canvass runs: standard 5.4 less what the sandbox takes away.
std = "lua54"
max_line_length = 120
not_globals = {
  "io", "os", "package", "debug", "load", "loadfile", "dofile", "collectgarbage", "warn",
  "string.dump", "string.pack", "string.packsize", "string.unpack",
}

-- Job scripts and the modules they require.
files["examples/**/*.lua"].read_globals = { "canvass" }
-- Region tables.
files["examples/**/regions*.lua"].read_globals = { "secret" }
