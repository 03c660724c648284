/* data_list.h -- canvass.jsonl, canvass.csv and canvass.json: the rows of a data file. Private to script/.
 *
 * A list looks like a Lua table of rows (# [i] ipairs pairs) but is the file's text and where each
 * row starts, outside the script's memory: 100,000 questions that nobody touches cost no Lua value. A
 * row is made when it is first looked at, and then stays, so that a script may change it. list:map(f) is a list
 * of what f makes of each row: made whenever it is looked at, it costs as little. */
#ifndef SCRIPT_DATA_LIST_H
#define SCRIPT_DATA_LIST_H

#include "script/sandbox.h"

enum { DATA_BYTES = 256 << 20 }; /* of all data files of a script */

struct data_list;

enum { PLACE_TEXT = 256 };

/* ---- all that take a lua_State may raise; a malformed file is raised with its line ---- */

/* Adds jsonl, csv and json to the table on top of the stack. *bytes counts what was read; it outlives the state. */
void data_add_functions(lua_State *L, size_t *bytes);
/* Pushes a list made of text that the caller keeps as long as the state; kind is "jsonl" or "csv". */
void data_push(lua_State *L, const char *kind, const char *name, struct str text);
/* Pushes the list that a JSON text holds, alone or as "questions" of an object: a plain table. */
void data_push_json(lua_State *L, const char *name, struct str text);
/* Pushes row i, from 0, of the list at index: what the script made of it, if it did. */
void data_push_row(lua_State *L, int index, size_t i);

struct data_list *data_test(lua_State *L, int index); /* NULL if it is something else */
size_t data_count(const struct data_list *d);
void data_place(const struct data_list *d, size_t i, char out[PLACE_TEXT]); /* "questions.csv:7" */

#endif
