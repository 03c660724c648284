/* job_fixture.h -- a folder for job files that is gone after the test, and what a job logs. */
#ifndef TESTS_JOB_FIXTURE_H
#define TESTS_JOB_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/defs.h"
#include "base/mem.h"
#include "script/job_file.h"

struct folder {
    char path[64];
    char log[16384];     /* all lines, each ended by a newline */
};

static inline int folder_setup(void **state)
{
    struct folder *f = mem_zalloc(sizeof(*f));
    snprintf(f->path, sizeof(f->path), "%s", "/tmp/canvass-test-XXXXXX");
    assert_non_null(mkdtemp(f->path));
    *state = f;
    return 0;
}

static inline int folder_teardown(void **state)
{
    struct folder *f = *state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", f->path);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static inline void folder_write_bytes(struct folder *f, const char *name, const char *text, size_t len)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", f->path, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    fclose(file);
}

static inline void folder_write(struct folder *f, const char *name, const char *text)
{
    folder_write_bytes(f, name, text, strlen(text));
}

static inline void folder_log(void *ctx, const char *line)
{
    struct folder *f = ctx;
    size_t used = strlen(f->log);
    snprintf(f->log + used, sizeof(f->log) - used, "%s\n", line);
}

static inline struct job_file *folder_load(struct folder *f, const char *name, struct job_file_options o,
                                           struct err *err)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", f->path, name);
    o.log = folder_log;
    o.ctx = f;
    return job_file_load(path, &o, err);
}

/* ---- a script as a file ---- */

static inline struct job_file *load_good_with(struct folder *f, const char *name, struct job_file_options o)
{
    struct err err = {0};
    struct job_file *job = folder_load(f, name, o, &err);
    if (!job)
        fail_msg("%s", err.text);
    return job;
}

static inline struct job_file *load_good(struct folder *f, const char *script)
{
    folder_write(f, "job.lua", script);
    return load_good_with(f, "job.lua", (struct job_file_options){0});
}

static inline void expect_error_with(struct folder *f, const char *name, struct job_file_options o,
                                     const char *const *parts)
{
    struct err err = {0};
    struct job_file *job = folder_load(f, name, o, &err);
    job_file_free(job);
    if (job)
        fail_msg("%s was accepted, not refused with \"%s\"", name, parts[0]);
    for (; *parts; parts++)
        if (!strstr(err.text, *parts))
            fail_msg("\"%s\" is not in: %s", *parts, err.text);
    assert_true(err.code != ERR_NONE);
}

static const char two[] __attribute__((unused)) = "{{id='a',prompt='A?'},{id='b',prompt='B?'}}";

#endif
