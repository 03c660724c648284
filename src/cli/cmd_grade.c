/* `canvass grade` and `canvass embed`: a new job whose questions are the answers of another, run like any job. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/derived.h"
#include "cli/inputs.h"
#include "cli/log_options.h"
#include "cli/output.h"
#include "cli/runner.h"
#include "host/files.h"
#include "script/builtin.h"

enum {
    ANSWERS_BYTES = 256 << 20, /* as much as a script may read */
    SCRIPT_BYTES = 16 << 10,
    ID_BYTES = 180,            /* of a question, in the ids made of it */
    NAME_BYTES = 100,
};

/* An answer and the executions that gave it, word for word: they are asked about once. */
struct distinct {
    struct str answer;
    struct buf executions; /* 3,17,29 */
};

struct gathering {
    enum derived_kind kind;
    struct reader *reader;
    const char *job_id;
    struct buf lines;      /* answers.jsonl */
    struct arena arena;    /* of one question */
    struct map seen;
    struct distinct *list;
    size_t count, questions;
    struct err err;
    bool ok;
};

/* ---- the answers ---- */

static bool is_blank(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!strchr(" \t\r\n", s.ptr[i]) || !s.ptr[i])
            return false;
    return true;
}

static bool take_answer(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct gathering *g = ctx;
    uint32_t at;
    (void)columns;
    (void)names;
    if (g->kind == DERIVED_EMBED && is_blank(v[1].text)) /* there is nothing to embed */
        return true;
    bool known = map_get(&g->seen, v[1].text, &at);
    if (!known) {
        at = (uint32_t)g->count++;
        g->list = mem_array(g->list, g->count, sizeof *g->list);
        g->list[at] = (struct distinct){.answer = arena_str(&g->arena, v[1].text)};
        buf_init(&g->list[at].executions, ANSWERS_BYTES);
        map_add(&g->seen, g->list[at].answer, at);
    }
    buf_addf(&g->list[at].executions, "%s%" PRId64, known ? "," : "", v[0].integer);
    return true;
}

/* The question's id, cut where ids made of it would be too long. */
static void add_id(struct gathering *g, struct str question, size_t n)
{
    char *id;
    size_t len = question.len < ID_BYTES ? question.len : ID_BYTES;
    while (len < question.len && ((unsigned char)question.ptr[len] & 0xc0) == 0x80)
        len--;
    if (len < question.len)
        id = mem_printf("%.*s~%zu#%zu", (int)len, question.ptr, g->questions, n);
    else
        id = mem_printf("%.*s#%zu", (int)len, question.ptr, n);
    text_add_json(&g->lines, str_from(id));
    free(id);
}

static void write_answers(struct gathering *g, const struct value *question)
{
    struct buf *out = &g->lines;
    for (size_t i = 0; i < g->count; i++) {
        buf_adds(out, "{\"id\":");
        add_id(g, question[0].text, i + 1);
        buf_adds(out, ",\"question\":");
        text_add_json(out, question[0].text);
        buf_adds(out, ",\"prompt\":");
        text_add_json(out, g->kind == DERIVED_EMBED ? g->list[i].answer : question[1].text);
        if (g->kind == DERIVED_GRADE) {
            buf_adds(out, ",\"answer\":");
            text_add_json(out, g->list[i].answer);
        }
        if (g->kind == DERIVED_GRADE && question[2].type == VALUE_TEXT)
            buf_addf(out, ",\"expected\":%s", question[2].text.ptr);
        buf_addf(out, ",\"executions\":[%s]}\n", buf_str(&g->list[i].executions).ptr);
        buf_done(&g->list[i].executions);
    }
}

static const char answer_sql[] =
    "SELECT number, answer FROM executions WHERE job_id = ?1 AND question = CAST(?2 AS INTEGER)\n"
    "  AND status = 'succeeded' AND answer IS NOT NULL ORDER BY cell";

static bool take_question(void *ctx, int columns, const char *const *names, const struct value *v)
{
    struct gathering *g = ctx;
    const char *bind[] = {g->job_id, v[3].text.ptr};
    (void)columns;
    (void)names;
    arena_init(&g->arena);
    map_init(&g->seen);
    g->count = 0;
    g->questions++;
    g->ok = reader_sql(g->reader, answer_sql, bind, 2, 0, take_answer, g, &g->err);
    write_answers(g, v);
    map_done(&g->seen);
    arena_done(&g->arena);
    return g->ok && !g->lines.full;
}

/* One line of JSON for each answer that differs from the others to its question. */
static bool gather(struct gathering *g, struct err *err)
{
    const char *bind[] = {g->job_id}, *verb = derived_words[g->kind];
    if (!reader_sql(g->reader, "SELECT id, prompt, expected, CAST(position AS TEXT) FROM questions WHERE job_id = ?1"
                               " ORDER BY position", bind, 1, 0, take_question, g, err))
        return false;
    free(g->list);
    if (!g->ok)
        *err = g->err;
    else if (g->lines.full)
        return err_set(err, ERR_USAGE, "the answers are more than %d MiB (%s): put fewer questions into one job",
                       ANSWERS_BYTES >> 20, g->job_id);
    else if (!g->lines.len)
        return err_set(err, ERR_USAGE, "there is no answer to %s (%s): see canvass show %s, and ask again with canvass "
                       "resume or retry", verb, g->job_id, g->job_id);
    return g->ok;
}

/* ---- the job's files ---- */

struct made {
    struct buf script;
    char *rubric, *rubric_name;
    struct source_file files[3];
    struct sources sources;
};

static bool read_rubric(struct made *m, const char *path, struct err *err)
{
    const struct builtin *usual = builtin_find("canvass.grading.rubric");
    const char *base = path && strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    size_t len = base ? strlen(base) : 0;
    if (!path) { /* a copy: the job stays what it is when the program's own changes */
        m->rubric = mem_strndup(usual->text, usual->len);
        m->rubric_name = mem_strdup("usual");
        return true;
    }
    if (len < 5 || strcmp(base + len - 4, ".lua") != 0 || !text_is_name((struct str){base, len - 4}, "_-", 100))
        return err_set(err, ERR_USAGE, "not a rubric's name (--rubric %.200s): use letters, digits, _ and -, with "
                       ".lua at its end", path);
    m->rubric = file_text(path, err);
    m->rubric_name = mem_strndup(base, len - 4);
    return m->rubric && (*m->rubric || err_set(err, ERR_CONFIG, "the rubric is empty, or is not there (--rubric "
                                               "%.200s): name a Lua file that returns one", path));
}

static void add_option(struct buf *out, const char *name, const char *value)
{
    if (!value)
        return;
    buf_addf(out, "  %s = ", name);
    text_add_json(out, str_from(value)); /* which is Lua too, where nothing in it is a control character */
    buf_adds(out, ",\n");
}

static bool make_files(const struct args *args, const struct gathering *g, struct made *m, struct err *err)
{
    const char *word = derived_words[g->kind], *by = args_text(args, "by"), *region = args_text(args, "in");
    bool grades = g->kind == DERIVED_GRADE;
    char *name = mem_printf("%.*s-%s", NAME_BYTES - 6, g->job_id, word);
    buf_init(&m->script, SCRIPT_BYTES);
    buf_addf(&m->script, "-- made by canvass %s %s\nreturn require(\"canvass.grading\").%s(canvass.jsonl "
             "\"answers.jsonl\", {\n", word, g->job_id, word);
    add_option(&m->script, "name", name);
    add_option(&m->script, "of", g->job_id);
    add_option(&m->script, "by", by);
    add_option(&m->script, "region", region);
    free(name);
    if (text_has_control(str_from(by)) || (region && text_has_control(str_from(region))) || m->script.full)
        return err_set(err, ERR_USAGE, "--by and --in name no model and region (canvass %s): write them as the region "
                       "table does", word);
    if (grades && !read_rubric(m, args_text(args, "rubric"), err))
        return false;
    if (grades)
        buf_addf(&m->script, "  rubric = require \"rubric.%s\", file = \"rubric/%s.lua\",\n", m->rubric_name,
                 m->rubric_name);
    buf_adds(&m->script, "})\n");
    m->files[m->sources.count++] = (struct source_file){grades ? "grade.lua" : "embed.lua", buf_str(&m->script)};
    m->files[m->sources.count++] = (struct source_file){"answers.jsonl", buf_str(&g->lines)};
    if (grades) {
        char *file = mem_printf("rubric/%s.lua", m->rubric_name);
        free(m->rubric_name);
        m->rubric_name = file;
        m->files[m->sources.count++] = (struct source_file){file, str_from(m->rubric)};
    }
    m->sources.files = m->files;
    return true;
}

static void made_done(struct made *m)
{
    buf_done(&m->script);
    free(m->rubric);
    free(m->rubric_name);
}

/* ---- the command ---- */

/* What is asked about an answer is asked in one place. */
static bool one_endpoint(const struct inputs *in, struct err *err)
{
    struct plan *plan = plan_make(job_file_spec(in->file), in->table, err);
    struct buf names;
    if (!plan)
        return false;
    buf_init(&names, 512);
    for (uint32_t i = 0; i < plan->endpoint_count; i++)
        buf_addf(&names, "%s%s", i ? ", " : "", plan_endpoint(plan, i)->id);
    bool ok = plan->endpoint_count == 1 ||
              err_set(err, ERR_USAGE, "the model is in %u regions (%s): say which with --in REGION",
                      plan->endpoint_count, buf_str(&names).ptr);
    buf_done(&names);
    plan_free(plan);
    return ok;
}

static int run_made(const struct args *args, const struct gathering *g, struct err *err)
{
    struct inputs in;
    struct made made = {0};
    bool loaded = make_files(args, g, &made, err) && inputs_load_made(args, &made.sources, &in, err);
    int status = loaded && one_endpoint(&in, err)
                     ? runner_run(args, &(struct runner){.table = in.table, .file = in.file})
                     : complain(err);
    if (loaded)
        inputs_done(&in);
    made_done(&made);
    return status;
}

static bool may_be_asked_about(struct reader *reader, const char *word, enum derived_kind kind,
                               struct job_summary *job, struct err *err)
{
    struct derived_job about;
    if (!reader_job(reader, word, job, err) || !derived_about(reader, job->id, &about, err))
        return false;
    if (*about.of)
        return err_set(err, ERR_USAGE, "%s is itself about the answers of %s (canvass %s): name that job", job->id,
                       about.of, derived_words[kind]);
    return job_state_is_final(job->state) ||
           err_set(err, ERR_USAGE, "%s has not ended (canvass %s): wait for it, or go on with it by canvass resume %s",
                   job->id, derived_words[kind], job->id);
}

static int run(const struct args *args, enum derived_kind kind)
{
    struct err err;
    struct job_summary job;
    struct gathering g = {.kind = kind, .ok = true, .job_id = job.id};
    buf_init(&g.lines, ANSWERS_BYTES);
    if (!runner_setup(args, &err))
        return complain(&err);
    if (!args_text(args, "by")) {
        err_set(&err, ERR_USAGE, "no model (canvass %s): say --by MODEL, one of the region table", derived_words[kind]);
        return complain(&err);
    }
    g.reader = reader_open(args_text(args, "db"), &err);
    bool ok = g.reader && may_be_asked_about(g.reader, args->words[0], kind, &job, &err) && gather(&g, &err);
    reader_close(g.reader);
    int status = ok ? run_made(args, &g, &err) : complain(&err);
    buf_done(&g.lines);
    return status;
}

static int run_grade(const struct args *args)
{
    return run(args, DERIVED_GRADE);
}

static int run_embed(const struct args *args)
{
    return run(args, DERIVED_EMBED);
}

#define ABOUT_OPTIONS \
    {.name = "by", .value = "MODEL", .help = "the model that is asked, of the region table"}, \
    {.name = "in", .value = "REGION", .help = "where it is asked, if it is in several regions"}, \
    MADE_OPTIONS, \
    OPTION_DB, \
    RUNNER_OPTIONS, \
    OPTION_JSON

static const struct option_spec grade_options[] = {
    {.name = "rubric", .value = "FILE.lua", .help = "what is asked about an answer, and how a reply is read"},
    ABOUT_OPTIONS,
    {.name = NULL},
};

static const struct option_spec embed_options[] = {
    ABOUT_OPTIONS,
    {.name = NULL},
};

const struct command command_grade = {
    .name = "grade",
    .words = "JOB",
    .summary = "have a model grade the answers of a job",
    .details =
        "Makes a job of its own, whose questions are the answers of JOB, and runs it as `canvass run` does:\n"
        "what holds for any job holds for it. Answers to one question that are the same word for word are graded\n"
        "once. The model sees the question, what is expected and the answer; never the region or the model it\n"
        "comes from. `canvass report JOB` then compares the grades between regions. JOB may be `last`.\n\n"
        "The model is best put into the region table as an endpoint with reserved = true, which no other job\n"
        "asks unless it names it. A rubric is a Lua file that says what is asked, and how a reply is read.\n\n"
        "exit status: " RUNNER_EXITS,
    .examples = "  canvass grade last --by judge --regions regions.lua\n"
                "  canvass grade study-1 --by judge --in us --rubric strict.lua --samples 3 --regions regions.lua",
    .words_min = 1,
    .words_max = 1,
    .options = grade_options,
    .run = run_grade,
};

const struct command command_embed = {
    .name = "embed",
    .words = "JOB",
    .summary = "take embeddings of the answers of a job",
    .details =
        "Makes a job of its own, whose prompts are the answers of JOB, and runs it as `canvass run` does. The\n"
        "model's endpoint has adapter = \"embeddings\". Answers to one question that are the same word for\n"
        "word are sent once, blank ones not at all. `canvass report JOB` then compares how alike the answers are in\n"
        "meaning, within regions and between them. JOB may be `last`.\n\n"
        "exit status: " RUNNER_EXITS,
    .examples = "  canvass embed last --by embedder --regions regions.lua",
    .words_min = 1,
    .words_max = 1,
    .options = embed_options,
    .run = run_embed,
};
