/* sandbox_priv.h -- the inside of a script, for what it calls in C.
 *
 * Who may raise: functions here that take a lua_State may, and are called in protected mode only. */
#ifndef SCRIPT_SANDBOX_PRIV_H
#define SCRIPT_SANDBOX_PRIV_H

#include <stdint.h>

#include "base/buf.h"
#include "base/slab.h"
#include "script/sandbox.h"

enum {
    SANDBOX_MODULES = 32,          /* C modules of one script */
    SANDBOX_FILES = 512,           /* files one script may read */
    SANDBOX_SCRIPT_BYTES = 1 << 20,
    SANDBOX_JSON_BYTES = 16 << 20, /* what json may take or make: it lies outside the memory cap */
    SANDBOX_RANGE = 4000000,       /* elements one call of the table library may touch */
    SANDBOX_CHECK_STEPS = 100000,  /* steps of C work between two looks at the clock */
};

enum { SANDBOX_WHERE = 96 };   /* bytes of "job.lua:12" */

struct script {
    lua_State *L;
    lua_State *running;            /* L or the coroutine that runs just now */
    struct script_options options;
    struct script_limits limits;
    char *folder;                  /* resolved; NULL: nowhere */
    struct slab slab;              /* has room if it is trusted */
    size_t used, refused;          /* bytes held; size of the request refused last, 0 once it was met */
    char refused_where[SANDBOX_WHERE];
    int64_t traffic_left;          /* bytes to allocate until the clock is looked at */
    bool doomed;
    char doom[512];

    /* One call's budget. Short calls never look at a clock: it is first read when the hook fires. */
    unsigned depth;                /* of nested entries; the outermost one sets the budget */
    bool loading, clock_started;
    int64_t budget_us, cpu_start_us, due_us; /* due: not before this instant can the budget be used up */
    int64_t steps_left;

    struct { const char *name; lua_CFunction open; } modules[SANDBOX_MODULES];
    unsigned module_count;
    struct source_file *files;
    size_t file_count;
    struct buf json_out, json_scratch;
};

int64_t sandbox_cpu_us(void);            /* of this thread */
/* Counts work done in C against the call's budget; raises once it is used up. */
bool script_is_idle(lua_State *L); /* C reads what the script returned: none of its calls runs, and no budget holds */
void sandbox_charge(lua_State *L, size_t steps);
void sandbox_check_clock(lua_State *L);  /* the slow half of sandbox_charge, for steps_left below 0 */
int sandbox_raise_doom(lua_State *L);    /* raises the reason why the state is doomed */

/* script_call without a budget, for work of our own. */
bool sandbox_protect(struct script *s, int nargs, int nresults, struct err *err);

/* sandbox_error.c */
int sandbox_on_error(lua_State *L);                 /* the message handler: an error value becomes text and traceback */
void sandbox_describe(lua_State *L, lua_State *co); /* the same for the error on top of a dead coroutine, onto L */
/* "job.lua:12" of the innermost Lua function, or "" if there is none. Never raises nor allocates. */
void sandbox_where(lua_State *L, char out[SANDBOX_WHERE]);

/* sandbox_lib.c: makes the libraries and the read-only global table. */
void sandbox_open_libraries(lua_State *L);
void sandbox_freeze(lua_State *L, const char *name); /* a read-only view in place of the table on top */
void sandbox_set_global(lua_State *L, const char *name); /* pops the value */

/* sandbox_co.c: resume, wrap and close that respect the budget. */
extern const luaL_Reg sandbox_coroutines[];

/* sandbox_files.c */
int sandbox_require(lua_State *L);
void sandbox_load(lua_State *L, const char *name, struct str text); /* pushes the chunk or raises */
void sandbox_free_files(struct script *s);

/* pattern_lib.c: puts find, match, gmatch and gsub into the table on top. */
void pattern_open(lua_State *L);

/* json.c, json_read.c, json_write.c */
enum { JSON_DEPTH = 100 };
void json_push_array_metatable(lua_State *L);                /* what marks a table as an array, even when it is empty */
int json_open(lua_State *L);                                 /* leaves the module on the stack */
void json_push(lua_State *L, struct str text);
/* The same, but malformed JSON does not raise: false then, and nothing pushed. Want of memory or time still does. */
bool json_try(lua_State *L, struct str text, struct err *err);

/* What is written may have holes, where the light userdata &json_hole stands, for texts that are not known yet. */
enum { JSON_HOLES = 8 };
extern const char json_hole;
struct json_holes { size_t at[JSON_HOLES]; unsigned count; };
/* Sorted: names in the order of their bytes. holes: NULL when there may be none. */
void json_add(lua_State *L, int index, struct buf *out, bool sorted, struct json_holes *holes);
void json_fill(struct buf *out, struct str text, const struct json_holes *holes, struct str filling);

#endif
