"""`canvass simulate`: the table it writes, what it tells at its end, and answers of one's own that fail."""
import json
import signal

import pytest

from helpers import Raw, job

FLEET = dict(
    seed=1,
    defaults=dict(containers=4, cold=[1, 1], service=[2, 3]),
    regions=dict(us={"a": {}, "b": dict(containers=1)}, eu={"a": dict(containers=1000000)}),
)


def end(simulated):
    simulated.process.signal(signal.SIGTERM)
    return simulated.process.wait(30)


def test_slots_are_containers(canvass, fleet):
    simulated = fleet(FLEET, speed=1)
    shown = canvass("regions", "show", simulated.table, "--json")
    assert shown.status == 0 and shown.err == "", shown
    found = {s["setting"]: (s["value"], s["set_by"]) for s in shown.json["settings"]}
    assert found["us/a.slots"] == ("4", "endpoint")
    assert found["us/b.slots"] == ("1", "defaults")
    assert found["eu/a.slots"][0] == "100000" and found["limits.in_flight"][0] == "100005"
    assert simulated.table.read_text().count("slots = 1,") == 1


def test_the_written_table_fills_the_containers(canvass, fleet, write):
    simulated = fleet(dict(FLEET, regions=dict(us=FLEET["regions"]["us"])), speed=100)
    assert canvass.run(write("job.lua", job(20, "free")), simulated.table).status == 0
    stats = simulated.stats()
    assert {name: e["max_open"] for name, e in stats["endpoints"].items()} == {"us/a": 4, "us/b": 1}
    assert stats["max_open"] == 5 and stats["overflows"] == 0


def test_it_tells_what_it_was_asked(canvass, fleet, write):
    simulated = fleet(dict(FLEET, defaults=dict(FLEET["defaults"], redirect_after="2s")), speed=100)
    assert canvass.run(write("job.lua", job(2, "sequential")), simulated.table).status == 0
    stats = simulated.stats()
    assert stats["redirects"] > 0
    last = end(simulated).err.splitlines()[-1]
    assert last == (f"6 POSTs and {stats['gets']} GETs on result URLs; {stats['redirects']} of them told to come back "
                    "later (303); at most 3 requests open at once; 0 refused")


def test_refusals_and_faults_are_told(canvass, fleet, write):
    simulated = fleet(dict(FLEET, defaults=dict(FLEET["defaults"], redirect_after=202), regions=dict(
        us={"a": dict(redirect_status=202)}), faults=[{"what": "500"}]), speed=100)
    assert canvass.run(write("job.lua", job(1)), simulated.write_table(defaults=dict(retry=False))).status == 1
    last = end(simulated).err.splitlines()[-1]
    assert last == ("1 POST and 0 GETs on result URLs; 0 of them told to come back later; at most 1 request open at "
                    "once; 0 refused; 1 failed by a fault")


def test_the_end_in_json(canvass, write):
    process = canvass.start("simulate", write("fleet.lua", FLEET), "--port", 0, "--log", "json")
    process.wait_for("serving")
    process.signal(signal.SIGINT)
    lines = [json.loads(line) for line in process.wait().err.splitlines()]
    assert lines[-1]["message"] == "fleet ended" and lines[-1]["counted"].startswith("0 POSTs and 0 GETs")


def test_answers_that_fail_are_told_once(canvass, fleet, write):
    simulated = fleet('return {\n  regions = { us = { a = { cold = { 1, 1 }, service = { 1, 1 } } } },\n'
                      '  answers = function(question) return question.text.en end,\n}', speed=1000)
    result = canvass.run(write("job.lua", job(5)), simulated.table)
    assert result.status == 0, result
    said = [line for line in end(simulated).err.splitlines() if "`answers` failed" in line]
    assert len(said) == 1 and "WARN" in said[0] and "fleet-0.lua:3:" in said[0]


@pytest.mark.parametrize("overflow,capacity,speed", [("429", 1, 1500), ("503", 6, 600), ("429", 24, 200)])
def test_a_hidden_capacity_is_found(canvass, fleet, write, overflow, capacity, speed):
    """The table says nothing of what the fleet bears, but for a ceiling far above it."""
    simulated = fleet(dict(seed=1, defaults=dict(containers=capacity, queue=0, overflow=overflow, cold=[5, 5],
                                                 service=[20, 60]), regions=dict(us={"a": {}})), speed)
    asked = 240
    table = simulated.write_table(defaults=dict(slots=1, adaptive=Raw("{ floor = 1, ceiling = 128 }")))
    run = canvass.run(write("job.lua", job(asked, "free")), table)
    stats = simulated.stats()
    print(f"capacity {capacity}: {stats['posts']} POSTs, {stats['overflows']} refused, {stats['max_open']} open at most")
    assert run.status == 0 and stats["answered"] == asked, run
    assert stats["overflows"] / stats["posts"] < 0.02
    assert capacity <= stats["max_open"] <= capacity + 4
