/* numbers.h -- the C module canvass.numbers: a seeded generator and permutation tests. Private to script/. */
#ifndef SCRIPT_NUMBERS_H
#define SCRIPT_NUMBERS_H

#include <lua.h>

int numbers_open(lua_State *L); /* for script_module() */

#endif
