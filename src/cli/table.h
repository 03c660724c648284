/* table.h -- rows and columns of text for the terminal, as wide as they look.
 *
 * Cells may hold anything an endpoint answered: they are made harmless and put on one line. When
 * a table is wider than the screen its flexible columns are cut, with an ellipsis. */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include <stddef.h>

#include "base/buf.h"
#include "base/str.h"

enum table_align { TABLE_LEFT, TABLE_RIGHT, TABLE_FLEX /* left, and may be cut */ };

struct table;

struct table *table_new(void);
void table_free(struct table *t);
void table_column(struct table *t, const char *name, enum table_align align); /* all before the first cell */
void table_cell(struct table *t, struct str s);   /* copied; row after row */
void table_text(struct table *t, const char *text);
void table_cellf(struct table *t, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* columns 0: as wide as it needs to be. Nothing is printed for a table without rows. */
void table_print(const struct table *t, size_t columns, struct buf *out);

#endif
