/* text_lib.h -- the C module canvass.text for the analysis. Private to script/. */
#ifndef SCRIPT_TEXT_LIB_H
#define SCRIPT_TEXT_LIB_H

#include <lua.h>

int text_lib_open(lua_State *L); /* for script_module() */

#endif
