"""The command line itself: help, slips of the fingers, settings, streams; plan, jobs, simulate."""
import json
import os
import pathlib
import signal
import socket
import subprocess

import pytest

from conftest import BINARY, clean_environment
from helpers import answer, job, lua, replies, table

COMMANDS = ["run", "plan", "rehearse", "check", "jobs", "show", "results", "query", "cancel", "regions check",
            "regions show", "regions diff", "regions apply", "regions pause", "regions resume", "regions history",
            "regions rollback", "serve", "simulate"]


def test_help(canvass):
    for args in (["help"], ["--help"]):
        result = canvass(*args)
        assert result.status == 0 and result.err == ""
        for command in COMMANDS:
            assert f"  {command} " in result.out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(canvass, command):
    result = canvass(*command.split(), "--help")
    assert result.status == 0 and result.err == "", result
    assert f"canvass {command}" in result.out and "--help" in result.out and "examples" in result.out
    assert all(len(line) <= 110 for line in result.out.splitlines())
    again = canvass("help", *command.split())
    assert again.status == 0 and again.out == result.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_in_the_help_and_no_other(canvass, command):
    """Options that are listed are known; one that is not is refused, with the nearest name."""
    options = {word.strip(",") for line in canvass(*command.split(), "--help").out.splitlines()
               for word in line.split()[:1] if word.startswith("--")}
    assert "--help" in options
    for option in options - {"--help"}:
        result = canvass(*command.split(), option + "x")
        assert result.status == 2 and f'{option}x' in result.err and result.out == "", result
        assert option in result.err.replace(option + "x", ""), "names the nearest"


def test_version(canvass):
    result = canvass("--version")
    assert result.status == 0 and result.out.startswith("canvass ") and result.err == ""


@pytest.mark.parametrize("typed, meant", [("rnu", "run"), ("plna", "plan"), ("result", "results"), ("job", "jobs"),
                                          ("regions chek", "regions check"), ("regions", "regions "),
                                          ("simulte", "simulate")])
def test_a_command_that_is_none(canvass, typed, meant):
    result = canvass(*typed.split())
    assert result.status == 2 and result.out == "" and meant in result.err, result
    assert result.err.startswith("canvass: ")


@pytest.mark.parametrize("args, status", [(["regions", "--help"], 0), (["regions", "-h"], 0), (["help", "regions"], 0),
                                          (["regions"], 2)])
def test_a_word_that_begins_several_commands(canvass, args, status):
    result = canvass(*args)
    assert result.status == status, result
    told, other = (result.err, result.out) if status else (result.out, result.err)
    assert other == "" and "  regions check " in told and "  regions show " in told and "simulate" not in told
    assert "canvass regions COMMAND" in told
    assert status == 0 or told.startswith("canvass: a word is missing (canvass regions): ")


@pytest.mark.parametrize("args", [
    [], ["run"], ["run", "a.lua", "b.lua"], ["run", "a.lua"], ["plan", "a.lua"], ["check"], ["show"], ["query"],
    ["run", "a.lua", "--samples", "0", "--regions", "t.lua"], ["run", "a.lua", "--samples", "two", "--regions", "t.lua"],
    ["run", "a.lua", "--timeout", "soon", "--regions", "t.lua"], ["run", "a.lua", "--set", "x", "--regions", "t.lua"],
    ["run", "a.lua", "--log", "xml", "--regions", "t.lua"], ["run", "a.lua", "--progress", "loud", "--regions", "t.lua"],
    ["run", "a.lua", "--log-level", "loud", "--regions", "t.lua"], ["simulate", "f.lua", "--port", "99999"],
    ["simulate", "f.lua", "--speed", "0"], ["run", "a.lua", "--regions"], ["jobs", "extra"], ["simulate", "nowhere.lua"],
])
def test_usage(canvass, write, args):
    write("a.lua", job()), write("b.lua", job()), write("t.lua", table({"us/m": "http://127.0.0.1:1/"}))
    result = canvass(*args)
    assert result.status == 2 and result.out == "", result
    assert "canvass" in result.err and not (canvass.folder / "canvass.db").exists()
    assert "Assertion" not in result.err


@pytest.mark.parametrize("option, value", [
    ("--samples", "0"), ("--samples", "100001"), ("--samples", "2x"), ("--timeout", "soon"), ("--timeout", "0s"),
    ("--in-flight", "0"), ("--in-flight", "1000001"), ("--set", "x"), ("--script-memory", "0")])
def test_a_wrong_option_is_told_before_any_file_is_read(canvass, write, option, value):
    """The table would warn, and the job does not even exist: the option comes first, and by its name."""
    warns = write("t.lua", table({"us/m": "http://127.0.0.1:1/"}, hop="10s"))
    for command in ("run", "plan"):
        result = canvass(command, "nowhere.lua", "--regions", warns, option, value)
        assert result.status == 2 and len(result.err.splitlines()) == 1, result
        assert f"({option})" in result.err and result.err.startswith("canvass: "), result
    assert "hop" in canvass("run", "nowhere.lua", "--regions", warns).err, "or nothing was shown"


def test_errors_have_their_three_parts(canvass):
    """canvass: WHAT (WHERE): WHAT TO DO"""
    for args in (["run", "nowhere.lua", "--regions", "t.lua"], ["show", "x", "--db", "nowhere.db"], ["run", "a.lua"]):
        line = canvass(*args).err.splitlines()[-1]
        assert line.startswith("canvass: ") and " (" in line and "): " in line, line


def test_settings_from_the_environment(canvass, server, write):
    """Flag, then environment, then default."""
    origin = server(replies(answer()))
    script, regions = write("job.lua", job(1)), write("t.lua", table({"us/m": origin.url()}))
    env = dict(CANVASS_REGIONS=str(regions), CANVASS_DB="env.db", CANVASS_SAMPLES="3", CANVASS_LOG="json",
               CANVASS_POLICY="free")
    result = canvass("run", script, env=env)
    assert result.status == 0 and result.said("job ended"), result
    assert len(origin.requests) == 3
    assert canvass.rows("SELECT policy FROM jobs", db="env.db") == [dict(policy="free")]
    assert canvass("run", script, "--samples", 1, "--db", "flag.db", "--log", "text", env=env).status == 0
    assert len(origin.requests) == 4 and (canvass.folder / "flag.db").exists()
    assert canvass("jobs", "--json", env=env).json["total"] == 1
    bad = canvass("run", script, env=dict(env, CANVASS_SAMPLES="many"))
    assert bad.status == 2 and "CANVASS_SAMPLES" in bad.err


def test_missing_jobs(canvass, server, write):
    origin = server(replies(answer()))
    canvass.run(write("job.lua", job()), write("t.lua", table({"us/m": origin.url()})))
    for command in ("show", "results", "cancel"):
        for name in ("nope", "study-2", "", "../x", "x" * 100):
            result = canvass(command, name)
            assert result.status == 2 and result.out == "", (command, name, result)
            assert result.err.startswith("canvass: ") and "study-1" in result.err
    for command in ("show", "results"):
        assert canvass(command, "last").status == canvass(command, "study-1").status == 0


def test_jobs(canvass, server, write):
    origin = server(lambda r: r.reply(404) if r.prompt == "bad" else r.reply(200, answer()))
    regions = write("t.lua", table({"us/m": origin.url()}))
    canvass.run(write("a.lua", job(2, name="first")), regions)
    canvass.run(write("b.lua", job(questions=[dict(id="q", prompt="bad")], name="second")), regions)
    listed = canvass("jobs", "--json").json
    assert listed["total"] == 2 and [j["job_id"] for j in listed["jobs"]] == ["second-1", "first-1"]
    assert [(j["state"], j["executions"]["succeeded"]) for j in listed["jobs"]] == [("failed", 0), ("succeeded", 2)]
    lines = canvass("jobs").out.splitlines()
    assert lines[1].startswith("second-1") and lines[2].startswith("first-1") and "2/2" in lines[2]


def test_json_parses_everywhere(canvass, fleet, write):
    simulated = fleet(dict(regions=dict(us={"m": {}}), defaults=dict(cold=[1, 1], service=[1, 1])))
    script = write("job.lua", job(2))
    commands = [["run", script, "--regions", simulated.table], ["plan", script, "--regions", simulated.table],
                ["check", "--regions", simulated.table], ["jobs"], ["show", "last"], ["results", "last"],
                ["query", "SELECT * FROM attempts"], ["cancel", "last"], ["regions", "check", simulated.table],
                ["regions", "show", simulated.table]]
    for command in commands:
        result = canvass(*command, "--json")
        assert result.status == 0, (command, result)
        json.loads(result.out)


@pytest.mark.parametrize("command", [["results", "last"], ["results", "last", "--format", "jsonl"], ["query", "SELECT 1"],
                                     ["help"], ["show", "last"], ["jobs", "--json"]])
def test_a_full_output_device(canvass, server, write, command):
    origin = server(replies(answer()))
    canvass.run(write("job.lua", job(50)), write("t.lua", table({"us/m": origin.url()})))
    with open("/dev/full", "wb") as full:
        process = subprocess.run([BINARY, *command], cwd=canvass.folder, env=clean_environment(), stdout=full,
                                 stderr=subprocess.PIPE)
    assert process.returncode != 0 and b"canvass: " in process.stderr and b"No space left" in process.stderr


def test_a_reader_that_leaves(canvass, server, write):
    """As in `canvass results last | head -1`: quiet."""
    origin = server(replies(answer("x" * 10000)))
    canvass.run(write("job.lua", job(200, "free")), write("t.lua", table({"us/m": dict(url=origin.url(), slots=8)})),
                "--log-level", "warn")
    for form in ("jsonl", "csv", "table"):
        process = subprocess.Popen([BINARY, "results", "last", "--format", form], cwd=canvass.folder,
                                   env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(60) in (0, -signal.SIGPIPE, 141) and err == b"", (form, err)


def test_no_output_at_all(canvass, server, write):
    """Closed standard streams are no reason to lose a job, or to write into the database by mistake."""
    origin = server(replies(answer()))
    script, regions = write("job.lua", job(3)), write("t.lua", table({"us/m": origin.url()}))
    process = subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", BINARY, "run", script, "--regions", regions],
                             cwd=canvass.folder, env=clean_environment())
    assert process.returncode in (0, 1)
    assert canvass.rows("SELECT state FROM jobs") == [dict(state="succeeded")]
    assert canvass.rows("PRAGMA integrity_check") == [dict(integrity_check="ok")]


@pytest.mark.parametrize("locale", ["C", "POSIX", "de_DE.UTF-8", "nonsense"])
def test_any_locale(canvass, server, write, locale):
    """Numbers keep their points, and texts their letters."""
    origin = server(replies(answer("é 東京")))
    script = write("job.lua", job(1, parameters=dict(temperature=0.5)))
    env = dict(LC_ALL=locale, LANG=locale)
    result = canvass.run(script, write("t.lua", table({"us/m": origin.url()})), env=env)
    assert result.status == 0, result
    assert origin.requests[0].json["temperature"] == 0.5
    assert "é 東京" in canvass("results", "last", env=env).out


def test_logs(canvass, server, write):
    """Text and JSON lines say the same; levels are sane; an attack on the log stays one line."""
    origin = server(replies(lambda r: r.reply(404, "bad\x1b[2J\n2026-01-01T00:00:00Z INFO forged line")))
    script, regions = write("job.lua", job()), write("t.lua", table({"us/m": origin.url()}))
    as_json = canvass("run", script, "--regions", regions, "--log", "json", "--log-level", "debug")
    lines = [json.loads(line) for line in as_json.err.splitlines()]
    assert all({"time", "level", "message"} <= set(line) for line in lines)
    failed, = [line for line in lines if line["message"] == "execution failed"]
    assert (failed["level"], failed["class"], failed["question"], failed["region"], failed["model"]) == (
        "warn", "not_found", "q1", "us", "m")
    as_text = canvass("run", script, "--regions", regions)
    assert "\x1b" not in as_text.err and not any(line.startswith("2026-01-01") for line in as_text.err.splitlines())
    quiet = canvass("run", script, "--regions", regions, "--log-level", "error")
    assert quiet.err == "" and quiet.status == 1
    none = canvass("run", script, "--regions", regions, "--progress", "none")
    assert not any(line.split()[1:2] == ["INFO"] for line in none.err.splitlines())


# ---- plan ----

UNREACHABLE = {f"{region}/{model}": "http://127.0.0.1:1/" for region, models in
               (("us", "ab"), ("eu", "abc")) for model in models}


def plan(canvass, write, *args, **keys):
    script = write("job.lua", job(4, **keys))
    result = canvass("plan", script, "--regions", write("t.lua", table(UNREACHABLE)), "--json", *args)
    assert result.status == 0, result
    assert not (canvass.folder / "canvass.db").exists()
    return result.json


@pytest.mark.parametrize("policy", ["sequential", "by_region", "by_endpoint", "free"])
def test_plan(canvass, write, policy):
    """Every execution once, in the order of the policy; nobody is asked and nothing is written."""
    found = plan(canvass, write, "--policy", policy)
    assert (found["executions"], found["posts"], found["questions"], found["endpoints"]) == (20, 20, 4, 5)
    order = [(line["question_id"], line["region"], line["model_id"]) for line in found["order"]]
    assert len(order) == len(set(order)) == 20
    by_start = [(line["after_s"], line["question_id"]) for line in found["order"]]
    assert [start for start, _ in by_start] == sorted(start for start, _ in by_start)
    if policy == "sequential":
        assert [question for _, question in by_start] == [f"q{n}" for n in (1, 2, 3, 4) for _ in range(5)]
    for endpoint in UNREACHABLE:
        mine = [q for q, region, model in order if f"{region}/{model}" == endpoint]
        assert mine == ["q1", "q2", "q3", "q4"], "one after the other on each endpoint"


def test_plan_counts_samples_and_filters(canvass, write):
    found = plan(canvass, write, "--samples", "3", models=["a"], regions=["eu"])
    assert found["executions"] == 12 and {line["sample"] for line in found["order"]} == {1, 2, 3}


def test_plan_in_words(canvass, write):
    script, regions = write("job.lua", job(8)), write("t.lua", table(UNREACHABLE))
    short = canvass("plan", script, "--regions", regions)
    assert short.status == 0 and "40 executions" in short.out and "20 more; --all" in short.out
    whole = canvass("plan", script, "--regions", regions, "--all")
    assert sum(line.split()[:1] != [] and line.split()[0].isdigit() for line in whole.out.splitlines()) == 40


def test_plan_reckons_the_cost(canvass, write):
    """4 attempts x 300 s x 0.001 for each of 20 executions; without a price it says so."""
    script = write("job.lua", job(4))
    priced = canvass("plan", script, "--regions", write("p.lua", table(UNREACHABLE, price_per_second=0.001)), "--json")
    assert priced.json["worst_cost"] == pytest.approx(20 * 4 * 300 * 0.001)
    assert plan(canvass, write)["worst_cost"] is None


def test_plan_reckons_the_cost_of_some(canvass, write):
    """Where only some endpoints have a price it says for how many, and in JSON half a sum is none."""
    endpoints = {"us/a": dict(price_per_second=0.001), "us/b": {}, "eu/a": dict(price_per_token=0.1), "eu/b": {}}
    endpoints = {name: dict(keys, url="http://127.0.0.1:1/") for name, keys in endpoints.items()}
    script, regions = write("job.lua", job(4)), write("t.lua", table(endpoints))
    found = canvass("plan", script, "--regions", regions, "--json").json
    assert found["worst_cost"] is None and found["endpoints_priced"] == 1
    assert found["worst_cost_known"] == pytest.approx(4 * 4 * 300 * 0.001)
    told = canvass("plan", script, "--regions", regions).out
    assert "cost at worst      $4.80" in told
    assert "without 2 of the 4 endpoints: no price in the table" in told
    assert "without 1 of the 4 endpoints: a price per token, and no max_tokens in the job" in told
    assert "unknown: no price in the table" in canvass(
        "plan", script, "--regions", write("none.lua", table(UNREACHABLE))).out


def test_plan_is_what_happens(canvass, fleet, write):
    """The order it tells is the order that the endpoints see."""
    simulated = fleet(dict(defaults=dict(cold=[1, 1], service=[40, 40], redirect_after=False),
                           regions=dict(us={"a": {}}, eu={"a": {}})))
    script, regions = write("job.lua", job(5, "sequential")), simulated.write_table()
    told = canvass("plan", script, "--regions", regions, "--json").json["order"]
    assert canvass.run(script, regions).status == 0
    seen = [(p["question"].replace("question ", "q"), p["endpoint"]) for p in simulated.posts()]
    batches = lambda pairs: [sorted(pairs[n:n + 2]) for n in range(0, 10, 2)]
    assert batches([(line["question_id"], f"{line['region']}/{line['model_id']}") for line in told]) == batches(seen)


def test_plan_of_an_endless_policy(canvass, write):
    script = write("job.lua", "return { questions = %s, policy = function(plan) while true do canvass.sleep(1) end end }"
                   % lua([dict(id="q", prompt="p")]))
    result = canvass("plan", script, "--regions", write("t.lua", table(UNREACHABLE)), timeout=60)
    assert result.status == 0 and "the policy waits" in result.out, result


# ---- simulate ----

def test_simulate_keeps_what_it_did_not_write(canvass, write):
    """It overwrites its own table, and nobody else's."""
    path, fleet_file = write("regions.lua", "return 'mine'"), write("fleet.lua", dict(regions=dict(us={"m": {}})))
    result = canvass("simulate", fleet_file, "--port", 0, "--table", path)
    assert result.status == 2 and str(path) in result.err and path.read_text() == "return 'mine'"


def test_a_port_that_is_taken(canvass, write):
    fleet_file = write("fleet.lua", dict(regions=dict(us={"m": {}})))
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        result = canvass("simulate", fleet_file, "--port", s.getsockname()[1])
    assert result.status == 2 and str(s) and "port" in result.err.lower(), result


@pytest.mark.parametrize("text, words", [
    ("return {}", "regions"), ("return { regions = { us = { m = { schema = 'moodal' } } } }", "modal"),
    ("return { regions = { us = { m = { service = { 5, 1 } } } } }", "low"), ("return { sed = 1, regions = { us = { m = {} } } }", "seed"),
    ("return { regions = { us = { m = {} } }, faults = { { what = 'explode' } } }", "reset"), ("return {", "fleet.lua:1"),
])
def test_a_bad_fleet(canvass, write, text, words):
    result = canvass("simulate", write("fleet.lua", text), "--port", 0)
    assert result.status == 2 and words in result.err and "fleet.lua" in result.err, result


def test_a_fleets_faults(canvass, fleet, write):
    """A fleet can be made to fail in each way; each is what the rows say."""
    expected = dict(reset="unknown_outcome", malformed="bad_response", truncated="unknown_outcome", empty=None,
                    error="bad_response", wrong_region="wrong_region", wrong_model="wrong_model", too_large="too_large",
                    redirect_away="config")
    expected.update({"500": "http_server", "503": "http_server", "404": "not_found", "401": "http_client",
                     "quota": "quota_exhausted"})
    faults = [dict(what=what, region=f"r-{what}", **(dict(url="http://127.0.0.1:1/") if what == "redirect_away" else {}))
              for what in expected]
    simulated = fleet(dict(defaults=dict(cold=[1, 1], service=[1, 1]), faults=faults,
                           regions={f"r-{what}": {"m": {}} for what in expected}))
    result = canvass.run(write("job.lua", job()), simulated.write_table(
        defaults=dict(retry=dict(attempts=1), max_body=1_000_000)))
    assert result.status == 1
    found = {r["region"].removeprefix("r-"): r["class"] for r in canvass.rows("SELECT region, class FROM executions")}
    assert found == expected
    assert simulated.stats()["posts"] == len(expected)


def test_the_binary_is_where_it_says():
    assert os.access(BINARY, os.X_OK), f"{BINARY}: build it, or set CANVASS_BINARY"
    assert pathlib.Path(BINARY).stat().st_size > 0
