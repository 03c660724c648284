/* POST /api/v1/jobs: a script of the server's folder, a JSON specification, or where the operator says so a script that
 * the client sends. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "host/files.h"
#include "host/logging.h"
#include "serve/internal.h"

enum { SETTINGS_MAX = 256, NAME_MAX_BYTES = 200, KEY_MAX_BYTES = 200 };

struct posted {
    const char *script, *source, *policy, *author;
    const cJSON *settings, *specification;
    struct script_setting *list;
    char **numbers;            /* texts of settings that are no texts */
    size_t count;
};

static bool add_setting(struct request *q, struct posted *p, const cJSON *item)
{
    if (!cJSON_IsString(item) && !cJSON_IsNumber(item) && !cJSON_IsBool(item)) {
        reply_problem(q->call, 400, "the setting \"%.80s\" is neither a text, a number nor a boolean", item->string);
        return false;
    }
    char *text = cJSON_IsString(item) ? mem_strdup(item->valuestring) : cJSON_PrintUnformatted(item);
    p->numbers[p->count] = text;
    p->list[p->count++] = (struct script_setting){item->string, text};
    return true;
}

static bool read_settings(struct request *q, struct posted *p)
{
    int count = cJSON_GetArraySize(p->settings);
    if (p->settings && (!cJSON_IsObject(p->settings) || count > SETTINGS_MAX)) {
        reply_problem(q->call, 400, "\"settings\" is not an object of at most %d texts", SETTINGS_MAX);
        return false;
    }
    p->list = mem_array(NULL, (size_t)count + 1, sizeof *p->list);
    p->numbers = mem_array(NULL, (size_t)count + 1, sizeof *p->numbers);
    const cJSON *item;
    cJSON_ArrayForEach(item, p->settings)
        if (!add_setting(q, p, item))
            return false;
    return true;
}

static void posted_done(struct posted *p)
{
    for (size_t i = 0; i < p->count; i++)
        free(p->numbers[i]);
    free(p->numbers);
    free(p->list);
}

/* A file of the folder of jobs: no other can be named, by no name. */
static char *script_path(struct request *q, const char *name)
{
    const char *folder = q->daemon->options->jobs_folder;
    if (!folder) {
        reply_problem(q->call, 422, "this server has no scripts: it was started without --jobs FOLDER");
        return NULL;
    }
    bool plain = text_is_name(str_from(name), "._-/", NAME_MAX_BYTES) && *name != '/' && *name != '.' &&
                 !strstr(name, "/.") && !strstr(name, "//");
    char *path = plain ? mem_printf("%s/%s", folder, name) : NULL;
    char *real = path ? realpath(path, NULL) : NULL, *real_folder = realpath(folder, NULL);
    bool inside = real && real_folder && strncmp(real, real_folder, strlen(real_folder)) == 0 &&
                  real[strlen(real_folder)] == '/';
    free(real);
    free(real_folder);
    if (inside)
        return path;
    free(path);
    reply_problem(q->call, 422, "there is no script \"%.200s\" in the server's folder of jobs", name);
    return NULL;
}

static struct job_file_options options_of(struct request *q, const struct posted *p)
{
    return (struct job_file_options){
        .limits = &q->daemon->options->limits, .settings = p->list, .setting_count = p->count, .policy = p->policy,
        .log = logging_script};
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Does it name its questions by id, instead of holding them? */
static bool names_questions(const cJSON *specification)
{
    const cJSON *wrapped = cJSON_GetObjectItemCaseSensitive(specification, "jobspec"), *one;
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(wrapped ? wrapped : specification, "questions");
    cJSON_ArrayForEach(one, list)
        if (cJSON_IsString(one))
            return true;
    return false;
}

/* As if it were a file, beside the list of questions that the operator gave. */
static struct job_file *load_text(struct request *q, const struct posted *p, const char *name, const char *text,
                                  struct err *err)
{
    const char *list = names_questions(p->specification) ? q->daemon->options->questions : NULL;
    char *questions = list ? file_text(list, err) : mem_strdup("");
    struct job_file *file = NULL;
    if (questions) {
        struct source_file files[] = {{name, str_from(text)},
                                      {list ? last_part(list) : "", str_from(questions)}};
        struct sources kept = {files, list ? 2 : 1};
        struct job_file_options options = options_of(q, p);
        options.kept = &kept;
        options.questions = list ? files[1].name : NULL;
        file = job_file_load(files[0].name, &options, err);
    }
    free(questions);
    return file;
}

/* NULL: it was answered with what is wrong. */
static struct job_file *load_posted(struct request *q, const struct posted *p)
{
    struct err err = {0};
    struct job_file *file = NULL;
    if (p->specification) {
        char *text = cJSON_PrintUnformatted(p->specification);
        file = load_text(q, p, "specification.json", text, &err);
        cJSON_free(text);
    } else if (p->source) {
        file = load_text(q, p, "job.lua", p->source, &err);
    } else {
        char *path = script_path(q, p->script);
        if (!path)
            return NULL;
        struct job_file_options options = options_of(q, p);
        file = job_file_load(path, &options, &err);
        free(path);
    }
    if (!file)
        reply_problem(q->call, 422, "%s", err.text);
    return file;
}

static bool read_posted(struct request *q, const cJSON *body, struct posted *p)
{
    *p = (struct posted){.settings = cJSON_GetObjectItemCaseSensitive(body, "settings"),
                         .specification = cJSON_GetObjectItemCaseSensitive(body, "specification")};
    if (!body_text(q, body, "script", &p->script) || !body_text(q, body, "source", &p->source) ||
        !body_text(q, body, "policy", &p->policy) ||
        !body_text(q, body, "author", &p->author))
        return false;
    if (!!p->script + !!p->specification + !!p->source != 1 ||
        (p->specification && !cJSON_IsObject(p->specification))) {
        reply_problem(q->call, 400, "name a \"script\" of the server, or give a \"specification\", an object: one of "
                      "them");
        return false;
    }
    if (p->source && !q->daemon->options->allow_scripts) {
        reply_problem(q->call, 403, "this server runs no scripts that clients send: it was started without "
                      "--allow-scripts");
        return false;
    }
    return read_settings(q, p);
}

/* FNV-1a (http://www.isthe.com/chongo/tech/comp/fnv/): tells slips apart, and keeps nothing secret. */
static char *digest(struct str text)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < text.len; i++)
        hash = (hash ^ (unsigned char)text.ptr[i]) * UINT64_C(1099511628211);
    return mem_printf("%016llx", (unsigned long long)hash);
}

void api_submit(struct request *q)
{
    static const char *const keys[] = {"script", "source", "settings", "specification", "policy", "author", NULL};
    const char *key = http_call_header(q->call, "Idempotency-Key");
    if (!accepts(q))
        return;
    if (key && (!*key || strlen(key) > KEY_MAX_BYTES)) {
        reply_problem(q->call, 400, "the Idempotency-Key has %zu bytes: use 1 to %d", strlen(key), KEY_MAX_BYTES);
        return;
    }
    cJSON *body = request_body(q, keys);
    if (!body)
        return;
    struct posted p;
    char *key_of = digest(http_call_body(q->call));
    struct job_file *file = read_posted(q, body, &p) ? load_posted(q, &p) : NULL;
    if (file)
        run_submit(q->daemon, file, &(struct submission){author_of(p.author), key, key_of}, q->call);
    posted_done(&p);
    free(key_of);
    cJSON_Delete(body);
}
