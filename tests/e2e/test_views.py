"""What is shown of a job after it ran: filters with a slip in them, jobs whose process is gone, what to do next."""
import signal

import pytest

from conftest import wait_until
from helpers import answer, job, replies, table


@pytest.fixture
def done(canvass, server, write):
    """A job of two questions on three endpoints; eu/small fails."""
    origin = server(lambda r: r.reply(404) if r.path == "/eu/small" else r.reply(200, answer()))
    endpoints = {name: origin.url("/" + name) for name in ("us/big", "us/small", "eu/small")}
    result = canvass.run(write("job.lua", job(2)), write("t.lua", table(endpoints)))
    assert result.status == 1, result
    return canvass


@pytest.mark.parametrize("option, value, words", [
    ("--region", "us-east", ['job study-1 has no region "us-east" (--region)', "it is one of eu, us"]),
    ("--region", "ux", ["it is one of eu, us"]),
    ("--model", "smal", ['no model "smal" (--model)', "did you mean small?", "small, big"]),
    ("--question", "q3", ['no question "q3" (--question)', "q1, q2"]),
    ("--status", "succeded", ['"succeded" is no status (--status)', "did you mean succeeded?", "waiting_result"]),
    ("--class", "time_out", ['"time_out" is no failure class (--class)', "did you mean timeout?", "breaker_open"]),
    ("--class", "", ['"" is no failure class (--class)', "it is one of connect, tls"]),
])
def test_a_filter_that_names_nothing(done, option, value, words):
    result = done("results", "last", option, value)
    assert result.status == 2 and result.out == "", result
    assert result.err.startswith("canvass: ") and all(word in result.err for word in words), result


def test_a_right_filter_that_matches_nothing(done):
    for filters in (["--status", "cancelled"], ["--class", "tls"], ["--region", "eu", "--model", "big"],
                    ["--region", "eu", "--status", "succeeded"]):
        result = done("results", "last", *filters)
        assert result.status == 0 and "0 of 0 executions" in result.out, result
        assert done("results", "last", *filters, "--json").json["executions"] == []


def test_filters_together(done):
    result = done("results", "last", "--region", "us", "--model", "small", "--question", "q2", "--json")
    found = [(e["region"], e["model_id"], e["question_id"]) for e in result.json["executions"]]
    assert found == [("us", "small", "q2")]
    assert done("results", "last", "--status", "failed", "--class", "not_found", "--json").json["total"] == 2


def test_a_job_whose_process_is_gone(canvass, server, write):
    origin = server(lambda r: r.hang())
    process = canvass.start_run(write("job.lua", job()), write("t.lua", table({"us/m": origin.url()})))
    process.wait_for('"job started"')
    assert canvass("jobs", "--json").json["jobs"][0]["owner_alive"] is True
    assert "is gone" not in canvass("jobs").out + canvass("show", "last").out
    process.popen.kill()
    process.popen.wait()
    for view in (canvass("jobs", "--json").json["jobs"][0], canvass("show", "last", "--json").json):
        assert view["state"] == "running" and view["owner_alive"] is False
    listed = canvass("jobs").out
    assert "interrupted" in listed and "canvass resume JOB" in listed and "canvass cancel" in listed
    assert "interrupted (its process is gone: canvass resume study-1 goes on)" in canvass("show", "last").out
    assert canvass("cancel", "last").status == 0
    assert "is gone" not in canvass("jobs").out + canvass("show", "last").out
    assert canvass("show", "last", "--json").json["owner_alive"] is None


def test_the_owner_of_a_job_that_ended(canvass, server, write):
    origin = server(replies(answer()))
    result = canvass.run(write("job.lua", job()), write("t.lua", table({"us/m": origin.url()})))
    assert result.json["owner_alive"] is None


def last_lines(result):
    return result.out.rstrip("\n").split("\n\n")[-1].splitlines()


def test_what_next(canvass, server, write):
    """A command that exists and fits; tried as it stands."""
    origin = server(lambda r: r.reply(404) if r.prompt == "question 2" else r.reply(200, answer()))
    regions = write("t.lua", table({"us/m": origin.url()}))

    def ran(count, *args, status):
        result = canvass("run", write("job.lua", job(count)), "--regions", regions, "--log-level", "error", *args)
        assert result.status == status, result
        line = last_lines(result)[0]
        assert line.startswith("next: canvass "), result
        assert last_lines(result)[1:] == (["then: canvass retry study-2"] if status else []), result
        assert canvass(*line.split()[2:]).status == 0
        return line

    assert ran(1, status=0) == "next: canvass results study-1"
    assert ran(1, "--db", "other.db", status=0) == "next: canvass results study-1 --db other.db"
    assert ran(3, status=1) == "next: canvass results study-2 --status failed"


def test_what_next_after_an_interrupt(canvass, server, write):
    origin = server(lambda r: r.reply(200, answer()) if r.prompt == "question 1" else r.hang())
    script, regions = write("job.lua", job(3)), write("t.lua", table({"us/m": origin.url()}))
    process = canvass.start("run", script, "--regions", regions)
    wait_until(lambda: len(origin.requests) == 2)
    process.signal(signal.SIGINT)
    process.wait_for("interrupted")
    process.signal(signal.SIGINT)
    result = process.wait()
    assert result.status == 130, result
    assert last_lines(result) == [
        "kept: 1 of 3 answers, and how far each of the others came", "next: canvass resume study-1"]
    none = canvass("run", write("none.lua", job(questions=[dict(id="q", prompt="x")])), "--regions", regions,
                   "--timeout", "100ms", "--log-level", "error")
    assert none.status == 3 and last_lines(none)[-1] == "next: canvass resume study-2", none
