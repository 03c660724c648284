#include "store/sqlite_wal.h"

#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "base/mem.h"

enum { GATHER_BYTES = 120 * 1024 }; /* SQLite's own VFS writes less than 128 KiB at a time */

/* The file of the VFS below lies behind it. */
struct log_file {
    sqlite3_file base;
    sqlite3_int64 at;       /* where the first gathered byte belongs */
    int used;
    char *gathered;
};

static sqlite3_vfs *below;

static struct log_file *log_of(sqlite3_file *f)
{
    return (struct log_file *)(void *)f;
}

static sqlite3_file *file_below(sqlite3_file *f)
{
    return (sqlite3_file *)(void *)(log_of(f) + 1);
}

/* What could not be written is dropped: the transaction fails, and whatever comes next begins where it did. */
static int flush(sqlite3_file *f)
{
    struct log_file *log = log_of(f);
    int size = log->used;
    log->used = 0;
    return size > 0 ? file_below(f)->pMethods->xWrite(file_below(f), log->gathered, size, log->at) : SQLITE_OK;
}

static int log_write(sqlite3_file *f, const void *bytes, int size, sqlite3_int64 at)
{
    struct log_file *log = log_of(f);
    if (log->used > 0 && (at != log->at + log->used || size > GATHER_BYTES - log->used)) {
        int code = flush(f);
        if (code != SQLITE_OK)
            return code;
    }
    if (size > GATHER_BYTES)
        return file_below(f)->pMethods->xWrite(file_below(f), bytes, size, at);
    if (log->used == 0)
        log->at = at;
    memcpy(log->gathered + log->used, bytes, (size_t)size);
    log->used += size;
    return SQLITE_OK;
}

/* Whoever looks at the file, or counts on what is in it, finds all that was written. */
#define AFTER_FLUSH(method, ...)                                                                          \
    do {                                                                                                  \
        int code_ = flush(f);                                                                             \
        return code_ != SQLITE_OK ? code_ : file_below(f)->pMethods->method(file_below(f), __VA_ARGS__);  \
    } while (0)

static int log_read(sqlite3_file *f, void *bytes, int size, sqlite3_int64 at)
{
    AFTER_FLUSH(xRead, bytes, size, at);
}

static int log_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    AFTER_FLUSH(xTruncate, size);
}

static int log_sync(sqlite3_file *f, int flags)
{
    AFTER_FLUSH(xSync, flags);
}

static int log_size(sqlite3_file *f, sqlite3_int64 *size)
{
    AFTER_FLUSH(xFileSize, size);
}

static int log_control(sqlite3_file *f, int operation, void *argument)
{
    AFTER_FLUSH(xFileControl, operation, argument);
}

static int log_close(sqlite3_file *f)
{
    int flushed = flush(f), closed = file_below(f)->pMethods->xClose(file_below(f));
    free(log_of(f)->gathered);
    return flushed != SQLITE_OK ? flushed : closed;
}

static int log_lock(sqlite3_file *f, int level)
{
    return file_below(f)->pMethods->xLock(file_below(f), level);
}

static int log_unlock(sqlite3_file *f, int level)
{
    return file_below(f)->pMethods->xUnlock(file_below(f), level);
}

static int log_is_reserved(sqlite3_file *f, int *out)
{
    return file_below(f)->pMethods->xCheckReservedLock(file_below(f), out);
}

static int log_sector_size(sqlite3_file *f)
{
    return file_below(f)->pMethods->xSectorSize(file_below(f));
}

static int log_characteristics(sqlite3_file *f)
{
    return file_below(f)->pMethods->xDeviceCharacteristics(file_below(f));
}

static const sqlite3_io_methods log_methods = {
    .iVersion = 1, /* a log is neither mapped nor shared memory */
    .xClose = log_close,
    .xRead = log_read,
    .xWrite = log_write,
    .xTruncate = log_truncate,
    .xSync = log_sync,
    .xFileSize = log_size,
    .xLock = log_lock,
    .xUnlock = log_unlock,
    .xCheckReservedLock = log_is_reserved,
    .xFileControl = log_control,
    .xSectorSize = log_sector_size,
    .xDeviceCharacteristics = log_characteristics,
};

static int open_file(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *f, int flags, int *out_flags)
{
    (void)vfs;
    if (!(flags & SQLITE_OPEN_WAL))
        return below->xOpen(below, name, f, flags, out_flags);
    *log_of(f) = (struct log_file){0};
    int code = below->xOpen(below, name, file_below(f), flags, out_flags);
    if (code != SQLITE_OK)
        return code;
    log_of(f)->gathered = mem_alloc(GATHER_BYTES);
    f->pMethods = &log_methods;
    return SQLITE_OK;
}

const char *wal_vfs_register(void)
{
    static sqlite3_vfs vfs;
    below = sqlite3_vfs_find(NULL);
    if (!below)
        return NULL;
    vfs = *below;
    vfs.zName = "canvass";
    vfs.szOsFile += (int)sizeof(struct log_file);
    vfs.xOpen = open_file;
    return sqlite3_vfs_register(&vfs, 0) == SQLITE_OK ? vfs.zName : NULL;
}
