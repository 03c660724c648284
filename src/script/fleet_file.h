/* fleet_file.h -- a fleet file (Lua) into a fleet_spec, every error naming file, key path and cure. */
#ifndef SCRIPT_FLEET_FILE_H
#define SCRIPT_FLEET_FILE_H

#include "base/err.h"
#include "core/fleet_spec.h"
#include "script/limits.h"

MUST_USE struct fleet_spec *fleet_load(const char *path, const struct script_limits *limits, struct err *err);

#endif
