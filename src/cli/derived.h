/* derived.h -- jobs about the answers of another job (canvass grade, canvass embed): which there are, and what they say
 * of its executions. */
#ifndef CLI_DERIVED_H
#define CLI_DERIVED_H

#include "script/analysis.h"
#include "store/store.h"

enum derived_kind { DERIVED_GRADE, DERIVED_EMBED, DERIVED_KINDS };
extern const char *const derived_words[DERIVED_KINDS]; /* "grade", "embed" */

struct derived_job {
    char of[128];          /* the job it is about; "": about none */
    char kind[16];
};
bool derived_about(struct reader *reader, const char *job_id, struct derived_job *out, struct err *err);

/* The newest of the kind that has ended; "" when there is none. */
bool derived_newest(struct reader *reader, const char *of, enum derived_kind kind, char id[128], struct err *err);

/* Tells an analysis of two jobs which such jobs of theirs it does without. */
bool derived_tell_unused(struct reader *reader, const char *const jobs[2], struct analysis *a, struct err *err);

struct derived;

/* What is said of the executions of a job: by those two jobs, or "". */
struct derived_options {
    const char *job_id, *ids[DERIVED_KINDS];
    const struct script_limits *limits; /* of the rubric */
};
MUST_USE struct derived *derived_load(struct reader *reader, const struct derived_options *o, struct err *err);
void derived_free(struct derived *d); /* NULL is a no-op */

/* Tells the analysis which jobs are used. */
bool derived_tell(const struct derived *d, struct analysis *a, struct err *err);

enum { DERIVED_VALUES = 2 };
/* Adds to the values of an execution what is known of it, at most DERIVED_VALUES; id: its own. */
void derived_add(const struct derived *d, struct str id, struct analysis_value *row, int *count);
/* After that row, the embedding it names, where the analysis was not given it yet. */
bool derived_give_vector(struct derived *d, struct str id, struct analysis *a, struct err *err);

#endif
