/* What a script may require and read: its own folder, and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "script/sandbox.h"

static bool run(struct script *s, const char *text, struct err *err)
{
    *err = (struct err){0};
    return script_run(s, "job.lua", str_from(text), err);
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("expected \"%s\" in: %s", part, text);
}

static char folder[] = "/tmp/canvass-sandbox-XXXXXX";

static void put(const char *name, const char *text)
{
    char *path = mem_printf("%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    free(path);
}

static void shell(const char *what)
{
    char *line = mem_printf("cd %s && %s", folder, what);
    assert_int_equal(system(line), 0);
    free(line);
}

static int make_folder(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(folder));
    shell("mkdir job job/lib job/pack job-other outside");
    put("job-other/x.lua", "return 1");
    put("outside/secret.lua", "return 'outside'");
    put("job/questions.lua", "return {'q'}");
    put("job/lib/words.lua", "local name = ... return {name = name}");
    put("job/pack/init.lua", "return 'pack'");
    put("job/one.lua", "return require 'two'");
    put("job/two.lua", "return require 'one'");
    put("job/broken.lua", "return {\n oops oops }");
    put("job/fails.lua", "local function f()\nerror('in module')\nend\nf()\nreturn 1");
    put("job/chunk.lua", "\x1bLua");
    put("job/silent.lua", "local x = 1");
    put("job/shebang.lua", "#!/usr/bin/env canvass\nreturn 'ran'");
    put("job/bom.lua", "\xEF\xBB\xBFreturn 'ran'");
    shell("ln -s ../outside/secret.lua job/link.lua; ln -s ../outside job/linked; ln -s questions.lua job/inner.lua;"
          "ln -s ../job-other/x.lua job/sibling.lua;"
          "mkfifo job/pipe.lua; head -c 1100000 /dev/zero > job/large.lua");
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    shell("rm -rf job job-other outside");
    return rmdir(folder);
}

static struct script *script_in_folder(void)
{
    char *path = mem_printf("%s/job", folder);
    struct script *s = script_new(&(struct script_options){.folder = path});
    free(path);
    return s;
}

static void test_require(void **state)
{
    (void)state;
    static const struct { const char *text, *error; } table[] = {
        {"return require('questions')[1] == 'q' or error 'x'", NULL},
        {"return require 'questions' == require 'questions' or error 'x'", NULL},
        {"return require('lib.words').name == 'lib.words' or error 'x'", NULL},
        {"return require 'pack' == 'pack' or error 'x'", NULL},
        {"return require 'inner'[1] == 'q' or error 'x'", NULL},
        {"return require 'silent' == true or error 'x'", NULL},
        {"return require 'shebang' == 'ran' or error 'x'", NULL},
        {"return require 'bom' == 'ran' or error 'x'", NULL},
        {"pcall(require, 'fails') return select(2, pcall(require, 'fails')):find('in module') or error 'x'", NULL},
        {"require 'nothing'", "no module \"nothing\": looked for a built-in module, nothing.lua and nothing/init.lua"},
        {"require '../outside/secret'", "a module's name is made of"},
        {"require '..outside.secret'", "a module's name is made of"},
        {"require '/etc/passwd'", "a module's name is made of"},
        {"require 'lib/words'", "a module's name is made of"},
        {"require 'questions\\0'", "a module's name is made of"},
        {"require ''", "a module's name is made of"},
        {"require 'link'", "is a link that leaves the script's folder (link.lua)"},
        {"require 'linked.secret'", "is a link that leaves"},
        {"require 'sibling'", "is a link that leaves"},
        {"require 'one'", "two modules require each other"},
        {"require 'broken'", "broken.lua:2:"},
        {"require 'fails'", "fails.lua:2: in module\n  at fails.lua:4 in the main chunk\n  at job.lua:1 in the main"
         " chunk"},
        {"require 'chunk'", "precompiled"},
        {"require 'pipe'", "is not a file"},
        {"require 'large'", "is larger than 1048576 bytes"},
        {"require()", "string expected"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct script *s = script_in_folder();
        struct err err;
        bool ok = run(s, table[i].text, &err);
        script_free(s);
        if (ok != !table[i].error || (!ok && !strstr(err.text, table[i].error)))
            fail_msg("%s: %s", table[i].text, ok ? "it ran" : err.text);
    }
}

static void test_files_are_remembered(void **state)
{
    (void)state;
    struct script *s = script_in_folder();
    struct err err;
    struct str text, again;
    assert_true(run(s, "require 'lib.words' require 'questions' return 1", &err));
    assert_true(script_read(s, "bom.lua", 100, &text, &err));
    assert_true(script_read(s, "bom.lua", 100, &again, &err));
    assert_ptr_equal(text.ptr, again.ptr);
    struct arena arena;
    struct source_file files[3];
    arena_init(&arena);
    assert_int_equal(script_files(s, NULL, NULL), 3);
    assert_int_equal(script_files(s, &arena, files), 3);
    assert_string_equal(files[0].name, "lib/words.lua");
    assert_string_equal(files[1].name, "questions.lua");
    assert_true(str_is(files[1].text, "return {'q'}"));

    static const char *const refused[] = {"../outside/secret.lua", "/etc/passwd", "lib/../../outside/secret.lua", "",
                                          "lib/../questions.lua", "sibling.lua",
                                          "link.lua", "linked/secret.lua", "lib", "pipe.lua", "..", "absent.txt"};
    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        if (script_read(s, refused[i], 100, &text, &err))
            fail_msg("read %s", refused[i]);
    assert_false(script_read(s, "fails.lua", 5, &text, &err));
    assert_has(err.text, "is larger than 5 bytes (fails.lua)");
    assert_int_equal(script_files(s, NULL, NULL), 3);
    arena_done(&arena);
    script_free(s);
}

static void test_read_file(void **state)
{
    (void)state;
    char *path = mem_printf("%s/job/questions.lua", folder), *text;
    size_t len;
    struct err err;
    assert_true(read_file(path, 100, &text, &len, &err));
    assert_int_equal(len, 12);
    free(text);
    assert_false(read_file(path, 11, &text, &len, &err));
    assert_false(read_file(folder, 100, &text, &len, &err));
    assert_false(read_file("/nowhere/x.lua", 100, &text, &len, &err));
    assert_has(err.text, "cannot open (/nowhere/x.lua): No such file");
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_require),
        cmocka_unit_test(test_files_are_remembered),
        cmocka_unit_test(test_read_file),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
