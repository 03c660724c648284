/* Answers on their way to a terminal, a CSV file, JSON, the store and a URL. */
#include "fuzz.h"

#include <cjson/cJSON.h>
#include <locale.h>

#include "script/csv.h"

enum { OUT_BYTES = 1 << 20 };

static void check_plain(struct str s, size_t columns, bool one_line)
{
    struct buf out;
    buf_init(&out, OUT_BYTES);
    size_t used = text_add_plain(&out, s, columns, one_line);
    fuzz_plain(buf_str(&out), one_line);
    PROMISE(!columns || used <= columns, "%zu columns instead of %zu", used, columns);
    PROMISE(used == text_columns(buf_str(&out)), "%zu columns used, %zu there", used, text_columns(buf_str(&out)));
    PROMISE(!one_line || !memchr(buf_str(&out).ptr, '\n', out.len), "a second line");
    buf_done(&out);
}

static void check_utf8(struct str s)
{
    struct buf out;
    buf_init(&out, OUT_BYTES);
    text_add_utf8(&out, s);
    PROMISE(text_is_utf8(buf_str(&out)), "not UTF-8");
    PROMISE(str_equal(buf_str(&out), s) == text_is_utf8(s), "UTF-8 was changed, or what is none was not");
    buf_done(&out);
}

/* Read by an implementation that is not ours. It knows no text with a zero byte. */
static void check_json(struct str s)
{
    struct buf clean, out;
    buf_init(&clean, OUT_BYTES);
    buf_init(&out, OUT_BYTES);
    text_add_utf8(&clean, s);
    text_add_json(&out, s);
    fuzz_plain(buf_str(&out), true);
    cJSON *read = cJSON_ParseWithLength(buf_str(&out).ptr, out.len);
    PROMISE(read || memchr(s.ptr, '\0', s.len), "not JSON: %s", out.ptr);
    if (!memchr(buf_str(&clean).ptr, '\0', clean.len))
        PROMISE(str_is(buf_str(&clean), cJSON_GetStringValue(read)), "another text: %s", out.ptr);
    cJSON_Delete(read);
    buf_done(&clean);
    buf_done(&out);
}

/* Two fields in one record; ours reads RFC 4180. */
static void check_csv(struct str s)
{
    struct buf out, field;
    struct csv csv;
    buf_init(&out, OUT_BYTES);
    buf_init(&field, OUT_BYTES);
    buf_addc(&out, 'x');
    buf_addc(&out, ',');
    text_add_csv(&out, s);
    buf_adds(&out, "\r\n");
    csv_init(&csv, buf_str(&out));
    PROMISE(csv_more(&csv) && csv_read(&csv, &field) == CSV_FIELD, "the field is not ended");
    PROMISE(csv_read(&csv, &field) == CSV_RECORD && !csv_more(&csv), "the record is not ended");
    struct str got = buf_str(&field);
    bool marked = got.len == s.len + 1 && got.ptr[0] == '\'';
    PROMISE(marked || str_equal(got, s), "another text");
    PROMISE(!marked || memcmp(got.ptr + 1, s.ptr, s.len) == 0, "another text behind the apostrophe");
    PROMISE(!got.len || !strchr("=@\t\r", got.ptr[0]) || !got.ptr[0], "a formula");
    buf_done(&out);
    buf_done(&field);
}

static void check_percent(struct str s)
{
    struct buf out;
    buf_init(&out, OUT_BYTES);
    text_add_percent(&out, s);
    struct str got = buf_str(&out);
    size_t at = 0;
    for (size_t i = 0; i < got.len; i++, at++) {
        unsigned byte = (unsigned char)got.ptr[i];
        if (byte == '%') {
            PROMISE(i + 2 < got.len && sscanf(got.ptr + i + 1, "%2X", &byte) == 1, "%s", got.ptr);
            i += 2;
        } else {
            PROMISE(byte > ' ' && byte < 0x7F && !strchr("/?#:@&=+", (int)byte), "%s", got.ptr);
        }
        PROMISE(at < s.len && (unsigned char)s.ptr[at] == byte, "%s", got.ptr);
    }
    PROMISE(at == s.len, "%s", got.ptr);
    buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    setlocale(LC_CTYPE, "C.UTF-8");
    struct str input = {(const char *)data, size};
    size_t columns = fuzz_byte(&input) % 64;
    check_plain(input, columns, true);
    check_plain(input, columns, false);
    check_utf8(input);
    check_json(input);
    check_csv(input);
    check_percent(input);
    return 0;
}
