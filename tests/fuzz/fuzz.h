/* fuzz.h -- what a fuzz target is, and what several of them check.
 *
 * A target is one file: fuzz_NAME.c takes any bytes and aborts when a promise is broken. `make fuzz` links it to
 * libFuzzer, `make test` to replay.c, which runs the inputs under corpus/NAME once each. */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/defs.h"
#include "base/err.h"
#include "base/str.h"
#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PROMISE(held, ...) \
    do {                   \
        if (!(held)) {     \
            fprintf(stderr, "%s:%d: broken promise: %s: ", __FILE__, __LINE__, #held); \
            fprintf(stderr, __VA_ARGS__); \
            fputc('\n', stderr); \
            abort();       \
        }                  \
    } while (0)

/* The next byte of the input, 0 behind its end: small choices in front of the bytes that matter. */
static inline uint8_t fuzz_byte(struct str *input)
{
    uint8_t byte = 0;
    if (input->len) {
        byte = (uint8_t)*input->ptr++;
        input->len--;
    }
    return byte;
}

/* All up to the separator; what follows it stays in *input. */
static inline struct str fuzz_piece(struct str *input, char separator)
{
    const char *end = input->len ? memchr(input->ptr, separator, input->len) : NULL;
    struct str piece = {input->ptr, end ? (size_t)(end - input->ptr) : input->len};
    size_t used = piece.len + (end != NULL);
    input->ptr += used;
    input->len -= used;
    return piece;
}

/* A copy of the bytes, ended by a NUL, that is not one byte too long. */
static inline char *fuzz_text(struct str s)
{
    char *text = malloc(s.len + 1);
    if (!text)
        abort();
    if (s.len)
        memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    return text;
}

/* Fit for a terminal: UTF-8 without a character that it obeys, or that makes a line read as something else. */
static inline void fuzz_plain(struct str s, bool one_line)
{
    static const char *const turns[] = {"\xD8\x9C", "\xE2\x80\x8E", "\xE2\x80\x8F", "\xE2\x80\xA8", "\xE2\x80\xAE",
                                        "\xE2\x81\xA6", "\xE2\x81\xA9"};
    PROMISE(text_is_utf8(s), "not UTF-8: \"%.*s\"", (int)s.len, s.ptr);
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i], next = i + 1 < s.len ? (unsigned char)s.ptr[i + 1] : 0;
        bool control = c < ' ' ? c != '\n' || one_line : c == 0x7F || (c == 0xC2 && next < 0xA0);
        PROMISE(!control, "a control character: \"%.*s\"", (int)s.len, s.ptr);
        for (size_t t = 0; t < ARRAY_LEN(turns); t++)
            PROMISE(s.len - i < strlen(turns[t]) || memcmp(s.ptr + i, turns[t], strlen(turns[t])) != 0,
                    "it turns the line: \"%.*s\"", (int)s.len, s.ptr);
    }
}

/* A refusal says something, and of the world, not of a bug of ours. */
static inline void fuzz_refusal(const struct err *err)
{
    PROMISE(err->code != ERR_NONE && err->text[0], "refused without a reason");
}

#endif
