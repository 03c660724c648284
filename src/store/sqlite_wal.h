/* sqlite_wal.h -- a VFS that writes what a commit adds to the log at once.
 *
 * SQLite writes each page of the write-ahead log by itself, and a header of 24 bytes before each: forty system calls
 * for a commit of twenty pages. Here they are gathered, and written when the log is synced or read. Only for
 * connections with synchronous = FULL: those sync the log before they tell other connections what is in it. */
#ifndef STORE_SQLITE_WAL_H
#define STORE_SQLITE_WAL_H

/* Registers it beside the default one, once; the name is for sqlite3_open_v2(). NULL: out of memory. */
const char *wal_vfs_register(void);

#endif
