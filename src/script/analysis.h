/* analysis.h -- the comparison of a job's answers: its rules are Lua (lua/canvass/analysis.lua), in a sandbox.
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

/* The same seed gives the same report. by: what answers are compared between, "region" or "job". NULL on error. */
MUST_USE struct analysis *analysis_new(const struct script_limits *limits, int64_t seed, const char *by,
                                       struct err *err);
void analysis_free(struct analysis *a); /* NULL is a no-op */

/* what: "job", "request", "question", "execution"; for the page then "answer", "file", "program". */
bool analysis_add(struct analysis *a, const char *what, int count, const struct analysis_value *values,
                  struct err *err);

/* Once all else is in: the question in place i (from 0) whose executions the page wants as "answer"; NULL after the
 * last. It lives as long as a. */
bool analysis_wanted(struct analysis *a, size_t i, const char **question_id, struct err *err);

/* form: "json", "csv", "html", "text" (so many columns wide; 0: no limit). All text in it is harmless to a terminal or a
 * spreadsheet. */
bool analysis_report(struct analysis *a, const char *form, size_t columns, struct buf *out, struct err *err);

#endif
