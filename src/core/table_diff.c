#include "core/table_diff.h"

#include <string.h>

/* The settings of a table by path, and its endpoints by id. */
struct side {
    const struct region_table *table;
    struct map paths, ids, subjects;
};

static const char *const nothing = "none";

/* How much of the path says whose setting it is: an endpoint's id, which may have dots, or all before the last one. */
static size_t subject_len(const struct side *s, const char *path)
{
    size_t last = 0;
    uint32_t index;
    for (size_t i = 0; path[i]; i++) {
        if (path[i] != '.')
            continue;
        last = i;
        if (map_get(&s->ids, (struct str){path, i}, &index))
            return i;
    }
    return last ? last : strlen(path);
}

static void side_init(struct side *s, const struct region_table *t)
{
    *s = (struct side){.table = t};
    map_init(&s->paths);
    map_init(&s->ids);
    map_init(&s->subjects);
    for (size_t i = 0; i < t->endpoint_count; i++)
        map_add(&s->ids, str_from(t->endpoints[i].id), (uint32_t)i);
    for (size_t i = 0; i < t->setting_count; i++) {
        const char *path = t->settings[i].path;
        map_add(&s->paths, str_from(path), (uint32_t)i);
        map_add(&s->subjects, (struct str){path, subject_len(s, path)}, (uint32_t)i);
    }
}

static void side_done(struct side *s)
{
    map_done(&s->paths);
    map_done(&s->ids);
    map_done(&s->subjects);
}

static const char *value_of(const struct side *s, const char *path)
{
    uint32_t at;
    return map_get(&s->paths, str_from(path), &at) ? s->table->settings[at].value : NULL;
}

/* Settings that only `here` has: all of a subject in one word, or one by one where the other knows the subject. */
static size_t only_here(const struct side *here, const struct side *there, bool added, struct buf *out)
{
    size_t count = 0;
    for (uint32_t i = 0; i < here->table->setting_count; i++) {
        const struct setting *s = &here->table->settings[i];
        struct str subject = {s->path, subject_len(here, s->path)};
        uint32_t first;
        if (value_of(there, s->path))
            continue;
        if (map_get(&there->subjects, subject, &first)) {
            const char *key = s->path + subject.len + (s->path[subject.len] == '.');
            buf_addf(out, "%.*s: %s %s -> %s\n", (int)subject.len, subject.ptr, key, added ? nothing : s->value,
                     added ? s->value : nothing);
        } else if (map_get(&here->subjects, subject, &first) && first == i) {
            buf_addf(out, "%.*s: %s\n", (int)subject.len, subject.ptr, added ? "added" : "removed");
        } else {
            continue;
        }
        count++;
    }
    return count;
}

static size_t changed(const struct side *from, const struct side *to, struct buf *out)
{
    size_t count = 0;
    for (size_t i = 0; i < to->table->setting_count; i++) {
        const struct setting *s = &to->table->settings[i];
        const char *before = value_of(from, s->path);
        if (!before || strcmp(before, s->value) == 0)
            continue;
        size_t len = subject_len(to, s->path);
        buf_addf(out, "%.*s: %s %s -> %s\n", (int)len, s->path, s->path + len + (s->path[len] == '.'), before,
                 s->value);
        count++;
    }
    return count;
}

static const struct source_file *file_of(const struct region_table *t, const char *name)
{
    for (size_t i = 0; i < t->file_count; i++)
        if (strcmp(t->files[i].name, name) == 0)
            return &t->files[i];
    return NULL;
}

/* What overrides say shows in the settings. */
static bool is_shown_elsewhere(const struct source_file *f)
{
    return strcmp(f->name, TABLE_OVERRIDES_KEPT) == 0;
}

static size_t files(const struct region_table *from, const struct region_table *to, struct buf *out)
{
    size_t count = 0;
    for (size_t i = 0; i < to->file_count; i++) {
        const struct source_file *before = file_of(from, to->files[i].name);
        if ((before && str_equal(before->text, to->files[i].text)) || is_shown_elsewhere(&to->files[i]))
            continue;
        buf_addf(out, "%s: %s\n", to->files[i].name, before ? "changed" : "added");
        count++;
    }
    for (size_t i = 0; i < from->file_count; i++)
        if (!file_of(to, from->files[i].name) && !is_shown_elsewhere(&from->files[i])) {
            buf_addf(out, "%s: removed\n", from->files[i].name);
            count++;
        }
    return count;
}

size_t table_diff(const struct region_table *from, const struct region_table *to, struct buf *out)
{
    struct side a, b;
    side_init(&a, from);
    side_init(&b, to);
    size_t count = changed(&a, &b, out);
    count += only_here(&b, &a, true, out);
    count += only_here(&a, &b, false, out);
    count += files(from, to, out);
    side_done(&a);
    side_done(&b);
    return count;
}
