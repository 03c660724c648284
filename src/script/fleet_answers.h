/* fleet_answers.h -- answers written by a fleet file's own function. Private to script/fleet_*.c. */
#ifndef SCRIPT_FLEET_ANSWERS_H
#define SCRIPT_FLEET_ANSWERS_H

#include "core/fleet_spec.h"
#include "script/sandbox.h"

/* Hands the script over: it lives with spec for the function, a reference in its registry, or is freed without one. */
void fleet_answers_bind(struct fleet_spec *spec, struct script *s, int function);

#endif
