"""Going on with a job after it was killed, interrupted, timed out or cancelled; asking again what failed.

The endpoints' own counts say what was asked, the rows what is known."""
import collections
import signal
import threading

import pytest

from conftest import wait_until
from helpers import answer, job, replies, table

COLD = dict(  # twenty minutes until the first answer, 303 every 150 s
    seed=1,
    defaults=dict(cold=[1200, 1200], service=[10, 10], queue=10, containers=1),
    regions=dict(us={"a": {}}, eu={"a": {}}),
)


def kill(process):
    process.popen.kill()
    process.popen.wait()


def resume(canvass, *args, job="last", **options):
    return canvass("resume", job, "--log", "json", "--json", *args, **options)


def statuses(canvass):
    return dict(collections.Counter(r["status"] for r in canvass.rows("SELECT status FROM executions")))


def totals_are_exact(canvass, posts, hops=None):
    """The rows and the endpoints have counted the same."""
    shown = canvass("show", "last", "--json").json
    assert shown["posts"] == posts, shown
    if hops is not None:
        assert shown["hops"] == hops, shown
    return shown


# ---- kill -9 ----

def test_killed_in_a_cold_start(canvass, fleet, write):
    """The answers arrive with no POST but the first ones: their result URLs were on disk."""
    simulated = fleet(COLD, speed=300)
    process = canvass.start_run(write("job.lua", job(1)), simulated.write_table())
    wait_until(lambda: [h for h in canvass.rows("SELECT * FROM hops") if h["number"] >= 1] if
               (canvass.folder / "canvass.db").exists() and simulated.stats()["posts"] == 2 else False)
    kill(process)
    assert simulated.stats()["answered"] == 0
    result = resume(canvass)
    assert result.status == 0, result
    assert result.json["job_id"] == "study-1" and result.json["executions"]["succeeded"] == 2
    assert simulated.stats()["posts"] == 2, "a POST was paid for again"
    said, = result.said("job taken up again")
    assert said["to_collect"] == 2 and said["to_ask"] == 0
    attempts = canvass.rows("SELECT number, status, hops FROM attempts")
    assert [(a["number"], a["status"]) for a in attempts] == [(1, "succeeded")] * 2
    totals_are_exact(canvass, 2)


@pytest.mark.parametrize("unknown", [False, True])
def test_killed_after_a_post_was_sent(canvass, server, write, unknown):
    """It may have run. It is sent again only where the table allows that."""
    held = []
    origin = server(lambda r: r.hang() if not held and not held.append(1) else r.reply(200, answer()))
    regions = write("t.lua", table({"us/m": origin.url()}, retry=dict(attempts=4, base="5ms", unknown=unknown)))
    process = canvass.start_run(write("job.lua", job(3)), regions)
    wait_until(lambda: origin.requests)
    kill(process)
    listed = canvass("jobs").out
    assert "interrupted" in listed and "canvass resume" in listed
    result = resume(canvass)
    assert result.status == (0 if unknown else 1), result
    first, = canvass.rows("SELECT * FROM executions WHERE question_id = 'q1'")
    attempts = canvass.rows("SELECT number, status, class, error FROM attempts WHERE execution_id = 'study-1.1'")
    assert (attempts[0]["status"], attempts[0]["class"]) == ("failed", "unknown_outcome")
    assert "may have run" in attempts[0]["error"]
    if unknown:
        assert (first["status"], len(attempts), len(origin.requests)) == ("succeeded", 2, 4)
    else:
        assert (first["status"], first["class"], len(attempts)) == ("failed", "unknown_outcome", 1)
        assert len(origin.requests) == 3 and statuses(canvass) == dict(succeeded=2, failed=1)
    totals_are_exact(canvass, len(origin.requests))


def test_killed_in_backoff(canvass, server, write):
    """It is asked again, and its attempts count on."""
    origin = server(lambda r: r.reply(500, "no"))
    tables = [write(f"{base}.lua", table({"us/m": origin.url()}, retry=dict(attempts=3, base=base, cap=base)))
              for base in ("300s", "5ms")]
    process = canvass.start_run(write("job.lua", job()), tables[0])
    process.wait_for("attempt failed, will ask again")
    wait_until(lambda: canvass.rows("SELECT 1 FROM executions WHERE status = 'backing_off'"))
    kill(process)
    result = resume(canvass, "--regions", tables[1])
    assert result.status == 1, result
    assert len(origin.requests) == 3
    attempts = canvass.rows("SELECT number, status, revision FROM attempts ORDER BY number")
    assert [(a["number"], a["status"], a["revision"]) for a in attempts] == [(1, "failed", 1), (2, "failed", 2),
                                                                             (3, "failed", 2)]
    totals_are_exact(canvass, 3)


def test_killed_while_draining(canvass, server, write):
    held = threading.Event()
    origin = server(lambda r: r.hang() if not held.is_set() else r.reply(200, answer()))
    process = canvass.start_run(write("job.lua", job(4)), write("t.lua", table({"us/m": origin.url()})))
    wait_until(lambda: origin.requests)
    process.signal(signal.SIGINT)
    process.wait_for("interrupted")
    kill(process)
    held.set()
    result = resume(canvass)
    assert result.status == 1 and statuses(canvass) == dict(succeeded=3, failed=1), result
    assert len(origin.requests) == 4


def test_killed_at_many_instants(canvass, fleet, write):
    """Nothing that has ended is asked again, nothing is lost, whenever it is."""
    simulated = fleet(dict(COLD, defaults=dict(COLD["defaults"], cold=[200, 200], service=[20, 200])), speed=2000)
    regions = simulated.write_table(defaults=dict(poll="5ms", retry=dict(attempts=4, base="5ms", cap="20ms",
                                                                         unknown=True)))
    process, ended, count = canvass.start_run(write("job.lua", job(30, "by_endpoint")), regions), {}, 0
    while True:
        count += 1
        wait_until(lambda: process.popen.poll() is not None or simulated.stats()["posts"] >= 6 * count)
        if process.popen.poll() is not None:
            break
        kill(process)
        now = {r["id"]: r for r in canvass.rows("SELECT * FROM executions")}
        assert len(now) == 60 and all(now[e] == row for e, row in ended.items()), "an ended execution has changed"
        ended = {e: row for e, row in now.items() if row["status"] == "succeeded"}
        process = canvass.start("resume", "last", "--log", "json", "--json")
    assert process.wait().status == 0 and count > 3
    assert statuses(canvass) == dict(succeeded=60)
    # a POST that was written down and did not leave is the one thing that cannot be known
    posts, stats = totals_are_exact(canvass, canvass.rows("SELECT count(*) AS n FROM attempts")[0]["n"]), simulated.stats()
    assert stats["posts"] <= posts["posts"] <= stats["posts"] + 2 * count


# ---- orderly ends ----

def collected(request):
    """Hands out a result URL that never answers but to those who come back."""
    if request.method == "POST":
        request.reply(303, Location="/result/7")
    elif collected.ready:
        request.reply(200, answer("late"))
    else:
        request.hang()


@pytest.mark.parametrize("how", ["interrupt", "timeout", "cancel", "kill"])
def test_a_result_url_is_collected_whatever_ended_the_job(canvass, server, write, how):
    collected.ready = False
    origin = server(collected)
    script = write("job.lua", job(1, **(dict(timeout="500ms") if how == "timeout" else {})))
    process = canvass.start_run(script, write("t.lua", table({"us/m": origin.url("/m")})))
    wait_until(lambda: origin.asked("GET"))
    if how == "interrupt":
        process.signal(signal.SIGINT)
        process.wait_for("interrupted")
        process.signal(signal.SIGINT)
    if how == "cancel":
        assert canvass("cancel", "last").status == 0
    if how == "kill":
        kill(process)
    assert process.wait().status == dict(interrupt=130, timeout=3, cancel=1, kill=-9)[how]
    collected.ready = True
    began = canvass.rows("SELECT started_at FROM jobs")
    result = resume(canvass)
    assert result.status == 0, result
    assert len(origin.asked("POST")) == 1
    row, = canvass.rows("SELECT status, answer, attempts, posts FROM executions")
    assert row == dict(status="succeeded", answer="late", attempts=1, posts=1)
    assert canvass.rows("SELECT started_at FROM jobs") == began


def test_a_result_url_that_is_gone(canvass, server, write):
    """404 ends that attempt, and the usual rules say what follows."""
    origin = server(lambda r: r.reply(303, Location="/result/7") if r.method == "POST" else
                    r.hang() if len(origin.asked("GET")) == 1 else r.reply(404))
    process = canvass.start_run(write("job.lua", job()), write("t.lua", table({"us/m": origin.url("/m")})))
    wait_until(lambda: origin.asked("GET"))
    kill(process)
    result = resume(canvass)
    attempts = canvass.rows("SELECT number, status, class FROM attempts")
    assert result.status == 1 and attempts[0]["status"] == "failed", result
    assert len(origin.asked("POST")) == len(attempts)


def test_what_was_cancelled_is_asked_and_what_ended_is_not(canvass, server, write):
    """After Ctrl-C: the sockets were closed on purpose, so those are asked anew."""
    held = threading.Event()

    def handle(request):
        if request.prompt == "question 1":
            request.reply(200, answer())
        elif request.prompt == "question 2":
            request.reply(400, "no")
        elif held.is_set():
            request.reply(200, answer())
        else:
            request.hang()
    origin = server(handle)
    process = canvass.start_run(write("job.lua", job(5)), write("t.lua", table({"us/m": origin.url()})))
    wait_until(lambda: len(origin.requests) == 3)
    process.signal(signal.SIGINT)
    process.wait_for("interrupted")
    process.signal(signal.SIGINT)
    assert process.wait().status == 130 and statuses(canvass) == dict(succeeded=1, failed=1, cancelled=3)
    held.set()
    result = resume(canvass)
    assert result.status == 1 and statuses(canvass) == dict(succeeded=4, failed=1), result
    asked = collections.Counter(r.prompt for r in origin.requests)
    assert asked == {"question 1": 1, "question 2": 1, "question 3": 2, "question 4": 1, "question 5": 1}
    totals_are_exact(canvass, 6)
    log = canvass.rows("SELECT action, target, author FROM control_log")
    assert [(r["action"], r["target"]) for r in log] == [("resume", "study-1")] and log[0]["author"]


def test_the_timeout_begins_anew(canvass, server, write):
    held = threading.Event()
    origin = server(lambda r: r.reply(200, answer()) if held.is_set() else r.hang())
    script = write("job.lua", job(2, timeout="700ms"))
    assert canvass.run(script, write("t.lua", table({"us/m": origin.url()}))).status == 3
    assert resume(canvass).status == 3
    held.set()
    assert resume(canvass).status == 0


def test_nothing_to_resume(canvass, server, write):
    origin = server(lambda r: r.reply(200, answer()) if r.prompt == "question 1" else r.reply(400))
    regions = write("t.lua", table({"us/m": origin.url()}))
    assert canvass.run(write("job.lua", job(1)), regions).status == 0
    again = canvass("resume", "last")
    assert again.status == 0 and "all 1 executions have succeeded" in again.out
    assert resume(canvass).json["state"] == "succeeded"
    assert canvass.run(write("job.lua", job(2)), regions).status == 1
    again = canvass("resume", "study-2")
    assert again.status == 1 and "1 failed" in again.out and "canvass retry study-2" in again.out
    assert len(origin.requests) == 3
    assert canvass("resume", "study-7").status == 2


# ---- one owner ----

def test_a_running_job_is_refused(canvass, server, write):
    origin = server(lambda r: r.hang())
    process = canvass.start_run(write("job.lua", job()), write("t.lua", table({"us/m": origin.url()})))
    wait_until(lambda: origin.requests)
    for command in ("resume", "retry"):
        result = canvass(command, "last")
        assert result.status == 2 and (command == "retry" or f"process {process.popen.pid} " in result.err), result
    assert len(origin.requests) == 1


def test_many_resume_at_once(canvass, server, write):
    """One of them gets the job, the others are told who."""
    held = threading.Event()
    origin = server(lambda r: held.wait(60) and r.reply(200, answer()))
    process = canvass.start_run(write("job.lua", job(3)), write("t.lua", table({"us/m": origin.url()})))
    wait_until(lambda: origin.requests)
    kill(process)
    rivals = [canvass.start("resume", "last", "--log", "json", "--json") for _ in range(5)]
    wait_until(lambda: sum(r.popen.poll() is not None for r in rivals) == 4)
    winner, = [r for r in rivals if r.popen.poll() is None]
    for rival in rivals:
        if rival is not winner:
            result = rival.wait()
            assert result.status == 2 and f"process {winner.popen.pid} " in result.err, result
    held.set()
    assert winner.wait().status == 1  # q1 was under way when the first process died
    assert len(origin.requests) == 3


# ---- what was stored is used ----

MINE = """
return { request = function(ask) return { p = ask.prompt } end,
         answer = function(response) return { text = response.body } end,
         headers = { ["X-Mine"] = "%s" } }"""


def test_the_files_may_be_gone(canvass, server, write):
    """The script, what it required and read, the region table, its adapters: all were kept. Secrets were not."""
    held = threading.Event()
    origin = server(lambda r: r.reply(200, "fine") if held.is_set() else r.hang())
    files = [
        write("job.lua", """local rows = canvass.csv "rows.csv"
return { name = "study", questions = rows, policy = "mine.two", parameters = { n = canvass.setting("n", 0) } }"""),
        write("rows.csv", "id,prompt\nq1,one\nq2,two\nq3,three\n"),
        write("mine.lua", "return { two = function(plan) plan:each('question', function(p) p:run(p) end) end }"),
        write("t.lua", "return { defaults = { adapter = 'own', headers = { Key = secret 'KEY' } }, regions = { us = { "
                       "models = require 'models' } } }"),
        write("models.lua", dict(m=dict(url=origin.url()))),
        write("adapters/own.lua", MINE % 1),
    ]
    process = canvass.start_run("job.lua", "t.lua", "--set", "n=7", "--samples", "2", env=dict(KEY="kept-from-all-1"))
    wait_until(lambda: origin.requests)
    kill(process)
    for path in files:
        path.unlink()
    held.set()
    assert "KEY" in resume(canvass).err, "the secret is not in the database"
    result = resume(canvass, env=dict(KEY="kept-from-all-2"))
    assert result.status == 1 and statuses(canvass) == dict(succeeded=5, failed=1), result
    assert [r.headers["Key"] for r in origin.requests] == ["kept-from-all-1"] + ["kept-from-all-2"] * 5
    assert {r.headers["X-Mine"] for r in origin.requests} == {"1"}
    assert sorted(r.json["p"] for r in origin.requests) == sorted(["one", "two", "three"] * 2)
    assert canvass.rows("SELECT count(*) AS n FROM region_revisions") == [dict(n=1)]
    assert all(b"kept-from-all-1" not in f.read_bytes() and b"kept-from-all-2" not in f.read_bytes() for f in canvass.folder.glob("canvass.db*"))


def test_a_specification_and_its_list(canvass, server, write):
    held = threading.Event()
    origin = server(lambda r: r.reply(200, answer()) if held.is_set() else r.hang())
    files = [write("spec.json", '{"id": "spec", "questions": ["b", "a"]}'),
             write("list.csv", "id,prompt\na,ay\nb,bee\n")]
    process = canvass.start_run("spec.json", write("t.lua", table({"us/m": origin.url()})), "--questions", "list.csv",
                                "--policy", "free")
    wait_until(lambda: origin.requests)
    kill(process)
    for path in files:
        path.unlink()
    held.set()
    assert resume(canvass).status == 1
    assert [r.prompt for r in origin.requests] == ["bee", "ay"]


def test_a_script_of_another_mind(canvass, server, write):
    """Questions that do not follow from the script are told, before anything is asked."""
    origin = server(lambda r: r.hang())
    script = write("job.lua", "return { questions = { { id = 'q', prompt = 'at ' .. tostring({}) } } }")
    process = canvass.start_run(script, write("t.lua", table({"us/m": origin.url()})))
    wait_until(lambda: origin.requests)
    kill(process)
    result = resume(canvass)
    assert result.status == 2 and "another question 1" in result.err and len(origin.requests) == 1, result


@pytest.mark.parametrize("on_missing", ["skip", "wait"])
def test_a_new_region_table(canvass, server, write, on_missing):
    """Cells that it does not hold are skipped or waited for; each execution says what it ran against."""
    first = server(lambda r: r.reply(200, answer()) if r.prompt == "question 1" else r.hang())
    second = server(lambda r: r.reply(200, answer()))
    script = write("job.lua", job(3, "by_endpoint", on_missing=on_missing, timeout="3s"))
    process = canvass.start_run(script, write("t.lua", table({"asia/m": first.url(), "us/m": first.url(),
                                                              "eu/m": first.url(), "us/n": first.url()})))
    wait_until(lambda: len(first.requests) == 8)
    process.signal(signal.SIGINT)
    process.wait_for("interrupted")
    process.signal(signal.SIGINT)
    process.wait()
    regions = write("new.lua", table({"us/n": second.url(), "other/m": second.url(), "us/m": second.url()}))
    result = resume(canvass, "--regions", regions)
    assert result.status == (1 if on_missing == "skip" else 3), result
    assert len(second.requests) == 4 and len(first.requests) == 8
    found = collections.Counter((r["endpoint"], r["status"], r["revision"]) for r in canvass.rows(
        "SELECT endpoint, status, revision FROM executions WHERE question_id <> 'q1'"))
    left = "skipped" if on_missing == "skip" else "cancelled"
    expected = {("us/m", "succeeded", 2): 2, ("us/n", "succeeded", 2): 2}
    assert {k: v for k, v in found.items() if k[1] == "succeeded"} == expected
    assert {k[:2]: 2 for k in found if k[1] != "succeeded"} == {("asia/m", left): 2, ("eu/m", left): 2}
    assert canvass.rows("SELECT revision, reason FROM region_revisions") == [
        dict(revision=1, reason="job study-1"), dict(revision=2, reason="resume of study-1")]
    errors = {r["error"] for r in canvass.rows("SELECT error FROM executions WHERE status = 'skipped'")}
    assert on_missing == "wait" or (len(errors) == 1 and "not in the region table" in errors.pop())


# ---- asking again what failed ----

def failing(canvass, server, write, count=3):
    """us/m succeeds, eu/m fails with 400, asia/m with 503, until told otherwise."""
    mended = threading.Event()
    origin = server(lambda r: r.reply(200, answer()) if mended.is_set() or r.path == "/us" else
                    r.reply(400 if r.path == "/eu" else 503))
    regions = write("t.lua", table({f"{r}/m": origin.url("/" + r) for r in ("us", "eu", "asia")},
                                   retry=dict(attempts=2, base="1ms", cap="1ms")))
    result = canvass.run(write("job.lua", job(count)), regions)
    assert result.status == 1 and len(origin.requests) == 4 * count, result
    mended.set()
    return origin


@pytest.mark.parametrize("args, again", [
    ([], 6), (["--region", "eu"], 3), (["--class", "http_server"], 3), (["--question", "q2"], 2),
    (["--question", "q2", "--region", "asia"], 1), (["--model", "m"], 6), (["--execution", "study-1.5"], 1)])
def test_retry(canvass, server, write, args, again):
    origin = failing(canvass, server, write)
    before = {r["id"]: r for r in canvass.rows("SELECT * FROM attempts")}
    result = canvass("retry", "last", "--log", "json", "--json", *args)
    assert result.status == (0 if again == 6 else 1), result
    asked = origin.requests[12:]
    assert len(asked) == again and "/us" not in {r.path for r in asked}
    assert statuses(canvass) == ({"succeeded": 9} if again == 6 else dict(succeeded=3 + again, failed=6 - again))
    assert sum(line["executions"] for line in result.said("asked again")) == again
    after = {r["id"]: r for r in canvass.rows("SELECT * FROM attempts")}
    assert len(after) == len(before) + again and all(after[i] == row for i, row in before.items())
    bodies = collections.defaultdict(set)
    for attempt in after.values():
        bodies[attempt["execution_id"]].add((attempt["request"], attempt["url"]))
    assert all(len(same) == 1 for same in bodies.values()), "the same body at the same place"
    totals_are_exact(canvass, 12 + again)


@pytest.mark.parametrize("args, words", [
    (["--region", "us"], ["none of the 6 failed", "--region us matches 0"]),
    (["--question", "q1", "--class", "tls"], ["--question q1 matches 2", "--class tls matches 0"]),
    (["--execution", "study-1.3"], ["--execution study-1.3 matches 0"])])
def test_retry_of_nothing(canvass, server, write, args, words):
    origin = failing(canvass, server, write)
    result = canvass("retry", "last", *args)
    assert result.status == 2 and all(word in result.err for word in words), result
    assert len(origin.requests) == 12 and canvass.rows("SELECT * FROM control_log") == []


def test_retry_of_what_did_not_fail(canvass, server, write):
    origin = server(replies(answer()))
    canvass.run(write("job.lua", job()), write("t.lua", table({"us/m": origin.url()})))
    result = canvass("retry", "last")
    assert result.status == 2 and "has failed: there is nothing" in result.err, result


def test_retry_gives_whole_attempts(canvass, server, write):
    """Each time as many as the table says, numbered on; fails again and again."""
    origin = server(lambda r: r.reply(503))
    regions = write("t.lua", table({"us/m": origin.url()}, retry=dict(attempts=2, base="1ms", cap="1ms")))
    canvass.run(write("job.lua", job()), regions)
    for count in (4, 6):
        assert canvass("retry", "last").status == 1
        assert [r["number"] for r in canvass.rows("SELECT number FROM attempts")] == list(range(1, count + 1))
    assert len(origin.requests) == 6


def test_retry_collects_what_was_promised(canvass, server, write):
    """A deadline that ran out at a result URL: that is fetched again before a POST is paid for."""
    collected.ready = False
    origin = server(collected)
    regions = write("t.lua", table({"us/m": dict(url=origin.url("/m"), deadline="600ms", hop="300ms")}))
    assert canvass.run(write("job.lua", job()), regions).status == 1
    assert canvass.rows("SELECT class FROM executions") == [{"class": "timeout"}]
    assert canvass("resume", "last").status == 1, "what failed is not resumed"
    collected.ready = True
    assert canvass("retry", "last").status == 0
    assert len(origin.asked("POST")) == 1
    totals_are_exact(canvass, 1)


def test_retry_of_an_interrupted_job(canvass, server, write):
    origin = server(lambda r: r.reply(400) if r.prompt == "question 1" else r.hang())
    process = canvass.start_run(write("job.lua", job(2)), write("t.lua", table({"us/m": origin.url()})))
    wait_until(lambda: len(origin.requests) == 2)
    kill(process)
    result = canvass("retry", "last")
    assert result.status == 2 and "canvass resume study-1" in result.err, result


def test_resume_after_a_retry_was_killed(canvass, server, write):
    """What was opened stays open."""
    held = threading.Event()
    origin = server(lambda r: r.reply(400) if len(origin.requests) <= 3 else
                    r.reply(200, answer()) if held.is_set() else r.hang())
    canvass.run(write("job.lua", job(3)), write("t.lua", table({"us/m": origin.url()})))
    process = canvass.start("retry", "last")
    wait_until(lambda: len(origin.requests) == 4)
    kill(process)
    held.set()
    result = resume(canvass)
    assert result.status == 1 and statuses(canvass) == dict(succeeded=2, failed=1), result
    assert len(origin.requests) == 6
