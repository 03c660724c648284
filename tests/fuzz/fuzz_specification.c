/* JSON job specifications; behind the first zero byte, a list for --questions. */
#include "fuzz_file.h"
#include "fuzz_job.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct script_limits limits = {20000, 20000, 16u << 20};
    struct str input = {(const char *)data, size}, text = fuzz_piece(&input, '\0');
    struct job_file_options options = {.limits = &limits};
    char list[128];
    if (input.len) {
        snprintf(list, sizeof list, "%s", fuzz_file("questions.jsonl", input));
        options.questions = list;
    }
    struct err err = {0};
    struct job_file *f = job_file_load(fuzz_file("job.json", text), &options, &err);
    fuzz_job(f, &err);
    job_file_free(f);
    return 0;
}
