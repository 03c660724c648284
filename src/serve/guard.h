/* guard.h -- who may ask for what: the token, and no page of another site.
 *
 * A browser can be made to send requests to any address by any page. So the Host header must be a name that is ours
 * (a page whose own name resolves to us has another: DNS rebinding), and an Origin header must be our own (a form or a
 * script of another page has another: request forgery). */
#ifndef SERVE_GUARD_H
#define SERVE_GUARD_H

#include "base/err.h"

struct daemon_options;
struct http_call;

struct guard {
    char *token;
    char *token_path;             /* where it stands, for people; NULL: in the environment */
    bool token_made;              /* just now */
    bool loopback;                /* nobody else can reach us: reading needs no token */
    const struct daemon_options *options;
};

bool guard_init(struct guard *g, const struct daemon_options *o, struct err *err);
void guard_done(struct guard *g);

enum access {
    ACCESS_PAGE,                  /* the dashboard, which holds nothing: a browser cannot send the token for it */
    ACCESS_READ,                  /* needs the token unless nobody else can reach us */
    ACCESS_CHANGE,                /* needs the token */
};

/* 0: it may. Else the status to answer with, and in *why what to tell. */
int guard_check(const struct guard *g, const struct http_call *c, enum access access, const char **why);

#endif
