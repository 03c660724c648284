"""Ending early: signals, `canvass cancel`, the job's timeout. What is in flight, what the rows say, the exit status."""
import collections
import os
import signal
import subprocess
import time

import pytest

from conftest import BINARY, clean_environment, rows, wait_until
from helpers import answer, job, lua, questions, replies, table

SLOW = dict(
    seed=1,
    defaults=dict(cold=[1, 1], service=[600, 600], queue=100, containers=10, redirect_after=False),
    regions=dict(us={"a": {}, "b": {}}, eu={"a": {}, "b": {}}),
)
FINAL = {"succeeded", "failed", "cancelled", "skipped"}


def statuses(canvass, **db):
    found = collections.Counter(r["status"] for r in canvass.rows("SELECT status FROM executions", **db))
    assert set(found) <= FINAL, "an execution without an end"
    return found


def start_slow(canvass, fleet, write, *args, speed=1, count=5, **keys):
    """A job whose four endpoints have a request each that none will answer soon."""
    simulated = fleet(SLOW, speed=speed)
    process = canvass.start_run(write("job.lua", job(count, **keys)), simulated.write_table(), *args)
    wait_until(lambda: simulated.stats()["open"] == 4 or process.popen.poll() is not None)
    assert simulated.stats()["open"] == 4
    return simulated, process


def test_the_first_interrupt_drains(canvass, fleet, write):
    """No more is asked; what is in flight is waited for and kept."""
    simulated, process = start_slow(canvass, fleet, write, speed=600)
    process.signal(signal.SIGINT)
    result = process.wait()
    assert result.status == 130, result
    assert statuses(canvass) == dict(succeeded=4, cancelled=16)
    assert simulated.stats()["posts"] == simulated.stats()["answered"] == 4 and simulated.stats()["aborted"] == 0
    assert result.json["state"] == "cancelled" and result.json["executions"]["succeeded"] == 4
    said, = [line for line in result.log if line["message"].startswith("interrupted")]
    assert said["in_flight"] == 4 and "again" in said["message"]


def test_a_closed_terminal_drains(canvass, fleet, write):
    """However often it is told: the shell and the kernel both may."""
    simulated, process = start_slow(canvass, fleet, write, speed=600)
    process.signal(signal.SIGHUP)
    process.wait_for("interrupted")
    process.signal(signal.SIGHUP)
    result = process.wait()
    assert result.status == 130, result
    assert statuses(canvass) == dict(succeeded=4, cancelled=16)
    assert simulated.stats()["posts"] == simulated.stats()["answered"] == 4 and simulated.stats()["aborted"] == 0


def test_closed_streams_are_not_taken_by_sockets(canvass, server, write):
    """Else the log would be written into a request."""
    held = []

    def handle(request):
        held.append([os.readlink("/proc/%d/fd/%d" % (process.pid, fd)) for fd in range(3)])
        request.reply(200, answer())

    origin = server(handle)
    command = [BINARY, "run", write("job.lua", job(5)), "--regions", write("t.lua", table({"us/m": origin.url()}))]
    process = subprocess.Popen(command, cwd=canvass.folder, env=clean_environment(),
                               preexec_fn=lambda: os.closerange(0, 3))
    assert process.wait(60) == 1, "the result could not be written"
    assert held == [["/dev/null"] * 3] * 5
    assert statuses(canvass) == dict(succeeded=5)


@pytest.mark.parametrize("first, second", [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGTERM),
                                           (signal.SIGTERM, signal.SIGINT)])
def test_the_second_interrupt_aborts(canvass, fleet, write, first, second):
    """The sockets are closed at once, so that the provider stops; every planned execution ends with a row."""
    simulated, process = start_slow(canvass, fleet, write)
    process.signal(first)
    process.wait_for("interrupted")
    process.signal(second)
    result = process.wait(30)
    assert result.status == 130, result
    wait_until(lambda: simulated.stats()["aborted"] == 4)
    stats = simulated.stats()
    assert stats["posts"] == 4 and stats["open"] == 0 and stats["calls_cancelled"] == 4
    found = statuses(canvass)
    assert sum(found.values()) == 20 and found["cancelled"] >= 4 and found["succeeded"] == 0
    attempts = canvass.rows("SELECT status, ended_at FROM attempts")
    assert len(attempts) == 4 and all(a["status"] == "cancelled" and a["ended_at"] for a in attempts)
    assert canvass.rows("SELECT state FROM jobs") == [dict(state="cancelled")]


def test_canvass_cancel(canvass, fleet, write):
    """Another process ends the job; the one that runs it says so and exits 1."""
    simulated, process = start_slow(canvass, fleet, write)
    asked = canvass("cancel", "last", "--reason", "wrong questions", "--json")
    result = process.wait(30)
    assert asked.status == 0 and asked.json == dict(job_id="study-1", changed=True, state="cancelled"), asked
    assert result.status == 1 and result.json["state"] == "cancelled"
    wait_until(lambda: simulated.stats()["aborted"] == 4)
    assert simulated.stats()["posts"] == 4
    assert sum(statuses(canvass).values()) == 20
    log, = canvass.rows("SELECT * FROM control_log WHERE action = 'cancel'")
    assert (log["target"], log["reason"]) == ("study-1", "wrong questions") and log["author"]
    assert "wrong questions" in process.wait().err
    again = canvass("cancel", "study-1", "--json")
    assert again.status == 0 and again.json == dict(job_id="study-1", changed=False, state="cancelled")


def test_cancelling_what_has_ended(canvass, server, write):
    origin = server(replies(answer()))
    canvass.run(write("job.lua", job()), write("t.lua", table({"us/m": origin.url()})))
    asked = canvass("cancel", "study-1")
    assert asked.status == 0 and "changed false" in asked.out and "succeeded" in asked.out
    assert canvass.rows("SELECT state FROM jobs") == [dict(state="succeeded")]


def test_cancelling_a_job_whose_process_died(canvass, fleet, write):
    """kill -9 leaves the job running on paper; cancel ends it, and says so."""
    _, process = start_slow(canvass, fleet, write)
    process.popen.kill()
    process.popen.wait()
    asked = canvass("cancel", "last", "--json")
    assert asked.status == 0 and asked.json["changed"] and asked.json["state"] == "cancelled", asked
    assert sum(statuses(canvass).values()) == 20


@pytest.mark.parametrize("how", ["script", "option", "setting"])
def test_the_jobs_timeout(canvass, fleet, write, how):
    """Ends the job wherever it is: sockets closed, rows ended, exit 3."""
    simulated = fleet(SLOW, speed=1)
    script = write("job.lua", job(5, **(dict(timeout="700ms") if how == "script" else {})))
    extra = dict(script=[], option=["--timeout", "700ms"], setting=["--set", "timeout=700ms"])[how]
    result = canvass.run(script, simulated.write_table(), *extra)
    assert result.status == 3 and result.json["state"] == "timed_out", result
    wait_until(lambda: simulated.stats()["aborted"] == 4)
    assert simulated.stats()["posts"] == 4
    found = statuses(canvass)
    assert sum(found.values()) == 20 and found["succeeded"] == 0
    errors = {r["error"] for r in canvass.rows("SELECT error FROM executions WHERE status = 'cancelled'")}
    assert errors and all("timeout" in error for error in errors)
    summary = canvass.rows("SELECT ended_at - started_at AS took, timeout_s FROM jobs")[0]
    assert summary["timeout_s"] == 0.7 and 0.6 < summary["took"] < 30


def test_the_timeout_counts_from_the_first_dispatch(canvass, server, write):
    origin = server(lambda r: (time.sleep(1.2), r.reply(200, answer())))
    script = write("job.lua", """
return { name = "late", questions = %s, timeout = "4s",
         policy = function(plan) canvass.sleep(3) plan:run() end }""" % lua(questions(2)))
    result = canvass.run(script, write("t.lua", table({"us/m": origin.url()})))
    assert result.status == 0, result


@pytest.mark.parametrize("nap", ["while true do canvass.sleep(0.1) end", "canvass.sleep('30d') plan:run()"])
def test_a_policy_that_never_asks_is_ended_by_the_timeout(canvass, server, write, nap):
    origin = server(replies(answer()))
    script = write("job.lua", "return { questions = %s, timeout = '1s', policy = function(plan) %s end }"
                   % (lua(questions(2)), nap))
    result = canvass.run(script, write("t.lua", table({"us/m": origin.url()})))
    assert result.status == 3 and not origin.requests and "before anything was asked" in result.err, result
    assert {(r["status"], r["class"]) for r in canvass.rows("SELECT * FROM executions")} == {("cancelled", "timeout")}


def test_a_result_url_outlives_the_interrupt(canvass, server, write):
    """What had been handed a result URL says so in its row: it can be collected later."""
    def handle(request):
        request.reply(303, Location="/result/7") if request.method == "POST" else request.hang()
    origin = server(handle)
    process = canvass.start_run(write("job.lua", job()), write("t.lua", table({"us/m": origin.url("/m")})))
    wait_until(lambda: origin.asked("GET"))
    process.signal(signal.SIGINT)
    process.wait_for("interrupted")
    process.signal(signal.SIGINT)
    assert process.wait(30).status == 130
    kept, = canvass.rows("SELECT a.result_url, a.status, e.status AS ended, e.posts FROM attempts a, executions e")
    assert kept == dict(result_url=origin.url("/result/7"), status="cancelled", ended="cancelled", posts=1)
    wait_until(lambda: origin.asked("GET")[0].aborted)


def test_interrupted_while_backing_off(canvass, server, write):
    """Waiting for a retry is not in flight: draining does not wait for it."""
    origin = server(lambda r: r.reply(500, "no"))
    retry = dict(attempts=9, base="100s", cap="100s")
    process = canvass.start_run(write("job.lua", job(2)), write("t.lua", table({"us/m": origin.url()}, retry=retry)))
    process.wait_for("attempt failed, will ask again")
    began = time.monotonic()
    process.signal(signal.SIGINT)
    result = process.wait(60)
    assert result.status == 130 and time.monotonic() - began < 30
    assert len(origin.requests) == 1 and sum(statuses(canvass).values()) == 2


def test_killed_nothing_is_lost(canvass, fleet, write):
    """kill -9 in the middle: what was answered is in the file, which is whole, and no row claims more."""
    simulated = fleet(dict(SLOW, defaults=dict(SLOW["defaults"], service=[20, 40])), speed=1000)
    process = canvass.start_run(write("job.lua", job(200, "free")), simulated.write_table())
    wait_until(lambda: simulated.stats()["answered"] > 100)
    process.popen.kill()
    process.popen.wait()
    stats = simulated.stats()
    assert canvass.rows("PRAGMA integrity_check") == [dict(integrity_check="ok")]
    done = canvass.rows("SELECT count(*) AS n FROM executions WHERE status = 'succeeded'")[0]["n"]
    attempts = canvass.rows("SELECT count(*) AS n FROM attempts")[0]["n"]
    assert 0 < done <= stats["answered"] and stats["posts"] <= attempts <= stats["posts"] + 8
    assert canvass.rows("SELECT count(*) AS n FROM executions") == [dict(n=800)]
    shown = canvass("show", "last")
    assert shown.status == 0 and "study-1" in shown.out


def test_the_next_run_starts_a_job_of_its_own(canvass, fleet, write):
    _, process = start_slow(canvass, fleet, write)
    process.popen.kill()
    process.popen.wait()
    quick = fleet(dict(SLOW, defaults=dict(SLOW["defaults"], service=[1, 1])))
    result = canvass.run(write("job.lua", job(2)), quick.write_table())
    assert result.status == 0 and result.json["job_id"] == "study-2", result
    assert rows(canvass.folder / "canvass.db", "SELECT count(DISTINCT job_id) AS n FROM executions") == [dict(n=2)]


def test_a_signal_before_anything_runs(canvass, fleet, write):
    """Whenever the interrupt comes, the end is an orderly one."""
    simulated = fleet(SLOW, speed=600)
    script, regions = write("job.lua", job(2)), simulated.write_table()
    for pause in (0, 0.01, 0.02, 0.05, 0.1, 0.2):
        process = canvass.start_run(script, regions, "--db", f"{pause}.db")
        time.sleep(pause)
        process.signal(signal.SIGINT)
        result = process.wait(60)
        assert result.status in (130, -signal.SIGINT), (pause, result)
        if (canvass.folder / f"{pause}.db").exists() and result.status == 130 and result.out:
            assert sum(statuses(canvass, db=f"{pause}.db").values()) == 8
