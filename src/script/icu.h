/* icu.h -- what is needed of ICU, loaded when it is first needed: its four libraries are a fifth of what it costs to
 * start the program, and most commands look into no text. Private to script/. */
#ifndef SCRIPT_ICU_H
#define SCRIPT_ICU_H

#include <unicode/ubrk.h>
#include <unicode/unorm2.h>
#include <unicode/uscript.h>
#include <unicode/ustring.h>

#include "base/late.h"

#define ICU_FUNCTIONS(f)                                                                                               \
    f(u_countChar32) f(u_errorName) f(u_isUWhiteSpace) f(u_strFromUTF8WithSub) f(u_strToUTF32WithSub)                  \
    f(u_strToUTF8WithSub) f(ubrk_close) f(ubrk_first) f(ubrk_getRuleStatus) f(ubrk_next) f(ubrk_open)                  \
    f(ubrk_setText) f(unorm2_getNFKCCasefoldInstance) f(unorm2_normalize) f(uscript_getScript)                         \
    f(uscript_getShortName)

/* The functions by their names: icu.ubrk_next(b). ICU's headers make each name that of their own version, here as
 * where it is called, so that no other version is ever taken. */
struct icu {
    ICU_FUNCTIONS(LATE_MEMBER)
};

extern struct icu icu; /* empty until icu_load */

/* NULL, or why it cannot be had. From any thread, any number of times. */
const char *icu_load(void);

#endif
