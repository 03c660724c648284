/* row.h -- a row of the database as text. */
#ifndef HOST_ROW_H
#define HOST_ROW_H

#include "base/buf.h"
#include "store/store.h"

/* NULL adds nothing; a number has the fewest digits that read back as the same; text is as it is. */
void row_add_value(struct buf *out, const struct value *v);

/* A JSON object of the columns; NaN and infinity are null. */
void row_add_json(struct buf *out, int columns, const char *const *names, const struct value *values);

#endif
