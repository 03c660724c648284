/* job_parts.h -- what the files that read a job share. Private to script/.
 *
 * A job is read inside protected Lua calls, out of which any Lua function may leave by longjmp: what is
 * allocated on the way hangs on struct job_load, in the arena, or on Lua's stack. */
#ifndef SCRIPT_JOB_PARTS_H
#define SCRIPT_JOB_PARTS_H

#include "base/buf.h"
#include "base/map.h"
#include "script/fields.h"
#include "script/job_file.h"
#include "script/policy.h"
#include "script/sandbox.h"

enum {
    JOB_NAME_BYTES = 100,
    JOB_ID_BYTES = 200,              /* of a question or a model */
    JOB_QUESTIONS_MAX = 10000000,
    JOB_TEXT_BYTES = 16 << 20,       /* of one JSON value of a question, and of the parameters */
};

struct job_setting {                 /* --set key=value */
    const char *key, *value;
    bool read;                       /* by the program or the script */
};

struct job_file {
    struct script *script;
    struct policy *policy;
    struct job_spec *spec;
    int function, score;             /* registry references: the policy, and the scorer or LUA_NOREF */
    struct job_setting *settings;    /* texts in the spec's arena */
    size_t setting_count, data_bytes;
    void (*log)(void *ctx, const char *line);
    void *ctx;
};

struct job_load {                    /* what only loading needs */
    struct job_file *job;
    const struct job_file_options *options;
    lua_State *L;
    const char *path, *folder, *base; /* as named by the caller; its folder; its last part */
    char *text;                      /* of the file */
    size_t text_len;
    struct err *err;
    bool ok;
    struct map names, region_names;  /* seen so far in the list that is read */
    struct buf scratch, ignored;         /* ignored: keys of a specification, for the log */
    struct str list_text;            /* of --questions; ptr NULL: none */
};

/* Calls fn(job_load as light userdata, the value on top of the stack) protected; the value is popped. fn sets j->ok. */
bool job_protected(struct job_load *j, lua_CFunction fn);
/* A file the caller named, or what was kept of it. The caller frees *text. */
bool job_read_file(const struct job_load *j, const char *path, size_t max_bytes, char **text, size_t *len);
void job_log(const struct job_file *f, const char *line);

/* ---- job_api.c ---- */
void job_push_api(lua_State *L, struct job_file *f);        /* the table `canvass`; may raise */
/* The last --set of a key, then read; NULL if there is none. */
const char *job_setting(struct job_file *f, const char *key);
bool job_settings_done(struct job_load *j);                 /* false: somebody set what nobody reads */
bool job_settings_keep(struct job_load *j);                 /* into spec->settings */

/* ---- job_questions.c ---- */
/* The list at index into the spec; path is its key. */
bool job_read_questions(struct job_load *j, int index, const char *path);

/* ---- job_keys.c: each reads one key, and its --set; shared by scripts and specifications ---- */
bool job_read_name(struct job_load *j, struct fields *f, const char *key); /* false with err; absent: the file's name */
bool job_read_models(struct job_load *j, int index, const char *path, const char *const *item_keys);
bool job_read_regions(struct job_load *j, struct fields *f, const char *key);
bool job_read_parameters(struct job_load *j, struct fields *f);
bool job_read_samples(struct job_load *j, struct fields *f, const char *key);
bool job_read_timeout(struct job_load *j, struct fields *f, const char *key);
bool job_read_rest(struct job_load *j, struct fields *f);                   /* in_flight, on_missing, warm */
int job_read_script(lua_State *L); /* for job_protected(): the script's table */

/* ---- job_policy.c ---- */
/* The policy from the value at index (nil: none given), or from --policy. */
bool job_choose_policy(struct job_load *j, int index);

/* ---- job_json.c ---- */
int job_read_specification(lua_State *L);                                   /* for job_protected(): the parsed JSON */

#endif
