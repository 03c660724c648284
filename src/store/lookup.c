#include "store/lookup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "store/schema.h"

enum {
    COMPARED_MAX = 1000,   /* newest ids an unknown one is compared with */
    NAMED_MAX = 3,         /* ids an error lists when none is near */
};

static size_t newest_ids(struct db *db, char *ids[COMPARED_MAX])
{
    char sql[80];
    snprintf(sql, sizeof sql, "SELECT id FROM jobs ORDER BY row DESC LIMIT %d", COMPARED_MAX);
    struct stmt *st = db_prepare(db, sql, NULL);
    size_t count = 0;
    bool row = false;
    while (st && count < COMPARED_MAX && stmt_next(st, &row, NULL) && row)
        ids[count++] = mem_strdup(stmt_get_text(st, 0));
    stmt_free(st);
    return count;
}

static bool unknown_job(struct db *db, const char *job_id, struct err *err)
{
    char **ids = mem_array(NULL, COMPARED_MAX, sizeof *ids);
    size_t count = newest_ids(db, ids);
    const char *near = nearest_name(job_id, (const char *const *)ids, count);
    char listed[NAMED_MAX * 130] = "";
    for (size_t i = 0; i < count && i < NAMED_MAX; i++)
        snprintf(listed + strlen(listed), sizeof listed - strlen(listed), "%s%s", i ? ", " : "", ids[i]);

    if (count == 0)
        err_set(err, ERR_USAGE, "there is no job %s (%s): no job was run with this database yet", job_id, db_path(db));
    else if (near)
        err_set(err, ERR_USAGE, "there is no job %s (%s): did you mean %s? The newest are %s", job_id, db_path(db),
                near, listed);
    else
        err_set(err, ERR_USAGE, "there is no job %s (%s): the newest are %s", job_id, db_path(db), listed);
    for (size_t i = 0; i < count; i++)
        free(ids[i]);
    free(ids);
    return false;
}

bool job_rows_possible(struct db *db, const char *job_id, int64_t first_row, int64_t planned, int64_t width,
                       struct err *err)
{
    const int64_t rows = INT64_MAX / ATTEMPTS_PER_EXECUTION / 2;
    return (first_row > 0 && first_row <= rows && planned > 0 && planned <= rows / 2 && width > 0 &&
            width <= planned) ||
           err_set(err, ERR_STORE, "job %s has %lld executions, %lld of each question, from row %lld on, which cannot"
                   " be (%s): restore a copy", job_id, (long long)planned, (long long)width, (long long)first_row,
                   db_path(db));
}

#define JOB_COLUMNS "SELECT id, first_row, planned, state, owner_pid, owner_start, owner_boot, width FROM jobs"

bool job_find(struct db *db, const char *job_id, struct job_found *out, struct err *err)
{
    bool last = strcmp(job_id, "last") == 0;
    struct stmt *st =
        db_prepare(db, last ? JOB_COLUMNS " ORDER BY row DESC LIMIT 1" : JOB_COLUMNS " WHERE id = ?1", err);
    if (!st)
        return false;
    if (!last)
        stmt_text(st, 1, job_id);
    bool row;
    bool ok = stmt_next(st, &row, err);
    if (ok && row) {
        const char *boot = stmt_get_text(st, 6);
        struct job_found found = {
            .first_row = stmt_get_int(st, 1),
            .planned = stmt_get_int(st, 2),
            .owner = {.pid = stmt_get_int(st, 4), .start = stmt_get_int(st, 5)},
        };
        snprintf(found.id, sizeof found.id, "%s", stmt_get_text(st, 0));
        snprintf(found.owner.boot, sizeof found.owner.boot, "%s", boot ? boot : "");
        if (!job_state_parse(stmt_get_text(st, 3), &found.state))
            ok = err_set(err, ERR_STORE, "job %s has a state this program does not know (%s): use a newer program",
                         found.id, db_path(db));
        else
            ok = job_rows_possible(db, found.id, found.first_row, found.planned, stmt_get_int(st, 7), err);
        if (ok)
            *out = found;
    }
    stmt_free(st);
    if (ok && !row)
        return unknown_job(db, job_id, err);
    return ok;
}
