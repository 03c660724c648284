#include "cli/output.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "base/text.h"
#include "cli/args.h"

/* The process has one standard output, and so one state of it. */
static int output_errno;

bool out_str(struct str s)
{
    if (!output_errno && s.len && fwrite(s.ptr, 1, s.len, stdout) != s.len)
        output_errno = errno ? errno : EIO;
    return !output_errno;
}

bool out_text(const char *text)
{
    return out_str(str_from(text));
}

bool out_buf(struct buf *b)
{
    bool ok = out_str(buf_str(b));
    buf_clear(b);
    return ok;
}

bool out_data(struct str s)
{
    struct buf shown;
    if (!isatty(STDOUT_FILENO))
        return out_str(s);
    buf_init(&shown, SIZE_MAX / 2);
    text_add_plain(&shown, s, 0, false);
    bool ok = out_buf(&shown);
    buf_done(&shown);
    return ok;
}

void out_json(cJSON *json)
{
    char *text = cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    out_data(str_from(text ? text : "null"));
    out_text("\n");
    cJSON_free(text);
}

int out_finish(int status)
{
    if (fflush(stdout) != 0 && !output_errno)
        output_errno = errno ? errno : EIO;
    if (!output_errno || output_errno == EPIPE)
        return status;
    fprintf(stderr, "canvass: the output is incomplete (standard output): %s; make room and ask again\n",
            strerror(output_errno));
    return status ? status : EXIT_SOME_FAILED;
}

int complain(const struct err *err)
{
    struct buf line;
    buf_init(&line, 16384);
    text_add_plain(&line, str_from(err->text), 0, false);
    fprintf(stderr, "canvass: %s\n", buf_str(&line).ptr);
    buf_done(&line);
    return err->code == ERR_STORE ? EXIT_STORE : EXIT_USAGE;
}

bool terminal_size(int fd, size_t *columns, size_t *rows)
{
    if (!isatty(fd))
        return false;
    struct winsize size = {0};
    bool known = ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col && size.ws_row;
    *columns = known ? size.ws_col : 80;
    *rows = known ? size.ws_row : 24;
    return true;
}

size_t out_columns(void)
{
    size_t columns, rows;
    return terminal_size(STDOUT_FILENO, &columns, &rows) ? columns : 0;
}

bool terminal_colors(int fd)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(fd) && !(no_color && *no_color) && term && strcmp(term, "dumb") != 0;
}
