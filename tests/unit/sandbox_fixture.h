/* sandbox_fixture.h -- scripts with small budgets. */
#ifndef TESTS_UNIT_SANDBOX_FIXTURE_H
#define TESTS_UNIT_SANDBOX_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "script/sandbox.h"

/* Small budgets, so that the hostile ones end soon. */
static const struct script_limits small = {.load_us = 40000, .call_us = 40000, .memory_bytes = 8u << 20};

/* With an allocator that checks, filling the memory takes longer than that. */
static const struct script_limits patient = {.load_us = 20000000, .call_us = 20000000, .memory_bytes = 8u << 20};

static inline struct script *fresh(void)
{
    return script_new(&(struct script_options){.limits = &small});
}

static inline bool run(struct script *s, const char *text, struct err *err)
{
    *err = (struct err){0};
    return script_run(s, "job.lua", str_from(text), err);
}

static inline void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("expected \"%s\" in: %s", part, text);
}

#endif
