/* Runs the suites of tests/lua: each is a Lua file that returns a table of functions, run in the sandbox as the
 * analysis is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "script/sandbox.h"

static const struct script_limits limits = {.load_us = 900000000, .call_us = 900000000, .memory_bytes = 256u << 20};

static void print_line(void *ctx, const char *line)
{
    (void)ctx;
    fprintf(stderr, "%s\n", line);
}

/* Loads the suite and calls each function by the order of names. */
static const char runner[] =
    "local suite, names = require('lua.%s'), {}\n"
    "for name in pairs(suite) do names[#names + 1] = name end\n"
    "table.sort(names)\n"
    "assert(#names > 0, 'an empty suite')\n"
    "for _, name in ipairs(names) do\n"
    "    local ok, fault = xpcall(suite[name], function(e) return name .. ': ' .. tostring(e) end)\n"
    "    if not ok then error(fault, 0) end\n"
    "end\n"
    "return true\n";

static void run_suite(void **state)
{
    const char *name = *state;
    char text[1024];
    struct err err = {0};
    struct script *s = script_new(&(struct script_options){.folder = "tests", .limits = &limits, .print = print_line});
    snprintf(text, sizeof text, runner, name);
    if (!script_run(s, name, str_from(text), &err))
        fail_msg("%s", err.text);
    script_free(s);
}

#define SUITE(name) {name, run_suite, NULL, NULL, name}

/* With the name of a suite: that one, which may print and take its time. */
int main(int argc, char **argv)
{
    const struct CMUnitTest named[] = {SUITE(argv[1])};
    if (argc > 1)
        return cmocka_run_group_tests(named, NULL, NULL);
    const struct CMUnitTest all[] = {
        SUITE("test_statistics"), SUITE("test_answers"), SUITE("test_comparison"),
        SUITE("test_grading"),
    };
    return cmocka_run_group_tests(all, NULL, NULL);
}
