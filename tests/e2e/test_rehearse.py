"""Rehearsals: the same each time, true to what a served fleet does, and nobody is asked."""
import concurrent.futures
import re

import pytest

from conftest import ROOT
from helpers import job, lua, table

BIAS = ROOT / "examples" / "bias-detection"
POLICIES = ["sequential", "by_region", "by_endpoint", "free"]
NOWHERE = {f"{region}/{model}": f"http://127.0.0.1:1/{region}/{model}" for region, models in
           (("us", "ab"), ("eu", "abc")) for model in models}
QUICK = dict(cold=[10, 20], service=[30, 50])


def fleet_file(defaults=None, **keys):
    regions = {}
    for name in NOWHERE:
        region, model = name.split("/")
        regions.setdefault(region, {})[model] = {}
    return dict(defaults=dict(QUICK, **(defaults or {})), regions=regions, **keys)


@pytest.fixture
def rehearse(canvass, write):
    def run(*args, script=None, regions=None, fleet=None, **keys):
        result = canvass("rehearse", write("job.lua", script or job(4, **keys)), "--regions",
                         write("t.lua", regions or table(NOWHERE)), "--fleet", write("f.lua", fleet or fleet_file()), *args)
        assert not (canvass.folder / "canvass.db").exists()
        return result
    return run


def told(result):
    assert result.status == 0, result
    return result.json


def one(result):
    policies = told(result)["policies"]
    assert len(policies) == 1
    return policies[0]


def chosen(*names):
    return [word for name in names for word in ("--policy", name)]


# ---- rehearsal and reality ----

def test_rehearsal_and_reality_agree(canvass, fleet):
    """The same fleet, rehearsed in milliseconds and served over HTTP at sixty times its speed."""
    told_of = canvass("rehearse", BIAS / "job.lua", "--regions", BIAS / "regions.lua", "--fleet", BIAS / "fleet.lua",
                      "--runs", 1, "--json", *chosen(*POLICIES)).json["policies"]
    served = [fleet(BIAS / "fleet.lua", 60) for _ in POLICIES]

    def really(policy, simulated):
        result = canvass.run(BIAS / "job.lua", simulated.table, "--policy", policy, "--db", f"{policy}.db")
        assert result.status == 0, result
        return result.json

    with concurrent.futures.ThreadPoolExecutor(len(POLICIES)) as pool:
        happened = list(pool.map(really, POLICIES, served))
    for forecast, summary in zip(told_of, happened):
        took_s = (summary["ended_at"] - summary["started_at"]) * 60
        assert took_s == pytest.approx(forecast["makespan_s"]["median"], rel=0.05), forecast["policy"]
        assert (summary["posts"], summary["hops"]) == (forecast["posts"], forecast["hops"])
        assert summary["max_in_flight"] == forecast["peak_in_flight"]


def test_what_the_table_of_a_served_fleet_says_is_the_same(canvass, fleet):
    """A table in which every time is divided by the speed is rehearsed in that time, and told in the fleet's."""
    simulated = fleet(BIAS / "fleet.lua", 600)
    forecasts = [one(canvass("rehearse", BIAS / "job.lua", "--regions", regions, "--fleet", BIAS / "fleet.lua", "--json"))
                 for regions in (BIAS / "regions.lua", simulated.table)]
    for key in ("median", "low", "high"):
        assert forecasts[0]["makespan_s"][key] == pytest.approx(forecasts[1]["makespan_s"][key], rel=1e-3)
    assert forecasts[0]["posts"] == forecasts[1]["posts"] == simulated.stats()["posts"] + 64


def test_the_distance_to_the_lower_bound(canvass):
    result = canvass("rehearse", BIAS / "job.lua", "--regions", BIAS / "regions.lua", "--fleet", BIAS / "fleet.lua",
                     "--json", *chosen(*POLICIES))
    by_name = {p["policy"]: p for p in told(result)["policies"]}
    assert list(by_name) == POLICIES
    for p in by_name.values():
        assert p["ratio"] >= 1 and p["makespan_s"]["low"] <= p["makespan_s"]["median"] <= p["makespan_s"]["high"]
        assert p["states"] == {"succeeded": 100} and p["unanswered"] == 0 and p["cold_starts"] == 8 and p["cost"] > 0
    assert by_name["by_endpoint"]["ratio"] <= 1.01
    assert by_name["sequential"]["ratio"] > by_name["by_region"]["ratio"] > by_name["by_endpoint"]["ratio"]


# ---- what it tells ----

def test_the_same_seed_tells_the_same(rehearse):
    fleet = fleet_file(faults=[dict(what="503", share=0.2), dict(what="slow", share=0.1)])
    told_of = [told(rehearse("--json", *args, *chosen("free", "sequential"), fleet=fleet))
               for args in ([], [], ["--seed", "77"])]
    for one_of in told_of:
        assert one_of.pop("took_s") >= 0
    assert told_of[0] == told_of[1]
    assert told_of[0]["seed"] == 1 and told_of[2]["seed"] == 77
    assert told_of[0]["policies"] != told_of[2]["policies"]


def test_the_job_s_own_policy(rehearse):
    assert one(rehearse("--json", policy="by_region"))["policy"] == "by_region"
    assert one(rehearse("--json", "--policy", "free", policy="by_region"))["policy"] == "free"


def test_how_many_runs(rehearse):
    assert one(rehearse("--json"))["runs"] == 100
    assert one(rehearse("--json", "--samples", "500"))["runs"] == 10  # of 10,000 executions each
    few = one(rehearse("--json", "--runs", "3"))
    assert few["runs"] == 3 and few["states"] == {"succeeded": 3}


@pytest.mark.parametrize("seed", [0, 2**53 + 1, 2**63 - 1 - 100000])
def test_a_seed_is_told_as_it_is(rehearse, seed):
    assert told(rehearse("--json", "--runs", 1, "--seed", seed))["seed"] == seed


def test_a_timeout_is_a_result(rehearse):
    p = one(rehearse("--json", "--timeout", "100s", policy="sequential"))
    assert p["states"] == {"timed_out": 100} and p["makespan_s"]["median"] == 100
    assert p["ratio"] is None and p["unanswered"] > 0 and p["lower_bound_s"] > 100


def test_failures_are_results(rehearse):
    fleet = fleet_file(faults=[dict(what="401", region="eu")])
    p = one(rehearse("--json", fleet=fleet))
    assert p["states"] == {"partial": 100} and p["failures"] == {"http_client": 12} and p["unanswered"] == 12
    words = rehearse(fleet=fleet).out
    assert "partial" in words and "12 http_client" in words


def test_an_endpoint_that_goes_cold(rehearse):
    script = """return { name = "naps", questions = %s, policy = function(plan)
        for _, batch in plan:batches "question" do plan:run(batch) canvass.sleep(700) end end }""" % lua(
            [dict(id=f"q{n}", prompt="p") for n in range(3)])
    p = one(rehearse("--json", script=script))
    assert p["cold_starts"] == 15 and {gap["endpoint"] for gap in p["idle"]} == set(NOWHERE)
    assert all(gap["idle_s"] >= 700 and gap["runs"] == 100 for gap in p["idle"])
    assert "longer than its scaledown of 10m 00s" in rehearse(script=script).out


def test_a_paused_endpoint_is_waited_for(rehearse):
    regions = table({name: dict(url=url, paused="out of quota" if name == "us/a" else None) for name, url in NOWHERE.items()})
    p = one(rehearse("--json", regions=regions))
    assert p["never_ended"] == 100 and p["makespan_s"]["median"] is None and p["ratio"] is None
    assert one(rehearse("--json", "--timeout", "10m", regions=regions))["states"] == {"timed_out": 100}
    assert "never ends" in rehearse(regions=regions).out


def test_result_urls_and_retries(rehearse):
    fleet = fleet_file(dict(cold=[400, 400], retry_after="20s"), faults=[dict(what="429", to="10s")])
    p = one(rehearse("--json", fleet=fleet))
    assert p["posts"] == 25 and p["hops"] == 10 and p["cold_starts"] == 5
    assert p["makespan_s"]["low"] >= 420


def test_the_picture(rehearse):
    """A row for each endpoint, no wider than 80 columns, no escape sequences in a pipe."""
    result = rehearse(*chosen("sequential", "free"))
    assert result.status == 0 and "\033" not in result.out
    for name in NOWHERE:
        rows = [line for line in result.out.splitlines() if line.startswith(f"  {name} ")]
        assert len(rows) == 2 and all(len(row) <= 80 and "█" in row and "▒" in row for row in rows)
    assert re.search(r"^100 runs of each policy, seeds 1 to 100, in [\d.]+ (ms|s)$", result.out, re.M)


# ---- what is wrong ----

def test_no_fleet(canvass, write):
    result = canvass("rehearse", write("job.lua", job()), "--regions", write("t.lua", table(NOWHERE)))
    assert result.status == 2 and "--fleet" in result.err and "regions" in result.err


def test_an_endpoint_that_the_fleet_lacks(rehearse):
    result = rehearse(fleet=dict(regions=dict(us=dict(a={}, b={}), eu=dict(a={}, b={}))))
    assert result.status == 2 and "eu/c" in result.err and "f.lua" in result.err
    assert rehearse(fleet=dict(regions=dict(us=dict(a={}))), models=["a"], regions=table({"us/a": NOWHERE["us/a"]})).status == 0


@pytest.mark.parametrize("args, word", [(chosen("sequentail"), "sequentail"), (["--runs", "0"], "--runs"),
                                        (["--seed", "x"], "--seed"), (["--runs", "1000000"], "--runs")])
def test_bad_options(rehearse, args, word):
    result = rehearse(*args)
    assert result.status == 2 and word in result.err


def test_a_policy_that_fails(rehearse):
    script = "return { name = 'f', questions = %s, policy = function() error 'nothing for it' end }" % lua(
        [dict(id="q", prompt="p")])
    result = rehearse(script=script)
    assert result.status == 2 and "nothing for it" in result.err and result.out == ""


def test_a_fleet_that_speaks_otherwise(rehearse):
    result = rehearse("--log", "json", "--json", regions=table(NOWHERE, adapter="openai"))
    warned = [line for line in result.log if "same schema" in line["message"]]
    assert result.status == 0 and len(warned) == 1 and warned[0]["adapter"] == "openai"
    assert result.json["policies"][0]["unanswered"] == 20


def test_a_model_known_by_another_name_there(rehearse):
    """The name a provider knows a model by is understood by the fleet too."""
    regions = table({name: dict(url=url, adapter="openai", options=dict(send_model="meta/" + name[-1]))
                     for name, url in NOWHERE.items()})
    assert one(rehearse("--json", regions=regions, fleet=fleet_file(dict(schema="openai"))))["unanswered"] == 0
