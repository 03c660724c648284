/* What stands beside a region table or over it: secrets, adapters, kept files, overrides. */
#include "table_fixture.h"

struct folder {
    char path[64];
};

static int make_folder(void **state)
{
    struct folder *f = calloc(1, sizeof *f);
    strcpy(f->path, "/tmp/canvass-table-XXXXXX");
    *state = f;
    return mkdtemp(f->path) ? 0 : -1;
}

static const char *file_in(const struct folder *f, const char *name)
{
    static char path[4][200];
    static unsigned next;
    char *out = path[next++ % 4];
    snprintf(out, sizeof path[0], "%s/%s", f->path, name);
    return out;
}

static int remove_folder(void **state)
{
    static const char *const names[] = {"secrets",           "regions.lua",       "more.lua",
                                        "modal.lua",         "adapters/mine.lua", "adapters/modal.lua",
                                        "adapters/part.lua", "mine.lua",          "adapters"};
    struct folder *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        remove(file_in(f, names[i]));
    int rc = rmdir(f->path);
    free(f);
    return rc;
}

static void write_file(const struct folder *f, const char *name, const char *text, mode_t mode)
{
    const char *path = file_in(f, name);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
    assert_int_equal(chmod(path, mode), 0);
}

static const char with_secrets[] =
    "return { regions = { us = { models = { m = { " URL ", headers = {\n"
    " Authorization = secret('CANVASS_TEST_A', 'Bearer %s'), ['X-Key'] = secret 'CANVASS_TEST_B' },\n"
    " proxy = secret('CANVASS_TEST_B', 'http://u:%s@proxy.example:3128') } } } } }";

static void test_secrets(void **state)
{
    struct folder *f = *state;
    struct err err = {0};
    const char *file = file_in(f, "secrets");
    struct table_options o = {.secrets_file = file};
    write_file(f, "secrets", "# keys\n\n CANVASS_TEST_A=from-file\nCANVASS_TEST_B=b=b \r\n", 0600);
    unsetenv("CANVASS_TEST_A");
    unsetenv("CANVASS_TEST_B");

    struct region_table *t = table_load_text("regions.lua", str_from(with_secrets), &o, &err);
    if (!t)
        fail_msg("%s", err.text);
    const struct endpoint_spec *e = &t->endpoints[0];
    assert_string_equal(e->headers[0].value, "Bearer from-file");
    assert_string_equal(e->headers[0].shown, "Bearer <secret CANVASS_TEST_A>");
    assert_true(e->headers[0].secret);
    assert_string_equal(e->headers[1].value, "b=b ");
    assert_string_equal(e->headers[1].shown, "secret CANVASS_TEST_B");
    assert_string_equal(e->proxy, "http://u:b=b @proxy.example:3128");
    for (size_t i = 0; i < t->setting_count; i++) {
        assert_null(strstr(t->settings[i].value, "from-file"));
        assert_null(strstr(t->settings[i].value, "b=b"));
    }
    assert_setting(t, "us/m.proxy", "http://u:<secret CANVASS_TEST_B>@proxy.example:3128", "endpoint");
    region_table_unref(t);

    setenv("CANVASS_TEST_A", "from-env", 1); /* comes first */
    t = table_load_text("regions.lua", str_from(with_secrets), &o, &err);
    assert_non_null(t);
    assert_string_equal(t->endpoints[0].headers[0].value, "Bearer from-env");
    region_table_unref(t);
    unsetenv("CANVASS_TEST_A");
}

static void test_secrets_file_is_refused(void **state)
{
    static const struct { const char *text; mode_t mode; const char *words; } rows[] = {
        {"A=1\n", 0640, "mode 0640"},
        {"A=1\n", 0604, "mode 0604"},
        {"A=1\n", 0660, "chmod 600"},
        {"A=1\nhunter2\n", 0600, "secrets:2"},
        {"A B=hunter2\n", 0600, "secrets:1"},
        {"1A=hunter2\n", 0400, "NAME=value"},
        {"=hunter2\n", 0600, "NAME=value"},
    };
    struct folder *f = *state;
    struct table_options o = {.secrets_file = file_in(f, "secrets"), .secrets_optional = true};
    static const char text[] = "return { regions = { us = { models = { m = { " URL " } } } } }";
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = {0};
        write_file(f, "secrets", rows[i].text, 0600);
        write_file(f, "secrets", rows[i].text, rows[i].mode);
        assert_null(table_load_text("regions.lua", str_from(text), &o, &err));
        if (!strstr(err.text, rows[i].words))
            fail_msg("%s", err.text);
        assert_null(strstr(err.text, "hunter2"));
        remove(o.secrets_file);
    }
    struct err err = {0};
    assert_null(table_load_text("regions.lua", str_from(text), &o, &err)); /* it is gone */
    assert_non_null(strstr(err.text, "cannot open the secrets file"));
    o.secrets_file = f->path;
    assert_null(table_load_text("regions.lua", str_from(text), &o, &err));
    assert_non_null(strstr(err.text, "not a regular file"));
}

static void test_optional_secrets(void **state)
{
    (void)state;
    struct err err = {0};
    struct table_options o = {.secrets_optional = true};
    unsetenv("CANVASS_TEST_A");
    unsetenv("CANVASS_TEST_B");
    struct region_table *t = table_load_text("regions.lua", str_from(with_secrets), &o, &err);
    assert_non_null(t);
    assert_string_equal(t->endpoints[0].headers[0].value, "");
    assert_null(t->endpoints[0].proxy);
    assert_true(
        warned(t, "secret CANVASS_TEST_A is not set (regions.lua: regions.us.models.m.headers.Authorization): export"));
    assert_true(warned(t, "CANVASS_TEST_B"));
    region_table_unref(t);
    assert_null(table_load_text("regions.lua", str_from(with_secrets), NULL, &err));
}

static struct region_table *load_in(const struct folder *f, const char *name)
{
    struct err err = {0};
    struct region_table *t = table_load(file_in(f, name), NULL, &err);
    if (!t)
        fail_msg("%s", err.text);
    return t;
}

static const char my_adapter[] =
    "local part = require 'adapters.part'\n"
    "return { request = function(ask) return part end, answer = function() end, headers = { ['X-Mine'] = '1' } }\n";

static void take_hash(const struct folder *f, char out[65])
{
    struct region_table *t = load_in(f, "regions.lua");
    strcpy(out, t->hash);
    region_table_unref(t);
}

static void test_hash(void **state)
{
    struct folder *f = *state;
    char hashes[7][65];
    write_file(f, "regions.lua", "return { regions = { us = { models = { m = { url = 'https://h/' } } } } }\n", 0600);
    take_hash(f, hashes[0]);
    /* alone, it is what sha256sum prints */
    assert_string_equal(hashes[0], "d7c025d6ba27357a488e0a2b6fd576e159ba1c5d6712c3ef74eef2d3a790ee67");

    write_file(f, "regions.lua", "return { regions = { us = { models = require 'more' } } }\n", 0600);
    write_file(f, "more.lua", "return { m = { url = 'https://h/', adapter = 'mine' } }\n", 0600);
    mkdir(file_in(f, "adapters"), 0700);
    write_file(f, "adapters/mine.lua", my_adapter, 0600);
    write_file(f, "adapters/part.lua", "return 'x'\n", 0600);
    take_hash(f, hashes[1]);
    write_file(f, "more.lua", "return { m = { url = 'https://h/', adapter = 'mine', slots = 2 } }\n", 0600);
    take_hash(f, hashes[2]);
    write_file(f, "adapters/part.lua", "return 'y'\n", 0600);
    take_hash(f, hashes[3]);
    write_file(f, "adapters/mine.lua", "return { request = function() return '' end, answer = function() end }", 0600);
    take_hash(f, hashes[4]);
    write_file(f, "mine.lua", "never read: adapters/ comes first", 0600);
    take_hash(f, hashes[5]);
    assert_string_equal(hashes[5], hashes[4]);
    write_file(f, "regions.lua", "return { regions = { us = { models = require 'more' } } } -- \n", 0600);
    take_hash(f, hashes[6]);
    for (size_t i = 0; i < 7; i++)
        for (size_t j = 0; j < i; j++)
            assert_true((strcmp(hashes[i], hashes[j]) == 0) == (i == 5 && j == 4));
}

static void test_adapter_files(void **state)
{
    struct folder *f = *state;
    static const char table[] =
        "return { regions = { us = { models = { m = { url = 'https://h/', headers = { ['x-mine'] = '2' } } } } } }";
    /* a table that is called like an adapter is none */
    write_file(f, "modal.lua", table, 0600);
    struct region_table *t = load_in(f, "modal.lua");
    assert_setting(t, "us/m.adapter", "modal", "default");
    region_table_unref(t);

    mkdir(file_in(f, "adapters"), 0700);
    write_file(f, "adapters/part.lua", "return 'x'\n", 0600);
    write_file(f, "adapters/modal.lua", my_adapter, 0600);
    write_file(f, "regions.lua", table, 0600);
    t = load_in(f, "regions.lua");
    assert_setting(t, "us/m.adapter", "modal (adapters/modal.lua)", "default");
    assert_int_equal(t->endpoints[0].header_count, 1); /* the table's own wins */
    assert_string_equal(t->endpoints[0].headers[0].value, "2");
    region_table_unref(t);
}

/* What a table was made of makes it again, wherever the files are by then. */
static void test_kept_files(void **state)
{
    struct folder *f = *state;
    struct err err = {0};
    write_file(f, "regions.lua", "return { regions = { us = { models = require 'more' } } }\n", 0600);
    write_file(f, "more.lua", "return { m = { url = 'https://h/', adapter = 'mine' } }\n", 0600);
    mkdir(file_in(f, "adapters"), 0700);
    write_file(f, "adapters/mine.lua", my_adapter, 0600);
    write_file(f, "adapters/part.lua", "return 'x'\n", 0600);
    struct region_table *t = load_in(f, "regions.lua");
    assert_int_equal(t->file_count, 3);
    for (size_t left_out = 0; left_out <= 3; left_out++) { /* 3: none */
        struct source_file files[3];
        struct sources kept = {files, 0};
        for (size_t i = 0; i < 3; i++)
            if (i != left_out)
                files[kept.count++] = t->files[i];
        struct region_table *again =
            table_load_text("revision-1", str_from(t->source), &(struct table_options){.kept = &kept}, &err);
        assert_true((again != NULL) == (left_out == 3));
        if (again)
            assert_string_equal(again->hash, t->hash);
        region_table_unref(again);
    }
    region_table_unref(t);
}

static void test_broken_adapters(void **state)
{
    static const struct { const char *text, *words;
    } rows[] = {
        {"return 5", "adapters/mine.lua): give a table"},
        {"return {}", "adapters/mine.lua: request): write it as a function"},
        {"return { request = function() end }", "answer is missing"},
        {"return { request = 5, answer = function() end }", "request is number"},
        {"return { request = function() end, answer = function() end, helth = 1 }", "did you mean \"health\""},
        {"return { request = function() end, answer = function() end, headers = { A = 5 } }", "not a header"},
        {"return { request = function() end, answer = function() end, headers = { A = 'x\\ny' } }", "not a header"},
        {"return { request = function() end, answer = function() end, options = { a = 'sting' } }",
         "not a declaration of options"},
        {"return {", "adapters/mine.lua:1"},
        {"error 'x'", "adapters/mine.lua:1: x"},
        {"while true do end", "stopped after"},
        {"return secret 'PATH'", "secret"},
    };
    struct folder *f = *state;
    const struct script_limits limits = {100000, 100000, 32u << 20};
    struct table_options o = {.limits = &limits};
    mkdir(file_in(f, "adapters"), 0700);
    write_file(f, "regions.lua",
               "return { regions = { us = { adapter = 'mine', models = { m = { url = 'https://h/' } } } } }", 0600);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = {0};
        write_file(f, "adapters/mine.lua", rows[i].text, 0600);
        assert_null(table_load(file_in(f, "regions.lua"), &o, &err));
        if (!strstr(err.text, rows[i].words) || !strstr(err.text, "adapter mine cannot be used (") ||
            !strstr(err.text, "regions.us.adapter"))
            fail_msg("%s\ngives %s", rows[i].text, err.text);
        assert_int_equal(err.code, ERR_CONFIG);
    }
    struct err err = {0};
    write_file(f, "regions.lua",
               "return { regions = { us = { adapter = 'yours', models = { m = { url = 'https://h/' } } } } }", 0600);
    assert_null(table_load(file_in(f, "regions.lua"), &o, &err));
    assert_non_null(strstr(err.text, "runpod, mine"));
    assert_null(table_load(file_in(f, "none.lua"), &o, &err));
    assert_non_null(strstr(err.text, "none.lua"));
}

static struct region_table *with_overrides(const char *text, const char *overrides, struct err *err)
{
    return table_load_text("regions.lua", str_from(text), &(struct table_options){.overrides = overrides}, err);
}

static const char two_regions[] =
    "local m = { url = 'https://host.example/', slots = 2 }\n" /* one table in both: an override is for one of them */
    "return { regions = { us = { models = { m = m } }, eu = { paused = 'no quota', models = { m = m } } } }";

static void overrides_stand_over_the_file(void **state)
{
    (void)state;
    struct err err = {0};
    struct region_table *t = with_overrides(two_regions,
        "{\"endpoints\": {\"us/m\": {\"slots\": 7, \"hop\": \"5m\", \"paused\": \"a moment\"}},"
        " \"regions\": {\"us\": {\"in_flight\": 3}}, \"limits\": {\"in_flight\": 9}, \"author\": \"ann\"}", &err);
    if (!t)
        fail_msg("%s", err.text);
    assert_setting(t, "us/m.slots", "7", "override");
    assert_setting(t, "us/m.hop", "5m", "override");
    assert_setting(t, "us/m.paused", "a moment", "override");
    assert_setting(t, "us/m.deadline", "15m", "default");
    assert_setting(t, "eu/m.slots", "2", "endpoint");
    assert_setting(t, "eu/m.paused", "no quota", "region eu");
    assert_int_equal(t->regions[region_table_region(t, "us")].in_flight, 3);
    assert_int_equal(t->in_flight, 9);
    assert_int_equal(t->file_count, 1);
    struct source_file kept = t->files[0];
    assert_string_equal(kept.name, TABLE_OVERRIDES_KEPT);
    struct sources sources = {&kept, 1};
    struct region_table *again = table_load_text("again.lua", str_from(two_regions),
                                                 &(struct table_options){.kept = &sources}, &err);
    assert_non_null(again);
    assert_string_equal(again->hash, t->hash);
    assert_setting(again, "us/m.slots", "7", "override");
    region_table_unref(again);
    region_table_unref(t);
}

static void overrides_pause_and_let_go(void **state)
{
    (void)state;
    static const struct {
        const char *overrides, *us, *eu;
    } cases[] = {
        {"{}", "false", "no quota"},
        {"{\"regions\": {\"eu\": {\"paused\": false}}}", "false", "false"},
        {"{\"endpoints\": {\"eu/m\": {\"paused\": false}}}", "false", "false"},
        {"{\"regions\": {\"us\": {\"paused\": \"all\"}}}", "all", "no quota"},
        {"{\"regions\": {\"us\": {\"paused\": \"all\"}}, \"endpoints\": {\"us/m\": {\"paused\": false}}}", "false",
         "no quota"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err err = {0};
        const char *by;
        struct region_table *t = with_overrides(two_regions, cases[i].overrides, &err);
        if (!t)
            fail_msg("%s", err.text);
        assert_string_equal(setting(t, "us/m.paused", &by), cases[i].us);
        assert_string_equal(setting(t, "eu/m.paused", &by), cases[i].eu);
        region_table_unref(t);
    }
}

static void what_is_wrong_with_overrides(void **state)
{
    (void)state;
    static const struct {
        const char *overrides, *words;
    } wrong[] = {
        {"{", "regions.lua.overrides.json"},
        {"7", "regions.lua.overrides.json"},
        {"{\"endpoint\": {}}", "endpoints"},
        {"{\"endpoints\": {\"us/m\": {\"url\": \"https://evil.example/\"}}}", "url cannot be overridden"},
        {"{\"endpoints\": {\"us/m\": {\"headers\": {}}}}", "headers cannot be overridden"},
        {"{\"endpoints\": {\"us/m\": {\"slots\": 0}}}", "slots"},
        {"{\"endpoints\": {\"us/m\": 1}}", "us/m"},
        {"{\"regions\": {\"us\": {\"models\": {}}}}", "models cannot be overridden"},
        {"{\"regions\": {\"us\": {\"in_flight\": \"x\"}}}", "in_flight"},
        {"{\"limits\": {\"endpoints\": 1}}", "endpoints"},
        {"{\"author\": 1}", "author"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct err err = {0};
        if (with_overrides(two_regions, wrong[i].overrides, &err))
            fail_msg("%s is taken", wrong[i].overrides);
        if (!strstr(err.text, wrong[i].words) || !strstr(err.text, "overrides.json"))
            fail_msg("%s: %s", wrong[i].overrides, err.text);
    }
    struct err err = {0};
    struct region_table *t = with_overrides(two_regions, "{\"endpoints\": {\"us/gone\": {\"slots\": 2}}}", &err);
    assert_non_null(t);
    assert_true(warned(t, "us/gone is not in the table"));
    region_table_unref(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(overrides_stand_over_the_file),
        cmocka_unit_test(overrides_pause_and_let_go),
        cmocka_unit_test(what_is_wrong_with_overrides),
        cmocka_unit_test_setup_teardown(test_secrets, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_secrets_file_is_refused, make_folder, remove_folder),
        cmocka_unit_test(test_optional_secrets),
        cmocka_unit_test_setup_teardown(test_hash, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_adapter_files, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_kept_files, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_broken_adapters, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
