/* adapters_state.h -- the inside of adapters, for adapters*.c only. */
#ifndef SCRIPT_ADAPTERS_STATE_H
#define SCRIPT_ADAPTERS_STATE_H

#include "base/buf.h"
#include "engine/ports.h"
#include "script/adapters.h"
#include "script/sandbox_priv.h"

enum { ADAPTER_OPTIONS = 32, ADAPTER_HEADERS = 16, ADAPTER_NOTE_BYTES = 4096 };

struct adapter {
    struct adapters *owner;
    const char *name;
    const char *file;                /* relative to the folder; NULL: built in */
    const char *shown;               /* for errors */
    struct str text;                 /* the chunk, as it was when the table was loaded */
    struct sources files;            /* what it required then */
    struct script *script;           /* NULL: to be made again */
    unsigned generation;             /* how often it was made */
    unsigned strikes;                /* calls in a row that had to be stopped */

    /* References into the script's registry. */
    int options, prepare, request, answer, health, error_text;
    int response, response_fields;
    int kept;                        /* holds what the last answer's texts point into */

    const char *option_names[ADAPTER_OPTIONS];
    size_t option_count;
    struct header headers[ADAPTER_HEADERS];
    size_t header_count;

    const struct ask *ask;           /* of the call that runs, NULL otherwise */
    const struct response *reading;  /* NULL unless answer() or health() runs */
    bool preparing;                  /* prepare() runs: no question is known yet */
    bool json_cached;                /* response_fields.json is the last call's */
    bool loaded;                     /* headers and option_names are known */
    struct buf note;                 /* texts made here, until the next call */
};

enum body_state {
    BODY_UNKNOWN,                    /* prepare() is still to be called */
    BODY_PREPARED,                   /* all but the prompt is known */
    BODY_EACH,                       /* request() makes each anew */
};

/* What an endpoint's calls share, made when first needed. */
struct adapter_cell {
    const char *options;             /* JSON */
    unsigned generation;             /* of the state that the references below belong to; 0: none */
    int ask, fields;
    char *parameters;                /* the JSON that fields.parameters was made from */
    bool warm;                       /* made for a warm-up: few tokens */
    enum body_state body_state;      /* for these parameters */
    struct buf body;
    struct json_holes holes;         /* where the prompt goes into body */
};

struct adapters {
    struct arena arena;
    const char *folder, *table_name;
    const struct sources *kept;
    struct script_limits limits;
    struct adapter **list;
    size_t count;
    struct adapter_cell *cells;      /* by endpoint index */
    size_t cell_count;
};

/* Puts response and its fields into a fresh state. Raises: call it protected. */
void adapter_make_tables(lua_State *L, struct adapter *ad);
/* Push the table of the call that runs, ad->ask or ad->reading. They raise too. */
void adapter_push_ask(lua_State *L, struct adapter *ad);
void adapter_push_response(lua_State *L, struct adapter *ad);
/* Was the last ask of this cell one of the same job's, or of one with the same parameters? */
bool adapter_cell_fits(const struct adapter *ad, const struct adapter_cell *cell, const struct ask *ask);

/* Is there a state to call into? Makes it again when the last one was stopped. */
bool adapter_alive(struct adapter *ad, struct err *err);
/* To be told of each call's end: counts strikes, drops a doomed state. */
void adapter_ended(struct adapter *ad);

#endif
