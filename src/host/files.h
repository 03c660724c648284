/* files.h -- small files, read and written as one text. */
#ifndef HOST_FILES_H
#define HOST_FILES_H

#include "base/err.h"

/* Whole or not at all; an empty text removes the file. */
bool file_replace(const char *path, const char *text, struct err *err);
/* The whole file, for free(); "" when there is none. NULL on error. */
char *file_text(const char *path, struct err *err);

#endif
