/* feed.h -- what the database has of a job, or of two, row by row into a report or an export. */
#ifndef CLI_FEED_H
#define CLI_FEED_H

#include "cli/derived.h"
#include "script/job_file.h"
#include "store/store.h"

struct feed_options {
    const char *jobs[2];     /* full ids; the second NULL: of one job */
    struct job_file *scorer; /* of the first job; NULL: none */
    struct derived *derived; /* grades and embeddings of the first job's answers; NULL: none */
    bool page;               /* also what only the HTML page shows */
    /* Of an export: gets what is to be written, as soon as it is made. */
    bool (*piece)(void *ctx, const char *file, struct str text, struct err *err);
    void *ctx;
};

bool feed_analysis(struct analysis *a, struct reader *reader, const struct feed_options *o, struct err *err);

#endif
