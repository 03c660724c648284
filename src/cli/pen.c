#include "cli/pen.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/text.h"

static const char *const inks[] = {
    [INK_PLAIN] = "", [INK_BOLD] = "\033[1m", [INK_DIM] = "\033[2m",
    [INK_GOOD] = "\033[32m", [INK_BUSY] = "\033[33m", [INK_BAD] = "\033[31m",
};

void pen_text(struct pen *p, enum ink ink, const char *text)
{
    if (p->column >= p->columns || !*text)
        return;
    bool colored = p->colors && ink != INK_PLAIN;
    if (colored)
        buf_adds(p->out, inks[ink]);
    p->column += text_add_plain(p->out, str_from(text), p->columns - p->column, true);
    if (colored)
        buf_adds(p->out, "\033[0m");
}

void pen_textf(struct pen *p, enum ink ink, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    pen_text(p, ink, text);
}

void pen_to(struct pen *p, size_t column)
{
    if (p->column && column <= p->column)
        column = p->column + 1;
    if (column > p->columns)
        column = p->columns;
    while (p->column < column) {
        buf_addc(p->out, ' ');
        p->column++;
    }
}

/* Cells for a share; something is never shown as nothing, nor nearly all as all. */
static size_t share(size_t cells, uint32_t part, uint32_t total)
{
    if (!part || !total)
        return 0;
    size_t n = (size_t)((uint64_t)cells * part / total);
    return n ? n : 1;
}

void pen_marks(struct pen *p, enum ink ink, const char *mark, size_t count)
{
    if (!count)
        return;
    if (p->colors && ink != INK_PLAIN)
        buf_adds(p->out, inks[ink]);
    for (; count && p->column < p->columns; count--, p->column++)
        buf_adds(p->out, mark);
    if (p->colors && ink != INK_PLAIN)
        buf_adds(p->out, "\033[0m");
}

void pen_bar(struct pen *p, size_t cells, const struct bar *bar)
{
    static const struct { enum ink ink; const char *mark; } kinds[] = {
        {INK_GOOD, "█"}, {INK_BAD, "x"}, {INK_DIM, "-"}, {INK_BUSY, "▒"}};
    const uint32_t parts[] = {bar->good, bar->bad, bar->closed, bar->busy};
    size_t widths[ARRAY_LEN(parts)], used = 0, widest = 0;
    uint32_t sum = 0;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        used += widths[i] = share(cells, parts[i], bar->total);
        widest = parts[i] > parts[widest] ? i : widest;
        sum += parts[i];
    }
    for (; used > cells && widths[widest]; used--)
        widths[widest]--;
    if (sum == bar->total && used < cells) { /* rounding must not leave a gap when nothing waits */
        widths[widest] += cells - used;
        used = cells;
    }
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        pen_marks(p, kinds[i].ink, kinds[i].mark, widths[i]);
    pen_marks(p, INK_DIM, "·", used < cells ? cells - used : 0);
}
