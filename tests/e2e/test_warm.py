"""Warming endpoints up before the first question: what is asked, in which order, what is kept of it."""
import signal

import pytest

from conftest import wait_until
from helpers import always, answer, job, replies, table

# Three minutes cold, so that the first call of each endpoint is a 303 after 150 s.
COLD = dict(
    seed=1,
    defaults=dict(cold=[180, 180], service=[30, 30], containers=1, queue=0),
    regions=dict(us={"a": {}, "b": {}}, eu={"a": {}, "b": {}}),
)


def warmups(canvass):
    return canvass.rows("SELECT * FROM warmups ORDER BY row")


def test_cold_starts_come_before_the_first_question(canvass, fleet, write):
    simulated = fleet(COLD, speed=600)
    path = simulated.write_table(defaults=dict(warm="ask", price_per_second=1), limits=dict(in_flight=3))
    result = canvass.run(write("job.lua", job(2, "sequential", warm=True, parameters=dict(max_tokens=500))), path)
    assert result.status == 0, result
    stats, got = simulated.stats(), result.json
    assert got["posts"] == 8 and got["posts_per_answer"] == 1 and got["attempts"] == 8
    assert got["warm_posts"] == 4 and stats["posts"] == 12
    assert got["warm_hops"] >= 4 and got["hops"] + got["warm_hops"] == stats["gets"]
    assert stats["max_open"] == got["max_in_flight"] == 3, "the caps hold, and are used"
    assert got["times"]["cold"]["answers"] == 0 and got["times"]["warm"]["answers"] == 8
    assert 0 < got["warm_cost"] < got["cost"]

    kept = warmups(canvass)
    assert len(kept) == 4 and {w["kind"] for w in kept} == {"ask"}
    for w in kept:
        assert (w["status"], w["class"], w["posts"], w["attempts"]) == ("succeeded", None, 1, 1)
        assert w["hops"] >= 1 and "call_id=" in w["result_url"] and '"max_tokens":16' in w["request"]
        assert w["started_at"] < w["ended_at"]
    assert [w["endpoint"] for w in got["warm_ups"]] == [w["endpoint"] for w in kept]
    first, = canvass.rows("SELECT min(started_at) AS at, max(cold) AS cold FROM executions")
    assert first["at"] > max(w["ended_at"] for w in kept), "a question was asked while an endpoint warmed up"
    assert first["cold"] == 0
    assert canvass.rows("SELECT count(*) AS n FROM attempts")[0]["n"] == 8, "a warm-up is no attempt of an execution"
    assert '"max_tokens":500' in canvass.rows("SELECT request FROM attempts")[0]["request"]
    assert len(result.said("endpoint is warm")) == 4

    shown = canvass("show", "last", "--json").json
    assert all(shown[key] == got[key] for key in ("posts", "warm_posts", "warm_hops", "warm_cost", "cost", "warm_ups"))
    assert "warmed up first   4 of 4 endpoints (4 more posts" in canvass("show", "last").out


@pytest.mark.parametrize("keys, rule", [({}, "ask"), (dict(warm=False), "ask"), (dict(warm=True), False)])
def test_nothing_is_warmed_up_unasked(canvass, fleet, write, keys, rule):
    simulated = fleet(dict(COLD, defaults=dict(cold=[1, 1], service=[1, 1])))
    result = canvass.run(write("job.lua", job(2, **keys)), simulated.write_table(defaults=dict(warm=rule)))
    stats = simulated.stats()
    assert result.status == 0 and stats["posts"] == result.json["posts"] == 8 and stats["health"] == 0
    assert result.json["warm_posts"] == 0 and result.json["warm_ups"] == [] and warmups(canvass) == []


def test_health_is_free(canvass, fleet, write):
    """By region; the setting comes from the command line."""
    simulated = fleet(COLD, speed=2000)
    path = simulated.write_table(region=dict(eu=dict(warm=False)))
    result = canvass.run(write("job.lua", job(1)), path, "--set", "warm=true")
    stats = simulated.stats()
    assert result.status == 0, result
    assert stats["health"] == 2 and stats["posts"] == result.json["posts"] == 4
    assert result.json["warm_posts"] == 0 and result.json["warm_hops"] == 2
    assert {(w["endpoint"], w["kind"], w["status"], w["url"]) for w in warmups(canvass)} == {
        (f"us/{model}", "health", "succeeded", f"{simulated.url}/us/health") for model in "ab"}


def test_health_that_takes_its_time(canvass, server, write):
    """503, a body that says it is not well, then one that does. The questions come after that."""
    well = replies(always(503, "starting"), dict(status="loading"), dict(status="healthy"))
    origin = server(lambda r: well(r) if r.path == "/health" else r.reply(200, answer()))
    path = write("t.lua", table({"us/m": origin.url("/ask")}, region=dict(us=dict(health=origin.url("/health"))),
                                warm="health"))
    result = canvass.run(write("job.lua", job(2, warm=True)), path)
    assert result.status == 0, result
    assert [r.path for r in origin.requests] == ["/health"] * 3 + ["/ask"] * 2
    assert result.json["warm_hops"] == 3 and warmups(canvass)[0]["hops"] == 3


@pytest.mark.parametrize("status, body, class_", [(404, "nobody here", "not_found"), (401, "who?", "http_client")])
def test_health_that_will_never_be_well(canvass, server, write, status, body, class_):
    origin = server(lambda r: r.reply(status, body) if r.path == "/health" else r.reply(200, answer()))
    path = write("t.lua", table({"us/m": origin.url("/ask")}, region=dict(us=dict(health=origin.url("/health"))),
                                warm="health"))
    result = canvass.run(write("job.lua", job(1, warm=True)), path)
    assert result.status == 0 and origin.asked("GET") and len(origin.asked("GET")) == 1, result
    kept, = warmups(canvass)
    assert (kept["status"], kept["class"]) == ("failed", class_) and body in kept["error"]


def test_a_failed_warm_up_fails_no_job(canvass, server, write):
    origin = server(replies(always(400, dict(error="not \x1b[31mnow")), answer()))
    path = write("t.lua", table({"us/m": origin.url()}, warm="ask", slots=3))
    result = canvass.run(write("job.lua", job(3, "free", warm=True)), path)
    assert result.status == 0 and result.json["state"] == "succeeded", result
    assert result.json["times"]["cold"]["answers"] == 1, "the endpoint stayed cold"
    assert result.json["posts"] == 3 and result.json["warm_posts"] == 1 and len(origin.requests) == 4
    said, = result.said("endpoint could not be warmed up, it stays cold")
    assert said["class"] == "http_client" and "400" in said["error"]
    shown = canvass("show", "last").out
    assert "warmed up first   0 of 1 endpoints" in shown and "not warmed up" in shown and "us/m" in shown
    assert "\x1b" not in shown


def test_an_interrupt_ends_the_warm_up_at_once(canvass, fleet, write):
    """The first one: no answer is lost by it."""
    simulated = fleet(dict(COLD, defaults=dict(COLD["defaults"], redirect_after=False)), speed=1)
    process = canvass.start_run(write("job.lua", job(2, warm=True)), simulated.write_table(defaults=dict(warm="ask")))
    wait_until(lambda: simulated.stats()["open"] == 4)
    process.signal(signal.SIGINT)
    result = process.wait()
    assert result.status == 130 and result.json["state"] == "cancelled", result
    wait_until(lambda: simulated.stats()["aborted"] == 4)
    assert simulated.stats()["posts"] == result.json["warm_posts"] == 4 and result.json["posts"] == 0
    assert {w["status"] for w in warmups(canvass)} == {"cancelled"}
    assert canvass.rows("SELECT DISTINCT status FROM executions") == [dict(status="cancelled")]


def test_a_killed_warm_up_was_on_disk(canvass, fleet, write):
    """Two were let out, and both are known."""
    simulated = fleet(COLD, speed=1)
    path = simulated.write_table(defaults=dict(warm="ask"), limits=dict(in_flight=2))
    process = canvass.start_run(write("job.lua", job(1, warm=True)), path)
    wait_until(lambda: simulated.stats()["open"] == 2)
    process.popen.kill()
    process.popen.wait()
    assert [(w["status"], w["posts"]) for w in warmups(canvass)] == [("running", 1)] * 2
    assert canvass.rows("SELECT DISTINCT status FROM executions") == [dict(status="pending")]
    shown = canvass("show", "last", "--json").json
    assert shown["warm_posts"] == simulated.stats()["posts"] == 2 and shown["posts"] == 0
    assert canvass("cancel", "last").status == 0
    assert {w["status"] for w in warmups(canvass)} == {"cancelled"}, "nothing is open once its job has ended"


def test_plan_and_rehearse_know_of_it(canvass, fleet, write):
    simulated = fleet(COLD)
    path = simulated.write_table(defaults=dict(warm="ask", price_per_second=0.001, deadline="100s", hop="50s"),
                                 region=dict(eu=dict(warm="health")))
    cold, warm = write("cold.lua", job(2)), write("warm.lua", job(2, warm=True))
    plain = canvass("plan", cold, "--regions", path, "--json").json
    told = canvass("plan", warm, "--regions", path, "--json").json
    assert plain["warm_posts"] == plain["warm_hops"] == 0
    assert told["posts"] == plain["posts"] == 8 and told["warm_posts"] == 2 and told["warm_hops"] == 2
    assert told["order"] == plain["order"]
    assert told["worst_cost"] == pytest.approx(plain["worst_cost"] + 2 * 4 * 100 * 0.001)
    said = canvass("plan", warm, "--regions", path).out
    assert "2 POSTs and 2 health GETs before anything else" in said and "warm-up" not in canvass(
        "plan", cold, "--regions", path).out

    usual = simulated.write_table("usual.lua", defaults=dict(warm="ask", deadline="15m"), region=dict(eu=dict(warm="health")))
    rehearsed = canvass("rehearse", warm, "--regions", usual, "--fleet", simulated.folder / "fleet-0.lua", "--runs", 1,
                        "--json")
    assert rehearsed.status == 0, rehearsed


def test_resume_warms_up_again(canvass, fleet, write):
    """The killed ones are counted too; no question is asked twice."""
    simulated = fleet(COLD, speed=100)
    path = simulated.write_table(defaults=dict(warm="ask"), limits=dict(in_flight=2))
    process = canvass.start_run(write("job.lua", job(1, warm=True)), path)
    wait_until(lambda: simulated.stats()["open"] == 2)
    process.popen.kill()
    process.popen.wait()
    before = simulated.stats()["posts"]
    result = canvass("resume", "last", "--json")
    assert result.status == 0, result
    assert result.json["posts"] == 4 and result.json["posts_per_answer"] == 1
    assert result.json["warm_posts"] == before + 4 and simulated.stats()["posts"] == before + 8
    assert {w["status"] for w in warmups(canvass)} == {"succeeded"}
    assert sum(w["attempts"] for w in warmups(canvass)) == before + 4
    assert result.json["times"]["cold"]["answers"] == 0
