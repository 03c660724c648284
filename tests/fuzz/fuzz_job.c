/* Job scripts. */
#include "fuzz_file.h"
#include "fuzz_job.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct script_limits limits = {5000, 5000, 8u << 20};
    static const struct job_file_options options = {.limits = &limits};
    struct err err = {0};
    struct job_file *f = job_file_load(fuzz_file("job.lua", (struct str){(const char *)data, size}), &options, &err);
    fuzz_job(f, &err);
    job_file_free(f);
    return 0;
}
