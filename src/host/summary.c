#include "host/summary.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

/* Of each list: a table has at most so many regions, and its endpoints fail in so many ways. */
enum { LINES_MAX = 4096 };

#define JOB(column) "(SELECT " column " FROM jobs WHERE id = ?1)"

static const char region_sql[] =
    "SELECT region, count(*) * " JOB("planned / width") " FROM job_cells WHERE job_row = " JOB("row")
    " GROUP BY region ORDER BY min(position)";

/* Mostly few, and then cheaper than to group all that went well. */
static const char rest_sql[] =
    "SELECT endpoint, status, coalesce(class, ''), max(error), count(*), region FROM executions WHERE job_id = ?1"
    " AND status <> 'succeeded' GROUP BY 1, 2, 3 ORDER BY count(*) DESC, 1, 2, 3";

static const char *keep(struct summary *s, const struct value *v)
{
    return v->type == VALUE_TEXT ? arena_strndup(&s->arena, v->text.ptr, v->text.len) : "";
}

static bool add_region(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct summary *s = ctx;
    (void)columns;
    (void)names;
    s->regions = mem_array(s->regions, s->region_count + 1, sizeof *s->regions);
    s->regions[s->region_count++] =
        (struct region_line){.id = keep(s, &v[0]), .planned = v[1].integer, .succeeded = v[1].integer};
    return s->region_count < LINES_MAX;
}

static void take_from_region(struct summary *s, struct str region, enum status status, int64_t count)
{
    for (size_t i = 0; i < s->region_count; i++) {
        struct region_line *r = &s->regions[i];
        if (!str_is(region, r->id))
            continue;
        r->succeeded -= count;
        r->failed += status == STATUS_FAILED ? count : 0;
        r->cancelled += status == STATUS_CANCELLED ? count : 0;
        r->skipped += status == STATUS_SKIPPED ? count : 0;
    }
}

static bool add_rest(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct summary *s = ctx;
    (void)columns;
    (void)names;
    struct failure_line line = {keep(s, &v[0]), keep(s, &v[1]), keep(s, &v[2]), keep(s, &v[3]), v[4].integer};
    enum status status;
    if (!status_parse(line.status, &status))
        return true;
    take_from_region(s, v[5].text, status, line.count);
    if (!status_is_final(status) || s->failure_count == LINES_MAX)
        return true;
    s->failures = mem_array(s->failures, s->failure_count + 1, sizeof *s->failures);
    s->failures[s->failure_count++] = line;
    return true;
}

static const char warm_sql[] =
    "SELECT endpoint, kind, status, coalesce(class, ''), coalesce(error, ''), ended_at - started_at FROM warmups"
    " WHERE job_id = ?1 ORDER BY row";

static bool add_warm_up(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct summary *s = ctx;
    (void)columns;
    (void)names;
    s->warm_ups = mem_array(s->warm_ups, s->warm_count + 1, sizeof *s->warm_ups);
    s->warm_ups[s->warm_count++] = (struct warm_line){keep(s, &v[0]), keep(s, &v[1]), keep(s, &v[2]), keep(s, &v[3]),
                                                      keep(s, &v[4]), v[5].type == VALUE_REAL ? v[5].real : NAN};
    return s->warm_count < LINES_MAX;
}

struct summary *summary_load(struct reader *reader, const char *job_id, struct err *err)
{
    struct summary *s = mem_zalloc(sizeof *s);
    arena_init(&s->arena);
    const char *bind[] = {s->job.id};
    if (reader_job(reader, job_id, &s->job, err) &&
        reader_sql(reader, region_sql, bind, 1, 0, add_region, s, err) &&
        (s->job.by_status[STATUS_SUCCEEDED] == s->job.planned ||
         reader_sql(reader, rest_sql, bind, 1, 0, add_rest, s, err)) &&
        (s->job.warm_ups == 0 || reader_sql(reader, warm_sql, bind, 1, 0, add_warm_up, s, err)))
        return s;
    summary_free(s);
    return NULL;
}

void summary_free(struct summary *s)
{
    if (!s)
        return;
    arena_done(&s->arena);
    free(s->regions);
    free(s->failures);
    free(s->warm_ups);
    free(s);
}
