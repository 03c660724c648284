#include "store/accept.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/timeutil.h"
#include "store/owner.h"
#include "store/schema.h"

enum { SPEC_MAX_BYTES = 16 * 1024 * 1024 };

static void add_member(struct buf *json, const char *name)
{
    buf_addc(json, json->len > 1 ? ',' : '{');
    text_add_json(json, str_from(name));
    buf_addc(json, ':');
}

static void add_names(struct buf *json, const char *const *names, size_t count)
{
    buf_addc(json, '[');
    for (size_t i = 0; i < count; i++) {
        if (i)
            buf_addc(json, ',');
        text_add_json(json, str_from(names[i]));
    }
    buf_addc(json, ']');
}

static void add_models(struct buf *json, const struct job_spec *job)
{
    buf_addc(json, '[');
    for (size_t i = 0; i < job->model_count; i++) {
        const struct model_choice *m = &job->models[i];
        buf_adds(json, i ? ",{\"id\":" : "{\"id\":");
        text_add_json(json, str_from(m->model));
        if (m->regions) {
            buf_adds(json, ",\"regions\":");
            add_names(json, m->regions, m->region_count);
        }
        buf_addc(json, '}');
    }
    buf_addc(json, ']');
}

/* The job as it was asked for, names as written: an empty list of models or regions means all. */
static bool write_spec(struct buf *json, const struct job_spec *job, struct err *err)
{
    add_member(json, "name");
    text_add_json(json, str_from(job->name));
    add_member(json, "policy");
    text_add_json(json, str_from(job->policy));
    add_member(json, "models");
    add_models(json, job);
    add_member(json, "regions");
    add_names(json, job->regions, job->region_count);
    add_member(json, "parameters");
    buf_adds(json, job->parameters ? job->parameters : "{}");
    add_member(json, "samples");
    buf_addf(json, "%u", job->samples);
    add_member(json, "in_flight");
    buf_addf(json, "%u", job->in_flight);
    add_member(json, "timeout_s");
    if (job->timeout_us)
        buf_addf(json, "%.6g", (double)job->timeout_us / (double)SECOND_US);
    else
        buf_adds(json, "null");
    add_member(json, "on_missing");
    buf_adds(json, job->on_missing == ON_MISSING_SKIP ? "\"skip\"" : "\"wait\"");
    add_member(json, "warm");
    buf_adds(json, job->warm ? "true" : "false");
    add_member(json, "scored");
    buf_adds(json, job->scored ? "true" : "false");
    add_member(json, "settings");
    buf_adds(json, job->settings ? job->settings : "{}");
    add_member(json, "questions");
    if (job->question_list)
        text_add_json(json, str_from(job->question_list));
    else
        buf_adds(json, "null");
    if (job->derived_of) {
        add_member(json, "derived");
        buf_adds(json, "{\"of\":");
        text_add_json(json, str_from(job->derived_of));
        buf_addf(json, ",\"kind\":\"%s\"}", job->derived_kind);
    }
    buf_addc(json, '}');
    return !json->full || err_set(err, ERR_CONFIG,
                                  "the job's description is longer than %d MiB (%s): make its parameters "
                                  "and settings shorter",
                                  SPEC_MAX_BYTES / 1024 / 1024, job->name);
}

/* The smallest number the name has free. The write lock is held, so no other process can take the same. */
static bool take_number(struct db *db, const char *name, int64_t *number, struct err *err)
{
    struct stmt *st = db_prepare(db,
        "SELECT min(n) FROM (SELECT 1 AS n UNION ALL SELECT number + 1 FROM jobs WHERE name = ?1)"
        " WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE name = ?1 AND number = n)", err);
    if (!st)
        return false;
    bool row;
    stmt_text(st, 1, name);
    bool ok = stmt_next(st, &row, err);
    if (ok)
        *number = stmt_get_int(st, 0);
    stmt_free(st);
    return ok;
}

/* position, name, text of each file, for the row of their owner. */
static bool insert_files(struct db *db, const char *sql, const struct source_file *files, size_t count,
                         const char *job_id, int64_t revision, struct err *err)
{
    struct stmt *st = db_prepare(db, sql, err);
    if (!st)
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        if (job_id)
            stmt_text(st, 1, job_id);
        else
            stmt_int(st, 1, revision);
        stmt_int(st, 2, (int64_t)i + 1);
        stmt_text(st, 3, files[i].name);
        stmt_str(st, 4, files[i].text.ptr ? files[i].text : STR(""));
        ok = stmt_run(st, err);
    }
    stmt_free(st);
    return ok;
}

static bool insert_revision(struct db *db, const struct region_table *table, const char *author, const char *reason,
                            int64_t revision, struct err *err)
{
    struct stmt *st = db_prepare(db, "INSERT INTO region_revisions(revision, hash, source, author, reason, created_at)"
                                     " VALUES (?1, ?2, ?3, ?4, ?5, ?6)", err);
    if (!st)
        return false;
    stmt_int(st, 1, revision);
    stmt_text(st, 2, table->hash);
    stmt_text(st, 3, table->source ? table->source : "");
    stmt_text(st, 4, author);
    stmt_text(st, 5, reason);
    stmt_real(st, 6, unix_now_s());
    bool ok = stmt_run(st, err);
    stmt_free(st);
    return ok && insert_files(db, "INSERT INTO region_files(revision, position, name, text) VALUES (?1, ?2, ?3, ?4)",
                              table->files, table->file_count, NULL, revision, err);
}

bool record_revision(struct db *db, const struct region_table *table, const char *author, const char *reason,
                     int64_t *revision, struct err *err)
{
    struct stmt *st = db_prepare(db, "SELECT revision, hash FROM region_revisions ORDER BY revision DESC LIMIT 1", err);
    if (!st)
        return false;
    bool row;
    bool ok = stmt_next(st, &row, err);
    int64_t newest = ok && row ? stmt_get_int(st, 0) : 0;
    bool same = ok && row && strcmp(stmt_get_text(st, 1), table->hash) == 0;
    stmt_free(st);
    *revision = same ? newest : newest + 1;
    return ok && (same || insert_revision(db, table, author, reason, *revision, err));
}

/* Above every row that was ever used and still has an attempt, should somebody have deleted jobs by hand. */
static bool take_rows(struct db *db, int64_t *first, struct err *err)
{
    char sql[160];
    snprintf(sql, sizeof sql, "SELECT max((SELECT coalesce(max(first_row + planned + width), 1) FROM jobs),"
             " (SELECT coalesce(max(row), 0) / %d + 1 FROM dispatches))", (int)ATTEMPTS_PER_EXECUTION);
    return db_int(db, sql, first, err);
}

static bool insert_job(struct db *db, const struct plan *plan, int64_t number, const struct submission *by,
                       const struct accepted *a, struct str spec, struct err *err)
{
    struct stmt *st = db_prepare(db,
                                 "INSERT INTO jobs(id, name, number, state, policy, created_at, timeout_s, revision,"
                                 " submitted_by, first_row, planned, width, owner, owner_pid, owner_start, owner_boot,"
                                 " spec, submission_key, submitted, control_from) VALUES (?1, ?2, ?3, 'queued',"
                                 " ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,"
                                 " (SELECT coalesce(max(id), 0) FROM control_log))",
                                 err);
    if (!st)
        return false;
    const struct job_spec *job = plan->job;
    struct owner self;
    owner_self(&self);
    char owner[128];
    owner_text(&self, owner);

    stmt_text(st, 1, a->job_id);
    stmt_text(st, 2, job->name);
    stmt_int(st, 3, number);
    stmt_text(st, 4, job->policy ? job->policy : "");
    stmt_real(st, 5, unix_now_s());
    if (job->timeout_us)
        stmt_real(st, 6, (double)job->timeout_us / (double)SECOND_US);
    stmt_int(st, 7, a->revision);
    stmt_text(st, 8, job->submitted_by ? job->submitted_by : by->author);
    stmt_int(st, 9, a->first_row);
    stmt_int(st, 10, (int64_t)plan->count);
    stmt_int(st, 11, (int64_t)plan->sample_count * plan->endpoint_count);
    stmt_text(st, 12, owner);
    stmt_int(st, 13, self.pid);
    stmt_int(st, 14, self.start);
    stmt_text(st, 15, self.boot);
    stmt_str(st, 16, spec);
    stmt_text(st, 17, by->key);
    stmt_text(st, 18, by->key_of);
    bool ok = stmt_run(st, err);
    stmt_free(st);
    return ok;
}

static bool insert_questions(struct db *db, const struct job_spec *job, const char *job_id, struct err *err)
{
    struct stmt *st = db_prepare(db, "INSERT INTO questions(job_id, id, position, prompt, expected, metadata)"
                                     " VALUES (?1, ?2, ?3, ?4, ?5, ?6)", err);
    if (!st)
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < job->question_count; i++) {
        const struct question *q = &job->questions[i];
        stmt_text(st, 1, job_id);
        stmt_text(st, 2, q->id);
        stmt_int(st, 3, (int64_t)i + 1);
        stmt_str(st, 4, q->prompt.ptr ? q->prompt : STR(""));
        stmt_text(st, 5, q->expected);
        stmt_text(st, 6, q->metadata);
        ok = stmt_run(st, err);
    }
    stmt_free(st);
    return ok;
}

/* The first question's executions, which all others repeat. */
static bool insert_cells(struct db *db, const struct plan *plan, const char *job_id, struct err *err)
{
    struct stmt *st = db_prepare(db, "INSERT INTO job_cells(job_row, position, region, model_id, sample, endpoint, url)"
                                     " VALUES ((SELECT row FROM jobs WHERE id = ?1), ?2, ?3, ?4, ?5, ?6, ?7)", err);
    if (!st)
        return false;
    bool ok = true;
    stmt_text(st, 1, job_id);
    for (uint64_t n = 0; ok && n < (uint64_t)plan->sample_count * plan->endpoint_count; n++) {
        struct cell c = plan_cell(plan, n);
        const struct endpoint_spec *e = plan_endpoint(plan, c.endpoint);
        stmt_int(st, 2, (int64_t)n);
        stmt_text(st, 3, plan->table->regions[e->region].id);
        stmt_text(st, 4, e->model);
        stmt_int(st, 5, c.sample + 1);
        stmt_text(st, 6, e->id);
        stmt_text(st, 7, e->url ? e->url : "");
        ok = stmt_run(st, err);
    }
    stmt_free(st);
    return ok;
}

/* The job that was submitted under this key before, if any. */
static bool find_repeated(struct db *db, const struct submission *by, struct accepted *out, struct err *err)
{
    if (!by->key)
        return true;
    struct stmt *st = db_prepare(db, "SELECT id, first_row, revision, submitted FROM jobs WHERE submission_key = ?1",
                                 err);
    if (!st)
        return false;
    stmt_text(st, 1, by->key);
    bool ok = stmt_next(st, &out->repeated, err);
    if (ok && out->repeated) {
        snprintf(out->job_id, sizeof out->job_id, "%s", stmt_get_text(st, 0));
        out->first_row = stmt_get_int(st, 1);
        out->revision = stmt_get_int(st, 2);
        ok = strcmp(stmt_get_text(st, 3), by->key_of) == 0 ||
             err_set(err, ERR_USAGE, "the key \"%.80s\" was used for another submission (job %s): take a new key for a "
                     "new job", by->key, out->job_id);
    }
    stmt_free(st);
    return ok;
}

static bool insert_all(struct db *db, const struct plan *plan, const struct submission *by, struct str spec,
                       struct accepted *out, struct err *err)
{
    const struct job_spec *job = plan->job;
    int64_t number;
    if (!take_number(db, job->name, &number, err))
        return false;
    int len = snprintf(out->job_id, sizeof out->job_id, "%s-%lld", job->name, (long long)number);
    if (len >= (int)sizeof out->job_id)
        return err_set(err, ERR_CONFIG, "the job's name is too long (%s): use at most %d characters", job->name,
                       (int)sizeof out->job_id - 22);
    char reason[160];
    snprintf(reason, sizeof reason, "job %s", out->job_id);
    return (out->revision || record_revision(db, plan->table, by->author, reason, &out->revision, err)) &&
           take_rows(db, &out->first_row, err) &&
           insert_job(db, plan, number, by, out, spec, err) &&
           insert_files(db, "INSERT INTO job_files(job_id, position, name, text) VALUES (?1, ?2, ?3, ?4)", job->sources,
                        job->source_count, out->job_id, 0, err) &&
           insert_questions(db, job, out->job_id, err) &&
           insert_cells(db, plan, out->job_id, err);
}

bool accept_job(struct db *db, const struct plan *plan, const struct submission *by, int64_t revision,
                struct accepted *out, struct err *err)
{
    struct buf spec;
    struct accepted a = {.revision = revision};
    buf_init(&spec, SPEC_MAX_BYTES);
    bool ok = write_spec(&spec, plan->job, err) && db_begin(db, err);
    if (ok && (!find_repeated(db, by, &a, err) ||
               (!a.repeated && !insert_all(db, plan, by, buf_str(&spec), &a, err)))) {
        db_rollback(db);
        ok = false;
    }
    ok = ok && db_commit(db, err);
    if (ok)
        *out = a;
    buf_done(&spec);
    return ok;
}
