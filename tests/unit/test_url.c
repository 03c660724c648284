/* URLs: what may be asked, and whose it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/defs.h"
#include "base/mem.h"
#include "core/url.h"

static void urls_are_http_and_whole(void **state)
{
    (void)state;
    static const char *const good[] = {
        "https://example.com/", "http://example.com", "HTTPS://Example.COM:8443/a/b?c=d",
        "http://127.0.0.1:9100/us/llama3.2-1b",
        "http://[::1]:8000/", "http://[2001:db8::1]/x", "https://jamie--app-eu-inference.modal.run/",
        "http://a_b.example/",
        "https://example.com?x=1", "https://example.com/a@b:c", "https://example.com/%20",
        "https://example.com/gr\xC3\xBC\xC3\x9F",
        "http://x:1/", "http://x:65535/", "http://1.example/", "http://a.1e/", "http://0xg/",
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct err err = {.text = ""};
        if (!url_check(good[i], "here", &err) || err.text[0])
            fail_msg("%s: %s", good[i], err.text);
    }
}

static void errors_say_what_and_the_cure(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"", "not an http"}, {"ftp://x/", "not an http"}, {"//x/", "not an http"}, {"example.com", "not an http"},
        {"http:/x", "not an http"}, {"https://", "no host"}, {"https:///a", "no host"}, {"https://?a", "no host"},
        {"https://:80/", "no host"}, {"https://x:/", "bad port"}, {"https://x:0/", "bad port"},
        {"https://x:65536/", "bad port"},
        {"https://x:99999999999/", "bad port"}, {"https://x:8a/", "bad port"}, {"https://x:+8/", "bad port"},
        {"https://user@x/", "user name"}, {"https://user:secret@x/", "user name"}, {"https://x/#top", "fragment"},
        {"https://x/a b", "space"}, {"https://x/\n", "control"}, {"https://x/\x7f", "control"},
        {"https://x\\y/", "host"},
        {"https://g\xC3\xBC.de/", "host"}, {"https://[::1/", "']'"}, {"https://[::g]/", "IPv6"},
        {"https://[]/", "IPv6"},
        {"https://[::1]x:80/", "between"}, {"https://x%00/", "host"}, {"https://a:b:80/", "port"},
        {"http://127.1/", "number"}, {"http://063.0.0.1/", "number"}, {"http://2130706433/", "number"},
        {"http://0x7f000001/", "number"}, {"http://1.2.3.4./", "number"}, {"http://host.0x1f/", "number"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = {.text = ""};
        if (url_check(rows[i][0], "regions.us.url", &err) || !strstr(err.text, rows[i][1]) ||
            !strstr(err.text, " (regions.us.url): ") || err.code != ERR_CONFIG)
            fail_msg("%s: %s", rows[i][0], err.text);
        char origin[ORIGIN_TEXT] = "untouched";
        assert_false(url_origin(rows[i][0], origin));
        assert_string_equal(origin, "untouched");
    }
}

static void errors_hold_no_password_and_no_escape(void **state)
{
    (void)state;
    struct err err;
    assert_false(url_check("https://user:hunter2@x/", "here", &err));
    assert_null(strstr(err.text, "hunter2"));
    assert_false(url_check("https://user:hunter2@x/\x1b[2J", "here", &err));
    assert_null(strstr(err.text, "hunter2"));
    assert_null(strchr(err.text, '\x1b'));
    assert_false(url_check("nonsense", "here", NULL));
}

static void lengths_have_a_limit(void **state)
{
    (void)state;
    struct err err;
    char origin[ORIGIN_TEXT];
    for (int len = 7999; len <= 8001; len++) {
        char *url = mem_printf("https://x/%0*d", len - 10, 0);
        assert_int_equal(strlen(url), len);
        assert_int_equal(url_check(url, "here", &err), len <= 8000);
        free(url);
    }
    for (int len = 253; len <= 254; len++) {
        char *url = mem_printf("https://%0*dx:65535/", len - 1, 0);
        assert_int_equal(url_origin(url, origin), len == 253);
        free(url);
    }
    assert_int_equal(strlen(origin), strlen("https://:65535") + 253);
}

static void origins_compare_as_browsers_do(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"https://Example.com/a", "https://example.com"}, {"https://example.com:443", "https://example.com"},
        {"http://example.com:80/", "http://example.com"}, {"http://example.com:443/", "http://example.com:443"},
        {"https://example.com:00443/", "https://example.com"}, {"http://[::1]:8000/x", "http://[::1]:8000"},
        {"HTTP://X:81?a", "http://x:81"}, {"http://[0:0:0:0:0:0:0:1]/", "http://[::1]"},
    };
    char origin[ORIGIN_TEXT];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_true(url_origin(rows[i][0], origin));
        assert_string_equal(origin, rows[i][1]);
    }
    assert_true(url_same_origin("https://a.example/x", "https://A.example:443/y?z"));
    assert_false(url_same_origin("https://a.example/", "http://a.example/"));
    assert_false(url_same_origin("https://a.example/", "https://a.example:444/"));
    assert_false(url_same_origin("https://a.example/", "https://a.example.evil.com/"));
    assert_false(url_same_origin("https://a.example/", "https://b.a.example/"));
    assert_false(url_same_origin("nonsense", "nonsense"));
    assert_false(url_same_origin("https://a.example/", "https://evil.com\\@a.example/"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_http_and_whole),
        cmocka_unit_test(errors_say_what_and_the_cure),
        cmocka_unit_test(errors_hold_no_password_and_no_escape),
        cmocka_unit_test(lengths_have_a_limit),
        cmocka_unit_test(origins_compare_as_browsers_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
