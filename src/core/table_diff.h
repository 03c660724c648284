/* table_diff.h -- what tells two region tables apart, for people.
 *
 * Made from the settings in force, so it shows what a line of the file really changes; secrets by their names only. */
#ifndef CORE_TABLE_DIFF_H
#define CORE_TABLE_DIFF_H

#include "base/buf.h"
#include "core/region_table.h"

/* A line for each difference: "us/llama: slots 1 -> 2", "us/llama: added", "asia: removed", "tools.lua: changed".
 * Returns how many there are; 0 when only comments or the like differ. What is over out's maximum is left
 * out (out->full). */
size_t table_diff(const struct region_table *from, const struct region_table *to, struct buf *out);

#endif
