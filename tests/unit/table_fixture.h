/* table_fixture.h -- region tables as texts, and what a loaded one says of itself. */
#ifndef TESTS_TABLE_FIXTURE_H
#define TESTS_TABLE_FIXTURE_H

#include "script/table_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/timeutil.h"
#include "script/table_build.h"

#define URL "url = 'https://host.example/'"
#define ENDPOINT(keys) "return { regions = { us = { models = { m = { " URL ", " keys " } } } } }"
#define REGION(keys) "return { regions = { us = { " keys ", models = { m = { " URL " } } } } }"
#define TOP(keys) "return { " keys ", regions = { us = { models = { m = { " URL " } } } } }"
#define M "regions.us.models.m"

static inline struct region_table *load(const char *text, struct err *err)
{
    return table_load_text("regions.lua", str_from(text), NULL, err);
}

static inline struct region_table *good(const char *text)
{
    struct err err = {0};
    struct region_table *t = load(text, &err);
    if (!t)
        fail_msg("%s\nin %s", err.text, text);
    return t;
}

static const char *setting(const struct region_table *t, const char *path, const char **set_by)
{
    for (size_t i = 0; i < t->setting_count; i++) {
        if (strcmp(t->settings[i].path, path) == 0) {
            *set_by = t->settings[i].set_by;
            return t->settings[i].value;
        }
    }
    fail_msg("no setting %s", path);
    return NULL;
}

#define assert_setting(t, path, value, by) \
    do { \
        const char *set_by_; \
        assert_string_equal(setting(t, path, &set_by_), value); \
        assert_string_equal(set_by_, by); \
    } while (0)

static inline bool warned(const struct region_table *t, const char *words)
{
    for (size_t i = 0; i < t->warning_count; i++)
        if (strstr(t->warnings[i], words))
            return true;
    return false;
}

#endif
