/* rows.h -- rows of a query on standard output, as they come: a table, JSON lines, CSV or a JSON array.
 *
 * A table is printed in pieces of a thousand rows, so that memory has a bound; all else row by row. */
#ifndef CLI_ROWS_H
#define CLI_ROWS_H

#include "cli/args.h"
#include "store/store.h"

enum rows_format { ROWS_TABLE, ROWS_JSONL, ROWS_CSV, ROWS_JSON };

struct rows {
    enum rows_format format;
    size_t columns;            /* of the terminal; 0: cut nothing */
    int64_t count;
    struct table *table;
    struct buf line;
};

#define OPTION_FORMAT \
    {.name = "format", .value = "FORM", \
     .help = "table; jsonl, exact; or csv, with a ' before what a spreadsheet would run", \
     .fallback = "table"}

/* From --format and --json. */
bool rows_format(const struct args *args, enum rows_format *out, struct err *err);

void rows_begin(struct rows *r, enum rows_format format);
bool rows_row(void *rows, int columns, const char *const *names, const struct value *values); /* a reader_row */
void rows_end(struct rows *r);

#endif
