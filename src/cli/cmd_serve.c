#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/inputs.h"
#include "cli/log_options.h"
#include "cli/output.h"
#include "serve/daemon.h"

enum { HOSTS_MAX = 32, ADDRESS_BYTES = 64 };

/* "127.0.0.1:8420", "[::1]:8420", ":8420". */
static bool read_address(const char *text, char address[ADDRESS_BYTES], uint16_t *port, struct err *err)
{
    const char *colon = strrchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : 0;
    bool brackets = len >= 2 && text[0] == '[' && text[len - 1] == ']';
    const char *from = brackets ? text + 1 : text;
    len -= brackets ? 2 : 0;
    char *end = NULL;
    long number = colon && colon[1] >= '0' && colon[1] <= '9' ? strtol(colon + 1, &end, 10) : -1;
    if (!colon || number < 0 || number > 65535 || *end || len >= ADDRESS_BYTES || (!brackets && memchr(from, ':', len)))
        return err_set(err, ERR_USAGE, "\"%.60s\" is no address (--listen): write one such as 127.0.0.1:8420 or "
                       "[::1]:8420", text);
    memcpy(address, len ? from : "127.0.0.1", len ? len : sizeof "127.0.0.1");
    if (len)
        address[len] = '\0';
    *port = (uint16_t)number;
    return true;
}

static bool is_folder(const char *path, struct err *err)
{
    struct stat st;
    return !path || (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) ||
           err_set(err, ERR_USAGE, "not a folder (--jobs %s): name the one that has the job scripts", path);
}

static bool serve(const struct args *args, struct err *err)
{
    char address[ADDRESS_BYTES];
    const char *hosts[HOSTS_MAX];
    int64_t at_once = 0;
    struct daemon_options o = {
        .db = args_text(args, "db"), .jobs_folder = args_text(args, "jobs"), .ca_file = args_text(args, "ca-file"),
        .secrets_file = args_text(args, "secrets"), .questions = args_text(args, "questions"), .address = address,
        .port_file = args_text(args, "port-file"), .token = getenv("CANVASS_TOKEN"),
        .token_file = args_text(args, "token-file"), .hosts = hosts, .host_count = args_count(args, "host"),
    };
    if (o.token_file || (o.token && !*o.token))
        o.token = NULL;
    if (!read_address(args_text(args, "listen"), address, &o.port, err) || !is_folder(o.jobs_folder, err) ||
        !args_integer(args, "at-once", 1, 10000, &at_once, err) || !inputs_limits(args, &o.limits, err))
        return false;
    if (o.host_count > HOSTS_MAX)
        return err_set(err, ERR_USAGE, "too many names (--host): give at most %d", HOSTS_MAX);
    for (size_t i = 0; i < o.host_count; i++)
        hosts[i] = args_nth(args, "host", i);
    o.at_once = (unsigned)at_once;
    o.allow_scripts = args_flag(args, "allow-scripts");
    struct region_table *table = load_regions(args_text(args, "regions"), o.secrets_file, false, &o.limits, err);
    bool ok = table && daemon_run(table, &o, err);
    region_table_unref(table);
    return ok;
}

static int run(const struct args *args)
{
    struct err err;
    if (!logging_setup(args, LOG_INFO, &err) || !serve(args, &err))
        return complain(&err);
    return EXIT_ALL_WELL;
}

static const struct option_spec options[] = {
    OPTION_REGIONS,
    {.name = "jobs", .value = "FOLDER", .help = "the job scripts that clients may name", .setting = true},
    OPTION_DB,
    {.name = "listen", .value = "ADDR:PORT", .help = "an IP address and a port; port 0 takes any free one",
     .fallback = "127.0.0.1:8420", .setting = true},
    {.name = "at-once", .value = "N", .help = "jobs that run side by side; others wait in line", .fallback = "4",
     .setting = true},
    {.name = "token-file", .value = "FILE", .help = "the token, mode 0600; else CANVASS_TOKEN, else one is made",
     .setting = true},
    {.name = "allow-scripts", .help = "clients with the token may send Lua to run, in its sandbox"},
    {.name = "host", .value = "NAME", .help = "a further name by which browsers reach it", .repeats = true},
    {.name = "questions", .value = "FILE", .help = "the questions that a JSON specification names by id",
     .setting = true},
    {.name = "port-file", .value = "FILE", .help = "write the port there once it is served"},
    {.name = "ca-file", .value = "FILE", .help = "certificates to trust, instead of the system's", .setting = true},
    OPTION_SECRETS,
    SCRIPT_OPTIONS,
    LOGGING_OPTIONS,
    {.name = NULL},
};

const struct command command_serve = {
    .name = "serve",
    .words = "",
    .summary = "run jobs as a daemon, with an HTTP API and a dashboard",
    .details =
        "Runs in the foreground and logs on standard error. Jobs come by POST /api/v1/jobs, run side by side\n"
        "under the permits of one region table, and survive a restart: what has not ended is gone on with. The\n"
        "first SIGTERM or Ctrl-C sends nothing new and waits for what is in flight, the second does not wait.\n\n"
        "Every change needs the token, in a header Authorization: Bearer TOKEN; reading needs it too unless the\n"
        "address is one of this machine only. The token comes from --token-file, or CANVASS_TOKEN, or is made in\n"
        "a file beside the database. GET /api/v1/openapi.json describes the whole API.\n\n"
        "exit status: 0 ended on request; 2 usage or configuration; 4 the database failed",
    .examples = "  canvass serve --regions regions.lua --jobs jobs/ --db study.db\n"
                "  curl -H \"Authorization: Bearer $(cat study.db.token)\" -d '{\"script\": \"job.lua\"}' "
                "\\\n       http://127.0.0.1:8420/api/v1/jobs",
    .options = options,
    .run = run,
};
