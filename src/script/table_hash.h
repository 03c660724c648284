/* table_hash.h -- the SHA-256 that tells one revision of a region table from another. Private to script/.
 *
 * A table alone hashes like its file does under sha256sum. Each further file adds its name and length
 * before its bytes, so that moving a line from one file to the next changes the hash too. */
#ifndef SCRIPT_TABLE_HASH_H
#define SCRIPT_TABLE_HASH_H

#include "base/str.h"

enum { HASH_TEXT = 65 };

struct table_hash;

struct table_hash *table_hash_new(void);
void table_hash_text(struct table_hash *h, struct str text);
void table_hash_file(struct table_hash *h, const char *name, struct str text);
void table_hash_end(struct table_hash *h, char out[HASH_TEXT]); /* frees h */

#endif
