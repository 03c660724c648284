/* sandbox.h -- one Lua state in which a stranger's script can do no harm. Private to script/.
 *
 * Text chunks only; base (without load*, dofile, collectgarbage, warn), string, table, math, utf8,
 * coroutine; require finds the built-in modules and files beside the script. Memory is capped by the allocator;
 * CPU time by a count hook that, once the budget is gone, raises in every coroutine for every instruction, so
 * that pcall cannot swallow it. Long C calls (string.rep, patterns, table.move ...) are bounded, and finalizers
 * (__gc) refused, for the hook does not run there. A state that went over is doomed: every later call
 * fails at once. Other states are unharmed. */
#ifndef SCRIPT_SANDBOX_H
#define SCRIPT_SANDBOX_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "core/sources.h"
#include "script/limits.h"

struct script;

/* The string at index, with its length. */
static inline struct str script_str(lua_State *L, int index)
{
    struct str s;
    s.ptr = lua_tolstring(L, index, &s.len);
    return s;
}

struct script_options {
    const char *folder;                   /* where require and file readers look; NULL: nowhere */
    bool folder_first;                    /* its files stand in for built-in modules of the same name */
    const struct sources *kept;           /* they look here instead; borrowed; NULL: in the folder */
    const struct script_limits *limits;   /* NULL: the defaults */
    bool trusted;                         /* all it runs is the program's own: no hook, which costs a tenth; time is
                                             looked at in long calls and when memory is made */
    void (*print)(void *ctx, const char *line); /* print(); NULL: dropped */
    void *ctx;
};

/* Less than 1 MiB of memory counts as 1 MiB. `json` (encode, decode, array, null) can be required in every script. */
struct script *script_new(const struct script_options *o);
void script_free(struct script *s);       /* NULL is a no-op */
lua_State *script_state(struct script *s);
struct script *script_of(lua_State *L);   /* from any of its coroutines (lua_getextraspace) */
bool script_doomed(const struct script *s);
size_t script_memory(const struct script *s);

/* A C module for require: open is called protected, once, and leaves the module on the stack. */
void script_module(struct script *s, const char *name, lua_CFunction open);

/* Makes every global the script sees read-only (writing one is an error naming it), and
 * gives it the global `name` from the top of the stack (popped). */
void script_global(struct script *s, const char *name);

/* Runs a chunk; on success its one return value is on the stack of script_state(). The error holds
 * file:line and a traceback. More or fewer than one value returned is an error. */
bool script_run(struct script *s, const char *name, struct str text, struct err *err);

/* lua_pcall with the budget of one call, a traceback in err, and the doomed check. On failure nothing is
 * left on the stack; args are popped either way. Not from inside a coroutine of this state.
 *
 * Outside of a call any Lua function that may allocate (push a string, make a table, set a field) may raise and
 * so end the process: conversions run inside a C function that is called through here. Pushing a function without
 * upvalues, a number, a boolean, a light userdata or a copy, raw reads, lua_next and nearly all of fields.h are safe
 * anywhere. */
bool script_call(struct script *s, int nargs, int nresults, struct err *err);

/* Calls function(ctx as light userdata, the value on top), which is popped: for reading what a script returned, where
 * nothing of the script's runs. No budget; errors are of its file. */
bool script_apply(struct script *s, lua_CFunction function, void *ctx, struct err *err);

/* Resumes a coroutine with the budget of one call. */
enum script_resumed { SCRIPT_DONE, SCRIPT_YIELDED, SCRIPT_FAILED };
enum script_resumed script_resume(struct script *s, lua_State *co, int nargs, int *nresults, struct err *err);

/* How many files were read so far through require and script_read(); copies of them, in order, unless out is NULL.
 * Names are relative to the folder. */
size_t script_files(const struct script *s, struct arena *arena, struct source_file *out);

/* Reads a file below the folder (no absolute path, no "..", no link that leaves it), at most max_bytes. The text lives
 * as long as s. */
bool script_read(struct script *s, const char *relative, size_t max_bytes, struct str *out, struct err *err);

/* Is there such a file to read? err may say why not; *absent (may be NULL): only because nobody made it. */
bool script_has(const struct script *s, const char *relative, bool *absent, struct err *err);

/* Reads any file the caller names, for the first script itself. The caller frees *text. */
bool read_file(const char *path, size_t max_bytes, char **text, size_t *len, struct err *err);

/* Pushes / reads JSON without raising: false with err on malformed input, depth over 100, or out of memory. JSON null
 * is the light userdata NULL (json.null in scripts), an empty array keeps being one. What is written has sorted keys,
 * and 1, not 1.0, for integral numbers. */
bool script_push_json(struct script *s, struct str json, struct err *err);
struct buf;
bool script_add_json(struct script *s, int index, struct buf *out, struct err *err);

#endif
