#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/defs.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/log_options.h"
#include "cli/output.h"
#include "host/files.h"
#include "net/loop.h"
#include "script/fleet_file.h"
#include "sim/fleet_server.h"

enum { TABLE_BYTES = 16 << 20, SENTENCE_BYTES = 4096 };

/* The first line of a table that this command wrote, and may write again. */
static const char marker[] = "-- written by `canvass simulate`: edits are lost\n";

static bool may_overwrite(const char *path, struct err *err)
{
    FILE *f = fopen(path, "r");
    if (!f)
        return errno == ENOENT ||
               err_set(err, ERR_SYSTEM, "%s (%s): name another file with --table", strerror(errno), path);
    char line[sizeof marker] = "";
    bool ours = fgets(line, sizeof line, f) && strcmp(line, marker) == 0;
    fclose(f);
    return ours || err_set(err, ERR_USAGE, "the file is there and was not written by `canvass simulate` (%s): name "
                           "another one with --table, or remove it", path);
}

static bool write_table(const struct fleet_server *server, const char *path, struct err *err)
{
    struct buf text;
    buf_init(&text, TABLE_BYTES);
    buf_adds(&text, marker);
    fleet_server_table(server, &text);
    bool ok = file_replace(path, buf_str(&text).ptr, err);
    buf_done(&text);
    return ok;
}

static bool write_port(const struct fleet_server *server, const char *path, struct err *err)
{
    char text[16];
    snprintf(text, sizeof text, "%u\n", fleet_server_port(server));
    return file_replace(path, text, err);
}

/* A function `answers` that fails is replaced by the built-in texts: whoever wrote it must hear of it, once. */
struct complaint {
    struct loop_hook hook;
    const struct fleet_spec *fleet;
    bool said;
};

static void look_at_answers(struct loop_hook *hook)
{
    struct complaint *c = container_of(hook, struct complaint, hook);
    if (c->said || !c->fleet->answers.error)
        return;
    c->said = true;
    log_event(LOG_WARN, "the fleet's function `answers` failed, built-in answers stand in for it",
              LOG_S("error", c->fleet->answers.error), LOG_S("file", c->fleet->path));
}

static void tell_end(const struct fleet_server *server, const char *address, bool json)
{
    struct buf text;
    buf_init(&text, SENTENCE_BYTES);
    fleet_server_sentence(server, &text);
    if (json)
        log_event(LOG_INFO, "fleet ended", LOG_S("address", address), LOG_S("counted", buf_str(&text).ptr));
    else
        fprintf(stderr, "%s\n", buf_str(&text).ptr);
    buf_done(&text);
}

static void stop(void *ctx, int signum)
{
    (void)signum;
    loop_stop(ctx);
}

static bool serve(struct loop *loop, const struct fleet_spec *fleet, const struct fleet_server *server,
                  const struct args *args, struct err *err)
{
    const char *table = args_text(args, "table"), *port_file = args_text(args, "port-file");
    if (table && !write_table(server, table, err))
        return false;
    if (port_file && !write_port(server, port_file, err))
        return false;
    char address[64];
    snprintf(address, sizeof address, "http://127.0.0.1:%u", fleet_server_port(server));
    log_event(LOG_INFO, "serving the simulated fleet; Ctrl-C ends it", LOG_S("address", address),
              LOG_S("table", table));
    struct loop_signal *on_int = loop_signal_new(loop, SIGINT, stop, loop);
    struct loop_signal *on_term = loop_signal_new(loop, SIGTERM, stop, loop);
    struct complaint complaint = {.fleet = fleet};
    loop_hook_add(loop, &complaint.hook, look_at_answers);
    loop_run(loop);
    loop_hook_remove(&complaint.hook);
    loop_signal_free(on_int);
    loop_signal_free(on_term);
    tell_end(server, address, strcmp(args_text(args, "log"), "json") == 0);
    return true;
}

static bool simulate(const struct args *args, struct err *err)
{
    int64_t port = 0;
    double speed = 0;
    const char *table = args_text(args, "table");
    if (!args_integer(args, "port", 0, 65535, &port, err) || !args_real(args, "speed", 0.001, 1e6, &speed, err) ||
        (table && !may_overwrite(table, err)))
        return false;
    struct fleet_spec *fleet = fleet_load(args->words[0], NULL, err);
    if (!fleet)
        return false;
    struct loop *loop = loop_new();
    struct fleet_server *server = fleet_server_new(
        loop, fleet,
        &(struct fleet_server_options){.address = "127.0.0.1", .port = (uint16_t)port, .speed = speed}, err);
    bool ok = server && serve(loop, fleet, server, args, err);
    if (server)
        fleet_server_free(server);
    loop_free(loop);
    fleet_spec_free(fleet);
    return ok;
}

static int run(const struct args *args)
{
    struct err err;
    if (!logging_setup(args, LOG_INFO, &err) || !simulate(args, &err))
        return complain(&err);
    return EXIT_ALL_WELL;
}

static const struct option_spec options[] = {
    {.name = "port", .value = "N", .help = "on 127.0.0.1; 0 takes any free one", .fallback = "9100", .setting = true},
    {.name = "speed", .value = "N", .help = "simulated seconds in a real one", .fallback = "60", .setting = true},
    {.name = "table", .value = "FILE", .help = "write a region table that points at this fleet"},
    {.name = "port-file", .value = "FILE", .help = "write the port there once it is served"},
    LOGGING_OPTIONS,
    {.name = NULL},
};

const struct command command_simulate = {
    .name = "simulate",
    .words = "FLEET.lua",
    .summary = "serve a simulated fleet over HTTP, faster than real time",
    .details = "/REGION/MODEL asks, /REGION/health tells, /stats counts, /reset starts anew. Serves until\n"
               "Ctrl-C, then tells in one line on standard error what it was asked.",
    .examples = "  canvass simulate fleet.lua --speed 600 --table sim.lua &\n"
                "  canvass run job.lua --regions sim.lua",
    .words_min = 1,
    .words_max = 1,
    .options = options,
    .run = run,
};
