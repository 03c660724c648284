/* Answers in a table on the screen: each row stays one line, no wider than the screen, and harmless. The first byte is
 * the screen's width; cells are ended by zero bytes. */
#include "fuzz.h"

#include <locale.h>

#include "cli/table.h"

enum { COLUMNS = 3, OUT_BYTES = 4 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    setlocale(LC_CTYPE, "C.UTF-8");
    struct str input = {(const char *)data, size};
    size_t width = fuzz_byte(&input), rows = 0, flexible_least = 40; /* what the columns cannot do without */
    struct table *t = table_new();
    table_column(t, "id", TABLE_FLEX);
    table_column(t, "answer", TABLE_FLEX);
    table_column(t, "n", TABLE_FLEX);
    for (; input.len; rows++)
        for (int i = 0; i < COLUMNS; i++)
            table_cell(t, fuzz_piece(&input, '\0'));
    struct buf out;
    buf_init(&out, OUT_BYTES);
    table_print(t, width, &out);
    struct str text = buf_str(&out);
    size_t lines = 0;
    for (; text.len; lines++) {
        struct str line = fuzz_piece(&text, '\n');
        fuzz_plain(line, true);
        PROMISE(!width || width < flexible_least || text_columns(line) <= width, "%zu columns on %zu",
                text_columns(line), width);
    }
    PROMISE(rows ? lines == rows + 1 || lines == rows + 2 : lines == 0, "%zu lines for %zu rows", lines, rows);
    buf_done(&out);
    table_free(t);
    return 0;
}
