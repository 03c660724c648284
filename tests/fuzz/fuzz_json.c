/* JSON read and written again: what was read can be written, is read as the same, and is fit for a terminal. */
#include "fuzz.h"

#include "script/sandbox_priv.h"

enum { OUT_BYTES = 1 << 20, KEPT_BYTES = 8 << 20 };

static struct script *state(void)
{
    static const struct script_limits limits = {10000000, 10000000, 64u << 20};
    static struct script *s;
    if (s && script_memory(s) > KEPT_BYTES)
        lua_gc(script_state(s), LUA_GCCOLLECT);
    if (!s)
        s = script_new(&(struct script_options){.limits = &limits});
    return s;
}

static void write_again(struct script *s, struct buf *out)
{
    struct err err = {0};
    buf_clear(out);
    PROMISE(script_add_json(s, -1, out, &err), "what was read cannot be written: %s", err.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct script *s = state();
    struct str input = {(const char *)data, size};
    struct err err = {0};
    if (!script_push_json(s, input, &err)) {
        fuzz_refusal(&err);
        fuzz_plain(str_from(err.text), true);
        return 0;
    }
    struct buf first, second;
    buf_init(&first, OUT_BYTES);
    buf_init(&second, OUT_BYTES);
    write_again(s, &first);
    fuzz_plain(buf_str(&first), true);
    PROMISE(script_push_json(s, buf_str(&first), &err), "not read again: %s: %s", err.text, first.ptr);
    write_again(s, &second);
    PROMISE(str_equal(buf_str(&first), buf_str(&second)) || !text_is_utf8(input), "%s, then %s", first.ptr, second.ptr);
    lua_pop(script_state(s), 2);
    PROMISE(lua_gettop(script_state(s)) == 0, "%d values are left", lua_gettop(script_state(s)));
    PROMISE(!script_doomed(s), "doomed");
    buf_done(&first);
    buf_done(&second);
    return 0;
}
