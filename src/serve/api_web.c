/* The dashboard: files that the program brings along. */
#include <string.h>

#include "serve/assets.h"
#include "serve/internal.h"

static const char *content_type(const char *name)
{
    static const struct {
        const char *ending, *type;
    } types[] = {{".html", "text/html; charset=utf-8"}, {".js", "text/javascript; charset=utf-8"},
                 {".css", "text/css; charset=utf-8"}, {".json", "application/json"}};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < ARRAY_LEN(types); i++)
        if (strcmp(dot, types[i].ending) == 0)
            return types[i].type;
    return "application/octet-stream";
}

static void reply_asset(struct request *q, const char *name)
{
    const struct asset *a = asset_find(name);
    if (a)
        reply_text(q->call, 200, content_type(name), (struct str){a->text, a->len});
    else
        reply_problem(q->call, 404, "there is no page \"%.80s\"", name);
}

void web_index(struct request *q)
{
    reply_asset(q, "index.html");
}

void web_file(struct request *q)
{
    reply_asset(q, q->params[0]);
}
