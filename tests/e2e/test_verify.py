"""canvass verify: nothing where all is well, and the id of what is not."""
import sqlite3

import pytest

from conftest import wait_until
from helpers import answer, job, replies, table


def done(canvass, server, write, count=3, reply=answer()):
    origin = server(replies(reply))
    regions = table({"us/m": origin.url(), "eu/m": origin.url()}, region=dict(us=dict(aliases=["america"])))
    assert canvass.run(write("job.lua", job(count)), write("t.lua", regions)).status == 0
    return origin


def spoil(canvass, *statements):
    canvass.sound = False
    connection = sqlite3.connect(canvass.folder / "canvass.db", isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def test_all_is_well(canvass, server, write):
    done(canvass, server, write)
    done(canvass, server, write, 1)
    assert canvass("verify").out == "canvass.db: 2 jobs, 8 executions: 0 faults\n"
    assert canvass("verify", "study-1", "--json").json == dict(jobs=1, executions=6, faults=0, found=[])
    assert canvass("verify", "study-9").status == 2
    assert canvass("verify", "--db", "none.db").status == 4


def test_a_job_that_runs_and_one_that_was_killed(canvass, server, write):
    origin = server(lambda r: r.hang())
    process = canvass.start_run(write("job.lua", job(2)), write("t.lua", table({"us/m": origin.url()})))
    wait_until(lambda: origin.requests)
    assert canvass("verify").status == 0
    process.popen.kill()
    process.popen.wait()
    assert canvass("verify").status == 0


@pytest.mark.parametrize("statement, rule, found", [
    ("UPDATE endings SET posts = posts + 7 WHERE row % 1024 = 1 AND row / 1024 = 2", "posts", "study-1.2.1"),
    ("UPDATE dispatches SET revision = 4 WHERE row / 1024 = 3", "revision", "study-1.3.1"),
    ("UPDATE jobs SET state = 'partial'", "state", "study-1"),
    ("DELETE FROM endings WHERE row / 1024 = 5", "state", "study-1.5"),
])
def test_a_fault_is_told_with_its_id(canvass, server, write, statement, rule, found):
    done(canvass, server, write)
    spoil(canvass, statement)
    result = canvass("verify", "last", "--json")
    assert result.status == 1 and result.json["faults"] >= 1, result
    assert (rule, found) in [(f["rule"], f["id"]) for f in result.json["found"]], result
    text = canvass("verify")
    assert text.status == 1 and any(line.startswith(found + ": ") and f"({rule})" in line
                                    for line in text.out.splitlines()), text


def test_who_answered(canvass, server, write):
    """By the region table the answer was asked with: its aliases count, another region does not."""
    origin = server(lambda r: r.reply(200, answer(region="america" if r.path == "/us" else "eu")))
    regions = table({"us/m": origin.url("/us"), "eu/m": origin.url("/eu")}, region=dict(us=dict(aliases=["america"])))
    assert canvass.run(write("job.lua", job(1)), write("t.lua", regions)).status == 0
    (canvass.folder / "t.lua").unlink()
    assert canvass.rows("SELECT count(served_region) AS n FROM attempts") == [dict(n=2)]
    assert canvass("verify").status == 0
    spoil(canvass, "UPDATE endings SET served_region = 'asia' WHERE row / 1024 = 1")
    result = canvass("verify", "--json")
    assert [(f["rule"], f["id"]) for f in result.json["found"]] == [("served", "study-1.1.1")], result


def test_what_was_marked_is_no_fault(canvass, server, write):
    origin = server(replies(answer(region="asia")))
    assert canvass.run(write("job.lua", job(1)), write("t.lua", table({"us/m": origin.url()}))).status == 1
    assert canvass.rows("SELECT class FROM executions") == [{"class": "wrong_region"}]
    assert canvass("verify").status == 0
    spoil(canvass, "UPDATE endings SET served_region = 'us'")
    assert canvass("verify", "--json").json["found"][0]["rule"] == "served"


def test_a_damaged_file(canvass, server, write):
    done(canvass, server, write, 200)
    spoil(canvass, "PRAGMA wal_checkpoint(TRUNCATE)")
    path = canvass.folder / "canvass.db"
    content = bytearray(path.read_bytes())
    for page in range(len(content) // 2 // 16384, len(content) // 16384):
        content[page * 16384:page * 16384 + 64] = b"\xa5" * 64
    path.write_bytes(content)
    result = canvass("verify")
    assert result.status in (1, 4) and (result.out or result.err), result
