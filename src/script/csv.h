/* csv.h -- reads a CSV text (RFC 4180) field by field: quotes, doubled quotes, newlines inside quotes, CRLF or LF,
 * a byte order mark, a last line without an end. Pure; private to script/. */
#ifndef SCRIPT_CSV_H
#define SCRIPT_CSV_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/str.h"

struct csv {
    struct str text;
    size_t at;         /* the next byte */
    size_t line;       /* from 1, where `at` stands */
    const char *wrong; /* after CSV_WRONG: "WHAT: WHAT TO DO"; it is on `line` */
};

enum csv_end {
    CSV_FIELD,  /* another field of this record follows */
    CSV_RECORD, /* that was the record's last field */
    CSV_WRONG,
};

void csv_init(struct csv *c, struct str text);
/* Stands at the start of a record: skips empty lines, false at the end of the text. */
bool csv_more(struct csv *c);
/* Replaces what field holds by the next field. */
enum csv_end csv_read(struct csv *c, struct buf *field);

#endif
