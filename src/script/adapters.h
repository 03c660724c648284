/* adapters.h -- the adapters of one region table: Lua modules that turn an execution into a request
 * and a response into an answer. Private to script/; the engine sees the port in table_file.h.
 *
 * Each adapter has a Lua state of its own, so that one that loops or eats memory harms no other. Such a
 * state is thrown away and made again for the next call; after ADAPTER_STRIKES in a row the adapter stays stopped. */
#ifndef SCRIPT_ADAPTERS_H
#define SCRIPT_ADAPTERS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "core/region_table.h"
#include "script/limits.h"

enum { ADAPTER_STRIKES = 3 };

struct adapters;

/* folder: of the table; table_name: its file name in there, which is no adapter whatever it is called. */
/* kept: where files are instead of in the folder; borrowed; NULL: in the folder. */
struct adapters *adapters_new(const char *folder, const char *table_name, const struct sources *kept,
                              const struct script_limits *limits);
void adapters_free(void *adapters); /* NULL is a no-op */

/* Loads the adapter when it was not yet: FOLDER/adapters/NAME.lua, FOLDER/NAME.lua, or the built-in one. */
enum adapters_found { ADAPTER_FOUND, ADAPTER_UNKNOWN, ADAPTER_BROKEN };
enum adapters_found adapters_find(struct adapters *a, const char *name, int *slot,
                                  struct err *err); /* err when broken */
/* The names an operator may write: built-in ones and files, as "modal, openai". */
void adapters_known(const struct adapters *a, struct buf *out);

/* "adapters/mine.lua", NULL for a built-in one. */
const char *adapters_file(const struct adapters *a, int slot);
size_t adapters_headers(const struct adapters *a, int slot, const struct header **out);
/* Does the adapter take these options? options: a JSON object. On false *option names the one at
 * fault (it lives as long as a), and err holds only what is wrong with it and the cure: "...: ..." */
bool adapters_check_options(struct adapters *a, int slot, const char *options, const char **option, struct err *err);

/* The endpoints are complete: what request and read of each will be given. options as above, one each. */
void adapters_ready(struct adapters *a, const struct region_table *t, const char *const *options);
/* The files that the adapters are made of; out: NULL to count them. */
size_t adapters_files(const struct adapters *a, struct source_file *out);

#endif
