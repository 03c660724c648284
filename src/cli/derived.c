#include "cli/derived.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/arena.h"
#include "base/mem.h"
#include "host/kept.h"

const char *const derived_words[DERIVED_KINDS] = {"grade", "embed"};

/* What was said of one answer. */
struct said {
    double sum;        /* of grades that can be read */
    uint32_t grades;
    uint32_t number;   /* the execution with its embedding, from 1; 0: none */
    bool given;        /* to the analysis */
};

struct side {
    const char *id;    /* NULL: there is no such job */
    uint32_t *about;   /* by execution of the job: the place in said, from 1; 0: nothing was asked about it */
    struct said *said;
    size_t count;
    int64_t unread;    /* replies out of which no grade can be read */
    struct job_file *rubric;
};

struct derived {
    struct arena arena;
    struct reader *reader;
    uint32_t planned;  /* executions of the job */
    struct side sides[DERIVED_KINDS];
    struct side *side; /* that is being read */
    struct err err;
    bool ok;
};

/* ---- which jobs ---- */

static void copy(char *out, size_t size, struct str text)
{
    snprintf(out, size, "%.*s", (int)text.len, text.ptr ? text.ptr : "");
}

static bool take_about(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct derived_job *out = ctx;
    (void)columns;
    (void)names;
    copy(out->of, sizeof out->of, v[0].text);
    copy(out->kind, sizeof out->kind, v[1].text);
    return false;
}

bool derived_about(struct reader *reader, const char *job_id, struct derived_job *out, struct err *err)
{
    const char *bind[] = {job_id};
    *out = (struct derived_job){.of = ""};
    return reader_sql(reader, "SELECT coalesce(spec->>'$.derived.of', ''), coalesce(spec->>'$.derived.kind', '')\n"
                              "FROM jobs WHERE id = ?1", bind, 1, 0, take_about, out, err);
}

static bool take_id(void *ctx, int columns, const char *const *names, const struct value *v)
{
    (void)columns;
    (void)names;
    copy(ctx, 128, v[0].text);
    return false;
}

bool derived_newest(struct reader *reader, const char *of, enum derived_kind kind, char id[128], struct err *err)
{
    const char *bind[] = {of, derived_words[kind]};
    *id = '\0';
    return reader_sql(reader, "SELECT id FROM jobs WHERE ended_at IS NOT NULL AND spec->>'$.derived.of' = ?1\n"
                              "  AND spec->>'$.derived.kind' = ?2 ORDER BY row DESC LIMIT 1", bind, 2, 0, take_id, id,
                      err);
}

/* ---- what they say ---- */

static bool take_planned(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct derived *d = ctx;
    (void)columns;
    (void)names;
    d->planned = (uint32_t)v[0].integer;
    return false;
}

/* A question of theirs is an answer; its metadata names the executions that gave it. */
static bool take_question(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct derived *d = ctx;
    struct side *s = d->side;
    (void)columns;
    (void)names;
    cJSON *metadata = cJSON_ParseWithLength(v[0].text.ptr, v[0].text.len);
    const cJSON *one;
    s->said = mem_array(s->said, s->count + 1, sizeof *s->said);
    s->said[s->count++] = (struct said){0};
    cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(metadata, "executions"))
        if (cJSON_IsNumber(one) && one->valuedouble >= 1 && one->valuedouble <= d->planned)
            s->about[(size_t)one->valuedouble - 1] = (uint32_t)s->count;
    cJSON_Delete(metadata);
    return true;
}

static bool take_reply(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct derived *d = ctx;
    struct side *s = d->side;
    size_t at = (size_t)v[0].integer - 1;
    double grade;
    (void)columns;
    (void)names;
    if (at >= s->count)
        return true;
    if (!s->rubric) {
        s->said[at].number = s->said[at].number ? s->said[at].number : (uint32_t)v[1].integer;
        return true;
    }
    d->ok = job_file_score(s->rubric, &job_file_spec(s->rubric)->questions[at], v[2].text, &grade, &d->err);
    if (d->ok && isnan(grade))
        s->unread++;
    if (d->ok && !isnan(grade)) {
        s->said[at].sum += grade;
        s->said[at].grades++;
    }
    return d->ok || err_prefix(&d->err, "the rubric of %s failed, --grades none does without: ", s->id);
}

static bool read_side(struct derived *d, struct side *s, struct err *err)
{
    const char *bind[] = {s->id};
    d->side = s;
    d->ok = true;
    s->about = mem_zalloc((d->planned + (size_t)1) * sizeof *s->about);
    if (!reader_sql(d->reader, "SELECT metadata FROM questions WHERE job_id = ?1 ORDER BY position", bind, 1, 0,
                    take_question, d, err) ||
        !reader_sql(d->reader, s->rubric
                    ? "SELECT question, number, answer FROM executions WHERE job_id = ?1 AND status = 'succeeded'\n"
                      "  AND answer IS NOT NULL ORDER BY question, cell"
                    : "SELECT question, number FROM executions WHERE job_id = ?1 AND status = 'succeeded'\n"
                      "  AND answer IS NOT NULL ORDER BY question, cell", bind, 1, 0, take_reply, d, err))
        return false;
    if (!d->ok)
        *err = d->err;
    return d->ok;
}

static bool read_grades(struct derived *d, const struct script_limits *limits, struct err *err)
{
    struct side *s = &d->sides[DERIVED_GRADE];
    struct kept_job again = {0};
    struct kept *kept = kept_load_file(d->reader, s->id, limits, &again, err);
    if (!kept)
        return err_prefix(err, "the script of %s, --grades none does without: ", s->id);
    bool ok = job_file_scores(again.file) ||
              err_set(err, ERR_CONFIG, "%s has no scorer that reads its replies (score): use --grades none", s->id);
    s->rubric = again.file;
    ok = ok && read_side(d, s, err);
    s->rubric = NULL;
    kept_free(kept, &again);
    return ok;
}

struct derived *derived_load(struct reader *reader, const struct derived_options *o, struct err *err)
{
    struct derived *d = mem_zalloc(sizeof *d);
    const char *bind[] = {o->job_id};
    d->reader = reader;
    arena_init(&d->arena);
    for (int i = 0; i < DERIVED_KINDS; i++)
        d->sides[i].id = *o->ids[i] ? arena_strdup(&d->arena, o->ids[i]) : NULL;
    if (reader_sql(reader, "SELECT planned FROM jobs WHERE id = ?1", bind, 1, 0, take_planned, d, err) &&
        (!d->sides[DERIVED_GRADE].id || read_grades(d, o->limits, err)) &&
        (!d->sides[DERIVED_EMBED].id || read_side(d, &d->sides[DERIVED_EMBED], err)))
        return d;
    derived_free(d);
    return NULL;
}

void derived_free(struct derived *d)
{
    if (!d)
        return;
    for (int i = 0; i < DERIVED_KINDS; i++) {
        free(d->sides[i].about);
        free(d->sides[i].said);
    }
    arena_done(&d->arena);
    free(d);
}

/* ---- for the analysis ---- */

static bool take_models(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct buf *out = ctx;
    (void)columns;
    (void)names;
    buf_add(out, v[0].text.ptr, v[0].text.len);
    return false;
}

bool derived_tell(const struct derived *d, struct analysis *a, struct err *err)
{
    bool ok = true;
    for (int i = 0; i < DERIVED_KINDS && ok; i++) {
        const struct side *s = &d->sides[i];
        const char *bind[] = {s->id};
        struct buf models;
        if (!s->id)
            continue;
        buf_init(&models, 4096);
        ok = reader_sql(d->reader, "SELECT group_concat(DISTINCT model_id) FROM job_cells WHERE job_row =\n"
                                   "  (SELECT row FROM jobs WHERE id = ?1)", bind, 1, 0, take_models, &models, err);
        const struct analysis_value row[] = {
            {.name = "kind", .type = ANALYSIS_TEXT, .text = str_from(derived_words[i])},
            {.name = "job_id", .type = ANALYSIS_TEXT, .text = str_from(s->id)},
            {.name = "model_id", .type = ANALYSIS_TEXT, .text = buf_str(&models)},
            {.name = "unread", .type = ANALYSIS_INTEGER, .integer = s->unread},
        };
        ok = ok && analysis_add(a, "derived", ARRAY_LEN(row), row, err);
        buf_done(&models);
    }
    return ok;
}

bool derived_tell_unused(struct reader *reader, const char *const jobs[2], struct analysis *a, struct err *err)
{
    char id[128];
    for (int i = 0; i < 2 * DERIVED_KINDS; i++) {
        if (!derived_newest(reader, jobs[i / DERIVED_KINDS], (enum derived_kind)(i % DERIVED_KINDS), id, err))
            return false;
        const struct analysis_value row = {.name = "job_id", .type = ANALYSIS_TEXT, .text = str_from(id)};
        if (*id && !analysis_add(a, "unused", 1, &row, err))
            return false;
    }
    return true;
}

/* What was said of the execution; NULL: nothing. */
static struct said *said_of(const struct derived *d, enum derived_kind kind, struct str id)
{
    const struct side *s = &d->sides[kind];
    size_t digits = 0, number = 0;
    while (digits < id.len && id.ptr[id.len - 1 - digits] != '.') /* JOB.NUMBER */
        digits++;
    for (; digits > 0; digits--)
        number = number * 10 + (size_t)(id.ptr[id.len - digits] - '0');
    uint32_t place = s->about && number >= 1 && number <= d->planned ? s->about[number - 1] : 0;
    return place ? &s->said[place - 1] : NULL;
}

void derived_add(const struct derived *d, struct str id, struct analysis_value *row, int *count)
{
    const struct said *grade = said_of(d, DERIVED_GRADE, id), *vector = said_of(d, DERIVED_EMBED, id);
    if (grade && grade->grades)
        row[(*count)++] = (struct analysis_value){.name = "grade", .type = ANALYSIS_REAL,
                                                  .real = grade->sum / grade->grades};
    if (vector && vector->number)
        row[(*count)++] = (struct analysis_value){.name = "vector", .type = ANALYSIS_INTEGER,
                                                  .integer = vector->number};
}

struct giving {
    struct analysis *analysis;
    int64_t number;
    struct err *err;
    bool ok;
};

static bool take_vector(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct giving *g = ctx;
    (void)columns;
    (void)names;
    const struct analysis_value row[] = {
        {.name = "number", .type = ANALYSIS_INTEGER, .integer = g->number},
        {.name = "vector", .type = ANALYSIS_TEXT, .text = v[0].text},
    };
    g->ok = analysis_add(g->analysis, "vector", ARRAY_LEN(row), row, g->err);
    return false;
}

bool derived_give_vector(struct derived *d, struct str id, struct analysis *a, struct err *err)
{
    struct said *said = said_of(d, DERIVED_EMBED, id);
    if (!said || !said->number || said->given)
        return true;
    char number[24];
    const char *bind[] = {d->sides[DERIVED_EMBED].id, number};
    struct giving g = {a, said->number, err, true};
    snprintf(number, sizeof number, "%u", said->number);
    said->given = true;
    return reader_sql(d->reader, "SELECT answer FROM executions WHERE job_id = ?1 AND number = CAST(?2 AS INTEGER)\n"
                                 "  AND question = (CAST(?2 AS INTEGER) - 1)\n"
                                 "  / (SELECT width FROM jobs WHERE id = ?1) + 1",
                      bind, 2, 0, take_vector, &g, err) && g.ok;
}
