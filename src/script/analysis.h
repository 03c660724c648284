/* analysis.h -- what is made of a job's rows: the comparison of its answers (lua/canvass/report.lua), and its exports
 * (lua/canvass/export.lua). The rules are Lua, in a sandbox.
 *
 * Rows go in one by one, as the database has them: the job, its questions, its executions in the order of the plan. */
#ifndef SCRIPT_ANALYSIS_H
#define SCRIPT_ANALYSIS_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "script/limits.h"

struct analysis;

struct analysis_value {
    const char *name;
    enum { ANALYSIS_NULL, ANALYSIS_INTEGER, ANALYSIS_REAL, ANALYSIS_TEXT } type;
    int64_t integer;
    double real;
    struct str text;
};

struct analysis_options {
    const struct script_limits *limits;
    const char *module; /* "canvass.report", or "canvass.export" */
    const char *word;   /* what the report compares between, "region" or "job"; the form of the export */
    int64_t seed;       /* of a report: the same gives the same report */
    const char *folder; /* its canvass/... files stand in for the built-in ones; NULL: none do */
};

/* NULL on error. */
MUST_USE struct analysis *analysis_new(const struct analysis_options *o, struct err *err);
void analysis_free(struct analysis *a); /* NULL is a no-op */

/* Hands over what an export has to write by now; file is "" where there is but one. False: piece() said so, or err. */
bool analysis_take(struct analysis *a, bool (*piece)(void *ctx, const char *file, struct str text, struct err *err),
                   void *ctx, struct err *err);

/* what: "job", "request", "question", "execution"; for an export "endpoint", "end"; for the page then "answer", "file",
 * "program". */
bool analysis_add(struct analysis *a, const char *what, int count, const struct analysis_value *values,
                  struct err *err);

/* Once all else is in: the question in place i (from 0) whose executions the page wants as "answer"; NULL after the
 * last. It lives as long as a. */
bool analysis_wanted(struct analysis *a, size_t i, const char **question_id, struct err *err);

/* form: "json", "csv", "html", "text" (so many columns wide; 0: no limit). All text in it is harmless to a terminal or
 * a spreadsheet. */
bool analysis_report(struct analysis *a, const char *form, size_t columns, struct buf *out, struct err *err);

#endif
