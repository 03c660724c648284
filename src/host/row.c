#include "host/row.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"

/* The shortest text that reads back as the same number. */
static void real_text(double value, char out[40])
{
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(out, 40, "%.*g", digits, value);
        if (strtod(out, NULL) == value)
            return;
    }
}

void row_add_value(struct buf *out, const struct value *v)
{
    char number[40];
    switch (v->type) {
    case VALUE_NULL:
        break;
    case VALUE_INTEGER:
        buf_addf(out, "%lld", (long long)v->integer);
        break;
    case VALUE_REAL:
        real_text(v->real, number);
        buf_adds(out, number);
        break;
    case VALUE_TEXT:
        buf_add(out, v->text.ptr, v->text.len);
        break;
    }
}

void row_add_json(struct buf *out, int columns, const char *const *names, const struct value *values)
{
    buf_addc(out, '{');
    for (int i = 0; i < columns; i++) {
        if (i)
            buf_addc(out, ',');
        text_add_json(out, str_from(names[i]));
        buf_addc(out, ':');
        if (values[i].type == VALUE_TEXT)
            text_add_json(out, values[i].text);
        else if (values[i].type == VALUE_NULL || (values[i].type == VALUE_REAL && !isfinite(values[i].real)))
            buf_adds(out, "null");
        else
            row_add_value(out, &values[i]);
    }
    buf_addc(out, '}');
}
