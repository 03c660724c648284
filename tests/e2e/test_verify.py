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


CHECKS_OFF = "PRAGMA ignore_check_constraints = ON"  # a word that the schema does not know


@pytest.mark.parametrize("statement, rule, found", [
    ("UPDATE endings SET status = 'weird' WHERE row / 1024 = 2", "status", "study-1.2.1"),
    ("UPDATE endings SET class = 'weird' WHERE row / 1024 = 2", "status", "study-1.2.1"),
    ("UPDATE endings SET became_class = 'weird' WHERE row / 1024 = 2", "status", "study-1.2.1"),
    ("UPDATE endings SET posts = 9223372036854775807 WHERE row / 1024 < 4", "posts", "study-1.1.1"),
    ("UPDATE endings SET all_hops = -9223372036854775807 WHERE row / 1024 < 4", "hops", "study-1.1.1"),
    ("UPDATE endings SET cost = -1 WHERE row / 1024 = 2", "counts", "study-1.2.1"),
    ("UPDATE endings SET cost = 9e999 WHERE row / 1024 = 2", "counts", "study-1.2.1"),
    ("UPDATE endings SET prompt_tokens = -5 WHERE row / 1024 = 2", "counts", "study-1.2.1"),
    ("UPDATE jobs SET state = 'weird' WHERE id = 'study-1'", "read", "study-1"),
    ("UPDATE jobs SET first_row = 9223372036854775807 WHERE id = 'study-1'", "read", "study-1"),
    ("UPDATE jobs SET planned = 4611686018427387904 WHERE id = 'study-1'", "read", "study-1"),
    ("UPDATE jobs SET width = 0 WHERE id = 'study-1'", "read", "study-1"),
    ("UPDATE jobs SET created_at = -9e999 WHERE id = 'study-1'", "times", "study-1"),
    ("UPDATE jobs SET ended_at = 1e300 WHERE id = 'study-1'", "times", "study-1"),
    ("UPDATE jobs SET number = 7 WHERE id = 'study-1'", "plan", "study-1"),
    ("UPDATE jobs SET spec = '{' WHERE id = 'study-1'", "plan", "study-1"),
    ("UPDATE job_cells SET sample = 2 WHERE job_row = 1 AND position = 1", "plan", "study-1"),
    ("UPDATE job_cells SET region = 'asia' WHERE job_row = 1 AND position = 1", "plan", "study-1"),
    ("UPDATE region_revisions SET source = 'return {'", "revision", "study-1.1.1"),
    ("DELETE FROM region_revisions", "revision", "study-1.1.1"),
])
def test_damage_hides_no_other(canvass, server, write, statement, rule, found):
    """What makes a job unreadable is told with its id, and so is what is wrong with the others."""
    done(canvass, server, write, 1, answer(region="", model="m"))
    done(canvass, server, write, 1)
    spoil(canvass, CHECKS_OFF, "UPDATE endings SET hops = -4 WHERE row / 1024 = 3 + 2", statement)
    result = canvass("verify", "--json")
    assert result.status == 1, result
    told = {(f["rule"], f["id"]) for f in result.json["found"]}
    assert (rule, found) in told and any(f[0] == "hops" and f[1].startswith("study-2.") for f in told), result
    assert not {f for f in told if f[1].startswith("study-2") and f[0] not in ("hops", "revision", "plan")}, result
    alone = canvass("verify", "study-1", "--json")
    assert alone.status == 1 and (rule, found) in {(f["rule"], f["id"]) for f in alone.json["found"]}, alone


@pytest.mark.parametrize("column, value", [("width", 0), ("width", 2**63 - 1), ("planned", 2**62), ("planned", -1),
                                           ("first_row", 2**63 - 1), ("first_row", -2**63)])
def test_rows_that_cannot_be(canvass, server, write, column, value):
    """Neither cancel nor resume counts on them, in the job itself or in one before it."""
    origin = server(lambda r: r.hang())
    done(canvass, server, write, 1)
    process = canvass.start_run(write("job.lua", job(1)), write("t.lua", table({"us/m": origin.url()})))
    wait_until(lambda: origin.requests)
    process.end()
    for damaged in ("study-1", "study-2"):
        spoil(canvass, f"UPDATE jobs SET {column} = {value} WHERE id = '{damaged}'")
        for command in ("show", "cancel", "resume", "retry", "results"):
            result = canvass(command, damaged)
            assert result.status == 4 and f"job {damaged} has" in result.err, result
