/* live_table.h -- the region table while jobs run: the one path by which it changes.
 *
 * The file beside which its overrides lie is the truth: who edits it with an editor, by command, over the API or in the
 * dashboard changes these files, and what they say is loaded in a fresh Lua state, held against the table in force,
 * recorded as a revision, and only then put in force between two turns. One change after another. A file that is wrong
 * changes nothing, and stays an error for all to see until it is mended. */
#ifndef HOST_LIVE_TABLE_H
#define HOST_LIVE_TABLE_H

#include "core/region_table.h"
#include "host/session.h"
#include "script/limits.h"

struct live_table;

struct live_table_options {
    const char *path, *secrets_file;
    struct script_limits limits;
    void (*changed)(void *ctx);         /* another table is in force, or the file is wrong, or right again */
    void *ctx;
};

/* Records the session's table, for which it runs the loop, and watches its files from then on. */
struct live_table *live_table_new(struct session *s, const struct live_table_options *o);
void live_table_free(struct live_table *t);  /* after the session, so that no callback is to come; NULL is a no-op */
void live_table_stop(struct live_table *t);  /* before it: no more watching */

/* What is wanted. Texts are copied. */
struct table_wish {
    const char *source;                 /* NULL: what is in the file */
    const char *overrides;              /* NULL: what is in their file; "": none */
    const char *hash;                   /* the table must have this hash, or it is refused; NULL: any */
    const char *author, *reason;
    bool dry_run;
};

struct table_effect {
    const struct session_job *job;
    struct change_effect effect;
};

struct table_change {
    const struct err *error;            /* NULL: it is in force, or could be */
    bool changed;
    int64_t revision;                   /* in force now */
    struct str diff;                    /* a line for each difference */
    const struct table_effect *effects; /* on the jobs that run, but for those on which it has none */
    size_t effect_count;
};

/* done() comes from the loop, never inline; what it is given lives until it returns. It may be NULL. */
void live_table_change(struct live_table *t, const struct table_wish *wish,
                       void (*done)(void *ctx, const struct table_change *change), void *ctx);

const char *live_table_error(const struct live_table *t); /* of the file; NULL: it is what is in force */
const char *live_table_path(const struct live_table *t);
char *live_table_overrides_path(const struct live_table *t); /* for free() */

/* "2 pending executions move, 3 in flight finish on revision 6"; for people. */
struct buf;
void table_effect_text(const struct change_effect *e, struct buf *out);

#endif
