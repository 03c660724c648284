"""The database: shared by runs, refused when it is not ours; and what comes out of it again, whatever went in."""
import csv
import io
import json
import os
import signal
import sqlite3
import stat
import subprocess

import pytest

from conftest import BINARY, clean_environment, wait_until
from helpers import answer, job, replies, table

SIMPLE = dict(defaults=dict(cold=[1, 1], service=[5, 20], redirect_after=False), regions=dict(us={"a": {}, "b": {}}))


def test_two_runs_at_once(canvass, fleet, write):
    """Into one file, with the same job: each has its own id, nobody loses a row, nobody fails."""
    simulated = fleet(dict(SIMPLE, defaults=dict(SIMPLE["defaults"], containers=20, queue=100)))
    script, regions = write("job.lua", job(30)), simulated.write_table(defaults=dict(slots=4))
    processes = [canvass.start_run(script, regions) for _ in range(4)]
    results = [process.wait() for process in processes]
    assert [r.status for r in results] == [0] * 4, results
    assert {r.json["job_id"] for r in results} == {f"study-{n}" for n in range(1, 5)}
    counts = canvass.rows("SELECT job_id, count(*) AS n, sum(status = 'succeeded') AS ok FROM executions GROUP BY 1")
    assert [(r["n"], r["ok"]) for r in counts] == [(60, 60)] * 4
    assert simulated.stats()["posts"] == 240
    assert canvass.rows("PRAGMA integrity_check") == [dict(integrity_check="ok")]


def refused(canvass, write, status, words, db="other.db"):
    path = write("t.lua", table({"us/m": "http://127.0.0.1:1/"}))
    script = write("job.lua", job())
    before = (canvass.folder / db).read_bytes() if (canvass.folder / db).is_file() else None
    for command in (["run", script, "--regions", path], ["jobs"], ["show", "last"], ["query", "SELECT 1"],
                    ["cancel", "last"]):
        result = canvass(*command, "--db", canvass.folder / db)
        assert result.status in status and words in result.err, (command, result)
        assert sum(line.startswith("canvass: ") for line in result.err.splitlines()) == 1
    if before is not None:
        assert (canvass.folder / db).read_bytes() == before


def test_another_programs_database(canvass, write, tmp_path):
    with sqlite3.connect(tmp_path / "other.db") as db:
        db.execute("CREATE TABLE recipes(name)")
    db.close()
    refused(canvass, write, {4}, "another program")


def test_not_a_database(canvass, write):
    write("other.db", "Dear diary, " * 1000)
    refused(canvass, write, {4}, "other.db")


def test_a_newer_database(canvass, server, write, tmp_path):
    origin = server(replies(answer()))
    assert canvass.run(write("job.lua", job()), write("t.lua", table({"us/m": origin.url()})), "--db", "other.db").status == 0
    with sqlite3.connect(tmp_path / "other.db") as db:
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("PRAGMA user_version = 99")
    db.close()
    refused(canvass, write, {4}, "newer")


def test_a_folder(canvass, write, tmp_path):
    (tmp_path / "other.db").mkdir()
    refused(canvass, write, {2, 4}, "other.db")


def test_a_folder_that_is_not_there(canvass, write):
    result = canvass("run", write("job.lua", job()), "--regions", write("t.lua", table({"us/m": "http://127.0.0.1:1/"})),
                     "--db", canvass.folder / "no" / "where.db")
    assert result.status == 4 and "where.db" in result.err and "Traceback" not in result.err


def test_reading_makes_no_database(canvass):
    for command in (["jobs"], ["show", "last"], ["results", "last"], ["query", "SELECT 1"], ["cancel", "last"]):
        result = canvass(*command)
        assert result.status in (2, 4) and "canvass.db" in result.err, (command, result)
        assert not (canvass.folder / "canvass.db").exists()


def test_a_full_disk(canvass, fleet, write):
    """No row, no answer: the job ends with the storage's own status, and does not go on asking."""
    canvass.sound = False
    simulated = fleet(SIMPLE)
    script, regions = write("job.lua", job(200)), simulated.write_table()
    env = clean_environment()
    limit = "trap '' XFSZ; ulimit -f 2000; exec \"$@\""  # half KiB: enough for the job, not for its answers
    process = subprocess.run(["sh", "-c", limit, "sh", BINARY, "run", script, "--regions", regions, "--log-level", "warn"],
                             cwd=canvass.folder, env=env, capture_output=True, timeout=120)
    assert process.returncode == 4, process.stderr.decode()[-2000:]
    assert b"AddressSanitizer" not in process.stderr and b"canvass.db" in process.stderr
    assert 0 < simulated.stats()["posts"] < 400
    assert canvass.rows("PRAGMA integrity_check") == [dict(integrity_check="ok")]
    assert b"once that is mended: canvass resume study-1" in process.stderr
    kept = canvass.rows("SELECT count(*) AS n FROM executions WHERE status = 'succeeded'")[0]["n"]
    result = canvass("resume", "last", "--json")
    assert result.status in (0, 1) and kept <= result.json["executions"]["succeeded"] >= 390, result


@pytest.mark.parametrize("suffix", ["", "-wal"])
@pytest.mark.parametrize("how", [lambda path: os.truncate(path, 0), os.unlink], ids=["cut", "removed"])
def test_a_database_spoiled_in_mid_run(canvass, server, write, tmp_path, suffix, how):
    """Noticed at once and not at the end, when everything has been asked and paid for."""
    canvass.sound = False
    def handle(request):
        if len(origin.requests) == 30:
            how(tmp_path / f"canvass.db{suffix}")
        request.reply(200, answer("x" * 10000))
    origin = server(handle)
    result = canvass.run(write("job.lua", job(300)), write("t.lua", table({"us/m": origin.url()})))
    assert result.status == 4 and "while in use" in result.err and "canvass.db" in result.err, result
    assert len(origin.requests) < 60


@pytest.fixture
def locker(tmp_path):
    """Another program that has begun to write, and does not come to an end."""
    connections = []

    def lock():
        connections.append(sqlite3.connect(tmp_path / "canvass.db", isolation_level=None, check_same_thread=False))
        connections[-1].execute("BEGIN IMMEDIATE")
        return connections[-1]
    yield lock
    for one in connections:
        one.close()


def test_a_locked_database_is_waited_for(canvass, server, write, locker):
    """Nothing is sent meanwhile, what was in flight is kept, and all is there in the end."""
    def handle(request):
        if request.prompt == "question 3":
            held.append(locker())
        request.reply(200, answer("to " + request.prompt))
    held, origin = [], server(handle)
    process = canvass.start_run(write("job.lua", job(6)), write("t.lua", table({"us/m": origin.url()})))
    process.wait_for("keeps the database locked")
    assert len(origin.requests) == 3
    held[0].execute("ROLLBACK")
    result = process.wait()
    assert result.status == 0 and len(origin.requests) == 6, result
    said, = [line for line in result.log if "keeps the database locked" in line["message"]]
    assert said["database"] == "canvass.db" and said["since"].endswith("Z")
    assert result.said("the database can be written again")
    assert canvass.rows("SELECT answer, posts FROM executions WHERE question_id = 'q3'") == [
        dict(answer="to question 3", posts=1)]


def test_waiting_for_a_locked_database_can_be_given_up(canvass, server, write, locker):
    origin = server(lambda r: (locker(), r.reply(200, answer())))
    process = canvass.start_run(write("job.lua", job(2)), write("t.lua", table({"us/m": origin.url()})))
    process.wait_for("keeps the database locked")
    process.signal(signal.SIGINT)
    process.wait_for("interrupted")
    process.signal(signal.SIGINT)
    result = process.wait(60)
    assert result.status == 4 and "locked" in result.err and "canvass.db" in result.err, result


def test_the_file_is_for_its_owner(canvass, server, write, tmp_path):
    origin = server(replies(answer()))
    canvass.run(write("job.lua", job()), write("t.lua", table({"us/m": origin.url()})))
    assert stat.S_IMODE(os.stat(tmp_path / "canvass.db").st_mode) & 0o002 == 0


# ---- what came from an endpoint is shown safely and kept exactly ----

NASTY = {
    "escape": "before \x1b[2J\x1b]0;title\x07\x9b31m after",
    "markup": "<script>alert('x')</script> & \"quoted\"",
    "rtl": "start \u202egnirts\u2066 end \u200b",
    "newlines": "one\ntwo\r\nthree\ttabbed",
    "nul": "a\x00b",
    "emoji": "👩‍👩‍👧‍👦 é 東京",
    "formula": "=HYPERLINK(\"http://x\")",
    "bell": "\x07\x08\x7f\x85",
    "long": "word " * 5000,
    "empty": "",
}


@pytest.fixture
def nasty(canvass, server, write):
    by_prompt = dict(NASTY)
    origin = server(lambda r: r.reply(200, answer(by_prompt[r.prompt])))
    script = write("job.lua", job(questions=[dict(id=name, prompt=name) for name in NASTY]))
    result = canvass.run(script, write("t.lua", table({"us/m": origin.url()})))
    assert result.status == 0, result
    return canvass


def test_kept_exactly(nasty):
    found = {r["question_id"]: r["answer"] for r in nasty.rows("SELECT question_id, answer FROM executions")}
    assert found == NASTY


def controls(text):
    return [c for c in text if (ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 or c in "\u202e\u2066"]


def test_on_the_screen_it_is_harmless(nasty):
    for command in (["results", "last"], ["results", "last", "--prompt"], ["show", "last"], ["jobs"],
                    ["query", "SELECT question_id, answer FROM executions"]):
        result = nasty(*command)
        assert result.status == 0 and not controls(result.out), (command, controls(result.out))
    out = nasty("results", "last").out
    assert sum(line.startswith(tuple(NASTY)) for line in out.splitlines()) == len(NASTY), "one line each"


def test_jsonl_is_whole(nasty):
    lines = nasty("results", "last", "--format", "jsonl").out.splitlines()
    found = [json.loads(line) for line in lines]
    assert {r["question_id"]: r["answer"] for r in found} == NASTY
    assert [r["question_id"] for r in found] == list(NASTY), "in the plan's order"
    assert json.loads(nasty("results", "last", "--json").out)["total"] == len(NASTY)


def test_csv_is_whole(nasty):
    process = subprocess.run([BINARY, "results", "last", "--format", "csv"], cwd=nasty.folder, env=clean_environment(),
                             capture_output=True, check=True)
    found = list(csv.DictReader(io.StringIO(process.stdout.decode().replace("\0", "<NUL>"), newline="")))
    expected = {name: text.replace("\0", "<NUL>") for name, text in NASTY.items()}
    for row in found:
        assert row["answer"].lstrip("'") == expected[row["question_id"]].lstrip("'"), row["question_id"]
    assert len(found) == len(NASTY)


@pytest.mark.parametrize("body", [
    b'{"success": true, "response": "bad \xff\xfe utf-8"}', b'{"success": true, "response": "half \xc3"}',
    b'{"success": true, "response": "lone \\ud800 surrogate"}', b"\xff\xfe\x00\x00binary", b"\x1b[2J" * 100,
])
def test_bytes_that_are_no_text(canvass, server, write, body):
    """Whatever comes of it, everything printed is valid UTF-8 and harmless, and JSON is JSON."""
    origin = server(lambda r: r.reply(200, body))
    canvass.run(write("job.lua", job()), write("t.lua", table({"us/m": origin.url()}, retry=dict(attempts=1))))
    for command in (["results", "last"], ["show", "last"], ["results", "last", "--format", "jsonl"],
                    ["results", "last", "--json"], ["query", "SELECT * FROM attempts", "--format", "jsonl"]):
        process = subprocess.run([BINARY, *command], cwd=canvass.folder, env=clean_environment(), capture_output=True)
        text = process.stdout.decode()
        assert process.returncode == 0 and "\x1b" not in text
        if "jsonl" in command:
            assert [json.loads(line) for line in text.splitlines()]
        elif "--json" in command:
            json.loads(text)


# ---- results, query ----

@pytest.fixture
def mixed(canvass, server, write):
    """Two endpoints: one answers, the other is not found."""
    origin = server(lambda r: r.reply(404, "gone") if r.path == "/bad" else r.reply(200, answer("to " + r.prompt)))
    result = canvass.run(write("job.lua", job(6)), write("t.lua", table(
        {"us/a": origin.url("/"), "eu/b": origin.url("/bad")})))
    assert result.status == 1
    return canvass


@pytest.mark.parametrize("filters, count", [
    ([], 12), (["--region", "us"], 6), (["--model", "b"], 6), (["--status", "succeeded"], 6), (["--class", "not_found"], 6),
    (["--question", "q2"], 2), (["--question", "q2", "--region", "us"], 1), (["--limit", 5], 5),
    (["--limit", 5, "--offset", 10], 2), (["--offset", 12], 0), (["--status", "failed", "--limit", 2], 2),
])
def test_filters(mixed, filters, count):
    lines = mixed("results", "last", "--format", "jsonl", *filters)
    assert lines.status == 0 and len(lines.out.splitlines()) == count, lines
    whole = mixed("results", "last", "--json", *filters).json
    assert len(whole["executions"]) == count
    table_text = mixed("results", "study-1", *filters)
    assert table_text.status == 0 and f"{count} of {whole['total']}" in table_text.out


def test_paging_loses_nothing(mixed):
    seen = []
    for offset in range(0, 12, 5):
        seen += [json.loads(line)["id"] for line in mixed(
            "results", "last", "--format", "jsonl", "--limit", 5, "--offset", offset).out.splitlines()]
    assert seen == [f"study-1.{n}" for n in range(1, 13)]
    assert "--offset 5" in mixed("results", "last", "--limit", 5).out


@pytest.mark.parametrize("filters, words", [(["--status", "good"], "succeeded"), (["--class", "bad"], "class"),
                                            (["--limit", "-1"], "limit"), (["--limit", "x"], "limit"),
                                            (["--format", "xml"], "jsonl")])
def test_bad_filters(mixed, filters, words):
    result = mixed("results", "last", *filters)
    assert result.status == 2 and words in result.err and result.out == ""


def test_show_rolls_up_what_failed(mixed):
    shown = mixed("show", "last")
    assert shown.status == 0 and "US 6/6" in shown.out and "EU 0/6" in shown.out
    line, = [line for line in shown.out.splitlines() if "not_found" in line]
    assert "eu/b" in line and "6" in line and "gone" in line
    failure, = mixed("show", "last", "--json").json["failures"]
    assert (failure["endpoint"], failure["class"], failure["count"]) == ("eu/b", "not_found", 6)


def test_query(mixed):
    result = mixed("query", "SELECT endpoint, status, count(*) AS n FROM executions GROUP BY 1, 2 ORDER BY 1",
                   "--format", "jsonl")
    assert [json.loads(line) for line in result.out.splitlines()] == [
        dict(endpoint="eu/b", status="failed", n=6), dict(endpoint="us/a", status="succeeded", n=6)]
    assert mixed("query", "SELECT 1 AS one, NULL AS none, 1.5 AS real, 'a,b' AS text", "--format", "csv").out == \
        "one,none,real,text\r\n1,,1.5,\"a,b\"\r\n"


@pytest.mark.parametrize("sql", [
    "DELETE FROM executions", "UPDATE jobs SET state = 'failed'", "DROP TABLE jobs", "CREATE TABLE x(y)", "PRAGMA user_version = 9",
    "ATTACH 'stolen.db' AS x", "VACUUM INTO 'stolen.db'", "BEGIN IMMEDIATE", "SELECT 1; DELETE FROM executions",
    "INSERT INTO jobs DEFAULT VALUES", "PRAGMA journal_mode = DELETE", "REINDEX", "SELECT load_extension('x')",
    "SELECT writefile('stolen.db', 'x')", "not sql at all", "", "SELECT * FROM nowhere", "ATTACH ':memory:' AS x",
])
def test_query_cannot_write(mixed, sql):
    before = mixed.rows("SELECT * FROM executions")
    result = mixed("query", sql)
    assert result.status == 2 and result.out == "" and result.err.startswith("canvass: "), result
    assert mixed.rows("SELECT * FROM executions") == before
    assert not (mixed.folder / "stolen.db").exists()


def test_query_can_be_stopped(mixed):
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
    result = mixed("query", endless, "--time", "200ms")
    assert result.status != 0 and result.err.startswith("canvass: "), result


def test_reading_while_it_runs(canvass, fleet, write):
    """A viewer sees what is durable, and disturbs nothing."""
    simulated = fleet(dict(SIMPLE, defaults=dict(SIMPLE["defaults"], service=[200, 300])))
    process = canvass.start_run(write("job.lua", job(10)), simulated.write_table())
    wait_until(lambda: simulated.stats()["answered"] >= 4)
    shown = canvass("show", "last", "--json").json
    assert shown["state"] == "running" and 0 < shown["executions"]["succeeded"] < 20
    assert canvass("jobs", "--json").json["jobs"][0]["state"] == "running"
    assert canvass("results", "last", "--status", "succeeded", "--format", "jsonl").out.count("\n") >= 2
    assert process.wait().status == 0
