/* output.h -- standard output and the terminal, for all commands.
 *
 * Standard output carries results only. Its first failure is remembered and told by out_finish(), so that
 * a full disk never looks like success; a reader that went away (EPIPE) ends the output quietly. */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct cJSON;

bool out_str(struct str s);      /* false: nobody reads any more, stop */
bool out_text(const char *text);
bool out_buf(struct buf *b);     /* and clears b */
/* What others wrote, as it is for a program that reads it; a terminal is shown what would steer it. */
bool out_data(struct str s);
void out_json(struct cJSON *json); /* one line; frees json */
/* The command's exit status after its output. */
int out_finish(int status);

/* "canvass: WHAT (WHERE): WHAT TO DO" on stderr; returns the exit status for it. */
int complain(const struct err *err);

size_t out_columns(void);        /* of standard output; 0 when it is no terminal: cut nothing */
bool terminal_size(int fd, size_t *columns, size_t *rows); /* false when fd is no terminal */
bool terminal_colors(int fd);    /* a terminal, not dumb, NO_COLOR unset */

#endif
