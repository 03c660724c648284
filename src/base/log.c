#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/text.h"
#include "base/timeutil.h"

/* JSON writes a byte as six at most, so FIELDS_MAX full values still fit into LINE_BYTES and no line is ever cut
 * where it would stop being JSON. */
enum { FIELDS_MAX = 32, VALUE_BYTES = 4096, LINE_BYTES = 1024 * 1024 };

static atomic_int least = LOG_INFO;

/* All below belongs to whoever holds the lock: the store's writer thread logs too. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static enum log_format format = LOG_TEXT;
static void (*sink)(void *ctx, const char *line);
static void *sink_ctx;
static struct buf line = {.max = LINE_BYTES}, scratch = {.max = 4 * VALUE_BYTES};

static const char *const text_levels[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};
static const char *const json_levels[] = {"debug", "info", "warn", "error"};

void log_setup(enum log_level new_least, enum log_format new_format)
{
    pthread_mutex_lock(&lock);
    atomic_store(&least, (int)new_least);
    format = new_format;
    pthread_mutex_unlock(&lock);
}

void log_sink(void (*new_sink)(void *ctx, const char *line), void *ctx)
{
    pthread_mutex_lock(&lock);
    sink = new_sink;
    sink_ctx = ctx;
    pthread_mutex_unlock(&lock);
}

/* Cut between characters: one cut in half would show as a broken one. */
static struct str bounded(const char *text)
{
    struct str s = str_from(text);
    if (s.len > VALUE_BYTES) {
        s.len = VALUE_BYTES;
        while (s.len > VALUE_BYTES - 4 && ((unsigned char)s.ptr[s.len] & 0xC0) == 0x80)
            s.len--;
    }
    return s;
}

static void add_number(const struct log_field *f)
{
    if (f->type == LOG_INT)
        buf_addf(&line, "%lld", (long long)f->integer);
    else if (isfinite(f->real))
        buf_addf(&line, "%.15g", f->real);
    else
        buf_adds(&line, format == LOG_JSON ? "null" : "-");
}

/* A value with a space or a quote in it is quoted, so that fields can be told apart again. */
static void add_text_value(const char *value)
{
    buf_clear(&scratch);
    text_add_plain(&scratch, bounded(value), 0, true);
    struct str s = buf_str(&scratch);
    if (s.len && !memchr(s.ptr, ' ', s.len) && !memchr(s.ptr, '"', s.len) && !memchr(s.ptr, '=', s.len))
        buf_add(&line, s.ptr, s.len);
    else
        text_add_json(&line, s);
}

static void add_fields(const struct log_field *fields)
{
    int count = 0;
    for (const struct log_field *f = fields; f->name; f++) {
        if (f->type == LOG_STRING && !f->string)
            continue;
        count++;
        assert(count <= FIELDS_MAX);
        buf_addf(&line, format == LOG_JSON ? ",\"%s\":" : " %s=", f->name);
        if (f->type != LOG_STRING)
            add_number(f);
        else if (format == LOG_JSON)
            text_add_json(&line, bounded(f->string));
        else
            add_text_value(f->string);
    }
}

static void build(enum log_level level, const char *message, const struct log_field *fields)
{
    char now[DURATION_TEXT];
    unix_format(unix_now_s(), now);
    buf_clear(&line);
    if (format == LOG_JSON) {
        buf_addf(&line, "{\"time\":\"%s\",\"level\":\"%s\",\"message\":", now, json_levels[level]);
        text_add_json(&line, bounded(message));
        add_fields(fields);
        buf_addc(&line, '}');
    } else {
        buf_addf(&line, "%s %s ", now, text_levels[level]);
        text_add_plain(&line, bounded(message), 0, true);
        add_fields(fields);
    }
}

bool log_wanted(enum log_level level)
{
    return (int)level >= atomic_load(&least);
}

void log_fields(enum log_level level, const char *message, const struct log_field *fields)
{
    if (!log_wanted(level))
        return;
    int saved = errno;
    pthread_mutex_lock(&lock);
    build(level, message, fields);
    if (sink) {
        sink(sink_ctx, line.ptr);
    } else {
        buf_addc(&line, '\n');
        /* One write, so that the lines of several processes do not mix. Nobody could be told if it fails. */
        while (write(STDERR_FILENO, line.ptr, line.len) < 0 && errno == EINTR)
            ;
    }
    pthread_mutex_unlock(&lock);
    errno = saved;
}
