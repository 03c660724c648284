#include "host/overrides.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "base/buf.h"
#include "base/mem.h"

enum { FILE_BYTES = 4 << 20 };

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
    char *why = reason && *reason ? mem_strdup(reason) : mem_printf("paused by %s", author && *author ? author : "hand");
    overrides_set(doc, kind, name, "paused", cJSON_CreateString(why));
    free(why);
}

void overrides_resume(cJSON *doc, const char *kind, const char *name)
{
    bool here = cJSON_IsString(overrides_get(doc, kind, name, "paused"));
    overrides_set(doc, kind, name, "paused", here ? NULL : cJSON_CreateFalse());
}

/* ---- files ---- */

static bool write_all(int fd, const char *text)
{
    size_t len = strlen(text);
    while (len) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        text += n;
        len -= (size_t)n;
    }
    return fsync(fd) == 0;
}

bool file_replace(const char *path, const char *text, struct err *err)
{
    if (!*text)
        return unlink(path) == 0 || errno == ENOENT ||
               err_set(err, ERR_SYSTEM, "cannot be removed, %s (%s): give this user the right to", strerror(errno), path);
    char *real = realpath(path, NULL); /* a link stays a link */
    char *temporary = mem_printf("%s.tmp-%ld", real ? real : path, (long)getpid());
    struct stat old;
    mode_t mode = stat(path, &old) == 0 ? old.st_mode & 0777 : 0644;
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    bool ok = fd >= 0 && write_all(fd, text);
    if (fd >= 0 && close(fd) != 0)
        ok = false;
    ok = ok && rename(temporary, real ? real : path) == 0;
    if (!ok) {
        err_set(err, ERR_SYSTEM, "cannot be written, %s (%s): give this user the right to", strerror(errno), path);
        unlink(temporary);
    }
    free(temporary);
    free(real);
    return ok;
}

char *file_text(const char *path, struct err *err)
{
    struct buf text;
    char block[16384];
    ssize_t n = 0;
    buf_init(&text, FILE_BYTES);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return mem_strdup("");
    while (fd >= 0 && (n = read(fd, block, sizeof block)) > 0)
        buf_add(&text, block, (size_t)n);
    bool ok = fd >= 0 && n == 0 && !text.full && !memchr(text.ptr ? text.ptr : "", 0, text.len);
    if (!ok)
        err_set(err, ERR_SYSTEM, "cannot be read, %s (%s): name a text of at most %d bytes",
                fd < 0 || n < 0 ? strerror(errno) : "it is no such file", path, (int)FILE_BYTES);
    if (fd >= 0)
        close(fd);
    char *taken = buf_take(&text);
    if (ok)
        return taken;
    free(taken);
    return NULL;
}
