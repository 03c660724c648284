#include "cli/table.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/text.h"

enum { COLUMNS_MAX = 64, GAP = 2, FLEX_LEAST = 8, CELL_MAX = 16 << 20 };

struct column {
    const char *name;
    enum table_align align;
    size_t width;
};

struct table {
    struct arena arena;
    struct column columns[COLUMNS_MAX];
    size_t column_count;
    struct str *cells;
    size_t cell_count, cell_cap;
};

struct table *table_new(void)
{
    struct table *t = mem_zalloc(sizeof *t);
    arena_init(&t->arena);
    return t;
}

void table_free(struct table *t)
{
    arena_done(&t->arena);
    free(t->cells);
    free(t);
}

void table_column(struct table *t, const char *name, enum table_align align)
{
    assert(t->column_count < COLUMNS_MAX && t->cell_count == 0);
    t->columns[t->column_count++] = (struct column){
        .name = arena_strdup(&t->arena, name), .align = align, .width = text_columns(str_from(name))};
}

void table_cell(struct table *t, struct str s)
{
    assert(t->column_count);
    if (t->cell_count == t->cell_cap) {
        t->cell_cap = t->cell_cap ? t->cell_cap * 2 : 64;
        t->cells = mem_array(t->cells, t->cell_cap, sizeof *t->cells);
    }
    struct buf plain;
    buf_init(&plain, CELL_MAX);
    struct column *c = &t->columns[t->cell_count % t->column_count];
    size_t width = text_add_plain(&plain, s, 0, true);
    if (width > c->width)
        c->width = width;
    t->cells[t->cell_count++] = arena_str(&t->arena, buf_str(&plain));
    buf_done(&plain);
}

void table_text(struct table *t, const char *text)
{
    table_cell(t, str_from(text ? text : ""));
}

void table_cellf(struct table *t, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    table_text(t, text);
}

/* Takes from the widest flexible column until the row fits or nothing more can go. */
static void fit(const struct table *t, size_t columns, size_t widths[COLUMNS_MAX])
{
    size_t total = GAP * (t->column_count - 1);
    for (size_t i = 0; i < t->column_count; i++)
        total += widths[i] = t->columns[i].width;
    while (columns && total > columns) {
        size_t widest = t->column_count, second = FLEX_LEAST;
        for (size_t i = 0; i < t->column_count; i++) {
            if (t->columns[i].align != TABLE_FLEX || widths[i] <= FLEX_LEAST)
                continue;
            if (widest == t->column_count || widths[i] > widths[widest]) {
                second = widest == t->column_count ? second : widths[widest];
                widest = i;
            } else if (widths[i] > second) {
                second = widths[i];
            }
        }
        if (widest == t->column_count)
            return;
        size_t excess = total - columns, spare = widths[widest] - second;
        size_t cut = spare == 0 ? 1 : excess < spare ? excess : spare;
        widths[widest] -= cut;
        total -= cut;
    }
}

static void add_cell(struct buf *out, struct str s, const struct column *c, size_t width, bool last)
{
    size_t used = text_columns(s), pad = used < width ? width - used : 0;
    if (c->align == TABLE_RIGHT)
        buf_addf(out, "%*s", (int)pad, "");
    if (used > width)
        pad = width - text_add_plain(out, s, width, true);
    else
        buf_add(out, s.ptr, s.len);
    if (!last)
        buf_addf(out, "%*s", (int)(c->align == TABLE_RIGHT ? GAP : pad + GAP), "");
}

static void end_line(struct buf *out)
{
    while (out->len && out->ptr[out->len - 1] == ' ')
        out->ptr[--out->len] = '\0';
    buf_addc(out, '\n');
}

void table_print(const struct table *t, size_t columns, struct buf *out)
{
    if (t->cell_count == 0)
        return;
    assert(t->cell_count % t->column_count == 0);
    size_t widths[COLUMNS_MAX];
    fit(t, columns, widths);
    for (size_t i = 0; i < t->column_count; i++)
        add_cell(out, str_from(t->columns[i].name), &t->columns[i], widths[i], i + 1 == t->column_count);
    end_line(out);
    for (size_t i = 0; i < t->cell_count; i++) {
        size_t column = i % t->column_count;
        bool last = column + 1 == t->column_count;
        add_cell(out, t->cells[i], &t->columns[column], widths[column], last);
        if (last)
            end_line(out);
    }
}
