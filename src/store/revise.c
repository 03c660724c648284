#include "store/revise.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/timeutil.h"
#include "store/accept.h"

struct revise *revise_copy(const struct revise *r)
{
    struct revise *copy = mem_alloc(sizeof *copy);
    *copy = (struct revise){
        .table = r->table, .author = mem_strdup(r->author), .reason = mem_strdup(r->reason),
        .action = mem_strdup(r->action), .target = mem_strdup(r->target), .before = mem_strdup(r->before),
        .after = mem_strdup(r->after)};
    return copy;
}

void revise_free(struct revise *r)
{
    if (!r)
        return;
    const char *texts[] = {r->author, r->reason, r->action, r->target, r->before, r->after};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        free((char *)(uintptr_t)texts[i]);
    free(r);
}

static bool log_action(struct db *db, const struct revise *r, struct err *err)
{
    struct stmt *st = db_prepare(db, "INSERT INTO control_log(at, author, action, target, before, after, reason)"
                                     " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)", err);
    if (!st)
        return false;
    stmt_real(st, 1, unix_now_s());
    stmt_text(st, 2, r->author);
    stmt_text(st, 3, r->action);
    stmt_text(st, 4, r->target);
    stmt_text(st, 5, r->before);
    stmt_text(st, 6, r->after);
    stmt_text(st, 7, r->reason);
    bool ok = stmt_run(st, err);
    stmt_free(st);
    return ok;
}

bool revise(struct db *db, const struct revise *r, int64_t *revision, struct err *err)
{
    int64_t recorded = 0;
    if (!db_begin(db, err))
        return false;
    if ((!r->table || record_revision(db, r->table, r->author, r->reason, &recorded, err)) &&
        (!r->action || log_action(db, r, err)) && db_commit(db, err)) {
        *revision = recorded;
        return true;
    }
    db_rollback(db);
    return false;
}
