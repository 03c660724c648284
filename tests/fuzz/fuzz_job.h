/* fuzz_job.h -- what every job that was accepted keeps, script or specification. */
#ifndef TESTS_FUZZ_JOB_H
#define TESTS_FUZZ_JOB_H

#include "fuzz.h"

#include "script/job_file.h"

static inline void fuzz_question(const struct question *q)
{
    fuzz_plain(str_from(q->id), true);
    PROMISE(q->id[0] && strlen(q->id) <= 200, "%s", q->id);
    PROMISE(q->prompt.len && text_is_utf8(q->prompt), "%s asks nothing", q->id);
    PROMISE(!q->metadata || q->metadata[0] == '{', "%s", q->metadata);
}

/* NULL: it was refused. */
static inline void fuzz_job(struct job_file *f, const struct err *err)
{
    if (!f) {
        fuzz_refusal(err);
        return;
    }
    const struct job_spec *spec = job_file_spec(f);
    PROMISE(spec->question_count > 0, "no question");
    for (size_t i = 0; i < spec->question_count; i++)
        fuzz_question(&spec->questions[i]);
    for (size_t i = 0; i < spec->model_count; i++)
        PROMISE(spec->models[i].model[0] && (!spec->models[i].regions || spec->models[i].region_count), "model %zu", i);
    PROMISE(spec->samples >= 1 && spec->samples <= JOB_SAMPLES_MAX && spec->in_flight <= JOB_IN_FLIGHT_MAX, "%u",
            spec->samples);
    PROMISE(spec->timeout_us >= 0 && spec->name[0] && strlen(spec->name) <= 100 && spec->policy, "%s", spec->name);
    PROMISE(!spec->parameters || spec->parameters[0] == '{', "%s", spec->parameters);
    PROMISE(spec->source_count > 0, "no source");
}

#endif
