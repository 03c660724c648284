#include "host/overrides.h"

#include <stdlib.h>

#include <cjson/cJSON.h>

#include "base/mem.h"

cJSON *overrides_parse(const char *text, const char *file, struct err *err)
{
    if (!text || !*text)
        return cJSON_CreateObject();
    cJSON *doc = cJSON_Parse(text);
    if (cJSON_IsObject(doc))
        return doc;
    cJSON_Delete(doc);
    err_set(err, ERR_CONFIG, "not a JSON object (%s): mend the file, or remove it", file);
    return NULL;
}

static cJSON *object_in(cJSON *parent, const char *name)
{
    cJSON *found = cJSON_GetObjectItemCaseSensitive(parent, name);
    return found ? found : cJSON_AddObjectToObject(parent, name);
}

static void drop_if_empty(cJSON *parent, const char *name)
{
    if (cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(parent, name)) == 0)
        cJSON_DeleteItemFromObjectCaseSensitive(parent, name);
}

void overrides_set(cJSON *doc, const char *kind, const char *name, const char *key, cJSON *value)
{
    cJSON *all = object_in(doc, kind), *one = object_in(all, name);
    cJSON_DeleteItemFromObjectCaseSensitive(one, key);
    if (value)
        cJSON_AddItemToObject(one, key, value);
    drop_if_empty(all, name);
    drop_if_empty(doc, kind);
}

const cJSON *overrides_get(const cJSON *doc, const char *kind, const char *name, const char *key)
{
    const cJSON *all = cJSON_GetObjectItemCaseSensitive(doc, kind), *one = cJSON_GetObjectItemCaseSensitive(all, name);
    return cJSON_GetObjectItemCaseSensitive(one, key);
}

void overrides_sign(cJSON *doc, const char *author, const char *reason)
{
    cJSON_DeleteItemFromObjectCaseSensitive(doc, "author");
    cJSON_DeleteItemFromObjectCaseSensitive(doc, "reason");
    if (author && *author)
        cJSON_AddStringToObject(doc, "author", author);
    if (reason && *reason)
        cJSON_AddStringToObject(doc, "reason", reason);
}

char *overrides_text(const cJSON *doc)
{
    static const char *const kinds[] = {"endpoints", "regions", "limits"};
    bool says = false;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        says = says || cJSON_HasObjectItem(doc, kinds[i]);
    char *text = says ? cJSON_Print(doc) : mem_strdup("");
    return text;
}

void overrides_pause(cJSON *doc, const char *kind, const char *name, const char *author, const char *reason)
{
    char *why = reason && *reason ? mem_strdup(reason)
                                  : mem_printf("paused by %s", author && *author ? author : "hand");
    overrides_set(doc, kind, name, "paused", cJSON_CreateString(why));
    free(why);
}

void overrides_resume(cJSON *doc, const char *kind, const char *name)
{
    bool here = cJSON_IsString(overrides_get(doc, kind, name, "paused"));
    overrides_set(doc, kind, name, "paused", here ? NULL : cJSON_CreateFalse());
}
