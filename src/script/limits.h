/* limits.h -- what a script may use up, and settings from the command line. */
#ifndef SCRIPT_LIMITS_H
#define SCRIPT_LIMITS_H

#include <stddef.h>
#include <stdint.h>

struct script_limits {
    int64_t load_us;      /* CPU time to load a file: 2 s unless set */
    int64_t call_us;      /* CPU time of one call: 1 s unless set */
    size_t memory_bytes;  /* of one Lua state: 64 MiB unless set */
};

#define SCRIPT_LIMITS_DEFAULT {2000000, 1000000, 64u << 20}

struct script_setting {   /* --set key=value: script.settings.key in the job script */
    const char *key, *value;
};

#endif
