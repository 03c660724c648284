#include "cli/rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/output.h"
#include "cli/table.h"
#include "host/row.h"

enum { PIECE_ROWS = 1000, LINE_BYTES = 256 << 20, COLUMNS_MAX = 64 };

bool rows_format(const struct args *args, enum rows_format *out, struct err *err)
{
    static const char *const forms[] = {[ROWS_TABLE] = "table", [ROWS_JSONL] = "jsonl", [ROWS_CSV] = "csv"};
    int form = ROWS_TABLE;
    if (!args_choice(args, "format", forms, ARRAY_LEN(forms), &form, err))
        return false;
    *out = args_flag(args, "json") ? ROWS_JSON : (enum rows_format)form;
    return true;
}

void rows_begin(struct rows *r, enum rows_format format)
{
    *r = (struct rows){.format = format, .columns = out_columns()};
    buf_init(&r->line, LINE_BYTES);
}

static void add_csv_row(struct buf *out, int columns, const struct value *values)
{
    for (int i = 0; i < columns; i++) {
        if (i)
            buf_addc(out, ',');
        if (values[i].type == VALUE_TEXT)
            text_add_csv(out, values[i].text);
        else
            row_add_value(out, &values[i]);
    }
    buf_adds(out, "\r\n");
}

static void print_piece(struct rows *r)
{
    if (!r->table)
        return;
    table_print(r->table, r->columns, &r->line);
    table_free(r->table);
    r->table = NULL;
}

static void add_table_row(struct rows *r, int columns, const char *const *names, const struct value *values)
{
    if (r->count && r->count % PIECE_ROWS == 0) {
        print_piece(r);
        buf_addc(&r->line, '\n');
    }
    columns = columns < COLUMNS_MAX ? columns : COLUMNS_MAX;
    if (!r->table) {
        r->table = table_new();
        for (int i = 0; i < columns; i++)
            table_column(r->table, names[i],
                         values[i].type == VALUE_INTEGER || values[i].type == VALUE_REAL ? TABLE_RIGHT : TABLE_FLEX);
    }
    for (int i = 0; i < columns; i++) {
        struct buf cell;
        buf_init(&cell, LINE_BYTES);
        row_add_value(&cell, &values[i]);
        table_cell(r->table, values[i].type == VALUE_NULL ? STR("-") : buf_str(&cell));
        buf_done(&cell);
    }
}

bool rows_row(void *rows, int columns, const char *const *names, const struct value *values)
{
    struct rows *r = rows;
    switch (r->format) {
    case ROWS_TABLE:
        add_table_row(r, columns, names, values);
        break;
    case ROWS_JSON:
        if (r->count)
            buf_addc(&r->line, ',');
        row_add_json(&r->line, columns, names, values);
        break;
    case ROWS_JSONL:
        row_add_json(&r->line, columns, names, values);
        buf_addc(&r->line, '\n');
        break;
    case ROWS_CSV:
        for (int i = 0; r->count == 0 && i < columns; i++) {
            if (i)
                buf_addc(&r->line, ',');
            text_add_csv(&r->line, str_from(names[i]));
        }
        if (r->count == 0)
            buf_adds(&r->line, "\r\n");
        add_csv_row(&r->line, columns, values);
        break;
    }
    r->count++;
    bool ok = out_data(buf_str(&r->line));
    buf_clear(&r->line);
    return ok;
}

void rows_end(struct rows *r)
{
    print_piece(r);
    out_buf(&r->line);
    buf_done(&r->line);
}
