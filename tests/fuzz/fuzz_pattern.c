/* Our pattern matcher against that of stock Lua: the same results and the same errors. The pattern stands in the first
 * line, the subject in the second, a replacement in the third. */
#include "fuzz.h"

#include <lualib.h>

#include "script/sandbox_priv.h"

enum { TEXT_BYTES = 40, REPLACEMENT_BYTES = 20, STEPS = 3000, CALL_US = 2000, CALLS = 6 };

/* Any results as one text. Called with: find match gmatch gsub, pattern, subject, replacement, which call, position. */
static const char chunk[] =
    "local function show(ok, ...)\n"
    "    local out = { tostring(ok) }\n"
    "    for i = 1, select('#', ...) do out[#out + 1] = tostring((select(i, ...))) end\n"
    "    return table.concat(out, '\\1')\n"
    "end\n"
    "local function all(s, p)\n"
    "    local out = {}\n"
    "    for a, b in string.gmatch(s, p) do out[#out + 1] = tostring(a) .. '\\2' .. tostring(b) end\n"
    "    return table.concat(out, '\\3')\n"
    "end\n"
    "return function(call, p, s, r, at)\n"
    "    if call == 0 then return show(pcall(string.find, s, p, at))\n"
    "    elseif call == 1 then return show(pcall(string.match, s, p, at))\n"
    "    elseif call == 2 then return show(pcall(all, s, p))\n"
    "    elseif call == 3 then return show(pcall(string.gsub, s, p, r))\n"
    "    elseif call == 4 then return show(pcall(string.gsub, s, p, { a = 'x', b = false }, 3))\n"
    "    else return show(pcall(string.gsub, s, p, function(a, b) return b and a .. b end)) end\n"
    "end\n";

static struct script *ours;
static lua_State *stock;

/* One that had to be stopped, for a pattern that tries all there is to try, is made again. */
static void open_states(void)
{
    static const struct script_limits limits = {10000000, CALL_US, 64u << 20};
    if (ours && script_doomed(ours)) {
        script_free(ours);
        ours = NULL;
    }
    if (!ours) {
        ours = script_new(&(struct script_options){.limits = &limits});
        PROMISE(script_run(ours, "fuzz", str_from(chunk), NULL), "our chunk");
    }
    if (!stock) {
        stock = luaL_newstate();
        luaL_openlibs(stock);
        PROMISE(luaL_loadbufferx(stock, chunk, sizeof chunk - 1, "@fuzz", "t") == LUA_OK &&
                    lua_pcall(stock, 0, 1, 0) == LUA_OK, "its chunk");
    }
}

static void push_arguments(lua_State *L, int call, struct str pattern, struct str subject, struct str replacement,
                           int at)
{
    lua_settop(L, 1);
    lua_pushvalue(L, 1);
    lua_pushinteger(L, call);
    lua_pushlstring(L, pattern.ptr, pattern.len);
    lua_pushlstring(L, subject.ptr, subject.len);
    lua_pushlstring(L, replacement.ptr, replacement.len);
    lua_pushinteger(L, at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str input = {(const char *)data, size};
    struct str pattern = fuzz_piece(&input, '\n'), subject = fuzz_piece(&input, '\n'), replacement = input;
    if (pattern.len > TEXT_BYTES || subject.len > TEXT_BYTES || replacement.len > REPLACEMENT_BYTES)
        return 0;
    open_states();
    for (int call = 0; call < CALLS; call++) {
        struct err err = {0};
        int at = (int)(pattern.len + subject.len) % 5 - 2;
        lua_State *L = script_state(ours);
        push_arguments(L, call, pattern, subject, replacement, at);
        ours->steps_left = STEPS; /* that the stock one does not count: it would be at it for days */
        bool ok = script_call(ours, 5, 1, &err);
        PROMISE(ok || script_doomed(ours), "%s", err.text);
        if (!ok || ours->steps_left > STEPS)
            return 0;
        push_arguments(stock, call, pattern, subject, replacement, at);
        PROMISE(lua_pcall(stock, 5, 1, 0) == LUA_OK, "%s", lua_tostring(stock, -1));
        PROMISE(lua_compare(L, -1, -1, LUA_OPEQ) && strcmp(lua_tostring(L, -1), lua_tostring(stock, -1)) == 0 &&
                    lua_rawlen(L, -1) == lua_rawlen(stock, -1),
                "call %d gives %s, in stock Lua %s", call, lua_tostring(L, -1), lua_tostring(stock, -1));
    }
    return 0;
}
