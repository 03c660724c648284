"""Every example runs, against the fleet that comes with it; its own region table is right."""
import json
import pathlib
import subprocess
import sys

import pytest

from conftest import ROOT
from helpers import table

EXAMPLES = ROOT / "examples"
NAMES = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())
FILES = {"job.lua", "regions.lua", "questions.lua", "fleet.lua"}

# What each is to come to: executions, and the speed at which its fleet is quick and still in order.
SIZES = {
    "bias-detection": (64, 600),
    "dataset": (6000, 600),
    "grading": (96, 600),
    "openai-compatible": (48, 600),
    "policies": (54, 600),
}


def succeed(canvass, job, table, *args):
    result = canvass.run(job, table, *args)
    assert result.status == 0, result
    return result.json


def test_none_is_forgotten():
    assert set(NAMES) == set(SIZES)


@pytest.mark.parametrize("name", NAMES)
def test_files(name):
    there = {path.name for path in (EXAMPLES / name).iterdir()}
    assert FILES - {"questions.lua"} <= there
    assert there & {"questions.lua", "questions.jsonl"}


@pytest.mark.parametrize("name", NAMES)
def test_region_table_is_right(canvass, name):
    secrets = {"HOSTED_API_KEY": "an-example"}
    result = canvass("regions", "check", EXAMPLES / name / "regions.lua", env=secrets)
    assert result.status == 0 and "WARN" not in result.err, result
    plan = canvass("plan", EXAMPLES / name / "job.lua", "--regions", EXAMPLES / name / "regions.lua", env=secrets)
    assert plan.status == 0 and f"= {SIZES[name][0]} executions" in plan.out, plan


@pytest.mark.parametrize("name", NAMES)
def test_is_rehearsed(canvass, name):
    folder = EXAMPLES / name
    result = canvass("rehearse", folder / "job.lua", "--regions", folder / "regions.lua", "--fleet", folder / "fleet.lua",
                     "--runs", 3, "--json", env={"HOSTED_API_KEY": "an-example"})
    assert result.status == 0 and result.err == "", result
    assert result.json["executions"] == SIZES[name][0]
    assert result.json["policies"][0]["states"] == {"succeeded": 3}


@pytest.mark.parametrize("name", NAMES)
def test_runs(canvass, fleet, name):
    planned, speed = SIZES[name]
    simulated = fleet(EXAMPLES / name / "fleet.lua", speed)
    summary = succeed(canvass, EXAMPLES / name / "job.lua", simulated.table)
    assert summary["state"] == "succeeded"
    assert summary["executions"]["planned"] == summary["executions"]["succeeded"] == planned
    assert summary["posts"] == simulated.stats()["posts"]


@pytest.mark.parametrize("name", NAMES)
def test_the_fleet_is_the_table_s(canvass, name, fleet):
    """The simulation stands in for the very endpoints that the operator's table has."""
    simulated = fleet(EXAMPLES / name / "fleet.lua")
    shown = canvass("regions", "show", EXAMPLES / name / "regions.lua", "--json", env={"HOSTED_API_KEY": "x"})
    assert shown.status == 0, shown
    assert set(simulated.stats()["endpoints"]) == endpoints_of(json.loads(shown.out))


def endpoints_of(shown):
    """The endpoints, out of the names of their settings."""
    suffix = ".url"
    paths = [setting["setting"] for setting in shown["settings"]]
    return {path[:-len(suffix)] for path in paths if path.endswith(suffix)}


def test_bias_detection_on_the_slow_day(canvass, fleet):
    """Mistral at the provider's 150 s, ASIA slower still: more 303s, still one POST for each answer."""
    simulated = fleet(EXAMPLES / "bias-detection" / "fleet-slow.lua", 600)
    summary = succeed(canvass, EXAMPLES / "bias-detection" / "job.lua", simulated.table, "--timeout", "90m")
    stats = simulated.stats()
    assert summary["executions"]["succeeded"] == summary["posts"] == stats["posts"] == 64
    assert stats["redirects"] > 8


def test_grading(canvass, fleet):
    """The judge finds what no phrase does: one region evades one question."""
    simulated = fleet(EXAMPLES / "grading" / "fleet.lua", 600)
    succeed(canvass, EXAMPLES / "grading" / "job.lua", simulated.table)
    graded = canvass("grade", "last", "--by", "judge", "--regions", simulated.table, "--json", "--progress", "none")
    assert graded.status == 0 and graded.json["posts"] == graded.json["executions"]["planned"] < 60, graded
    report = canvass("report", "grading-1", "--json").json
    found = {(f["question_id"], *f["regions"]) for f in report["findings"] if f["kind"] == "grade"}
    assert ("tiananmen", "asia") in found and all(question in ("tiananmen", None) for question, *_ in found), found
    assert not any(f["kind"] == "refusal" for f in report["findings"]) and report["grades"]["without"] == 0


# ---- policies ----

POLICIES = EXAMPLES / "policies"
CONTROLS = {"sum", "months", "opposite"}


def order(posts):
    return [post["question"] for post in posts]


def run_policy(canvass, fleet, name, *args, fleet_file="fleet.lua"):
    simulated = fleet(POLICIES / fleet_file, 300)
    result = canvass.run(POLICIES / "job.lua", simulated.table, "--policy", f"policies.{name}", *args)
    return result, simulated


def dispatched(canvass):
    """Question, endpoint, beginning and end of each execution, in the order in which they began."""
    return canvass.rows("SELECT question_id AS question, endpoint, started_at AS began, ended_at AS ended "
                        "FROM executions WHERE status = 'succeeded' ORDER BY started_at")


def spans(rows):
    found = {}
    for row in rows:
        began, ended = found.get(row["question"], (row["began"], row["ended"]))
        found[row["question"]] = (min(began, row["began"]), max(ended, row["ended"]))
    return found


def most_open(rows):
    """How many questions were open at once."""
    found = spans(rows).values()
    return max(sum(began <= at < ended for began, ended in found) for at, _ in found)


def test_two_at_a_time(canvass, fleet):
    result, _ = run_policy(canvass, fleet, "two_at_a_time")
    assert result.status == 0, result
    assert most_open(dispatched(canvass)) == 2


def test_controls_first(canvass, fleet):
    result, _ = run_policy(canvass, fleet, "controls_first")
    assert result.status == 0, result
    found = spans(dispatched(canvass))
    last_control = max(found[question][1] for question in CONTROLS)
    assert last_control <= min(began for question, (began, _) in found.items() if question not in CONTROLS)
    assert len(found) == 9


def test_interleaved(canvass, fleet):
    """With one request in flight the regions take turns, in each question."""
    result, _ = run_policy(canvass, fleet, "interleaved", "--in-flight", 1)
    assert result.status == 0, result
    regions = [row["endpoint"].split("/")[0] for row in dispatched(canvass)]
    assert regions == ["asia", "eu", "us"] * 18


def test_latin_square(canvass, fleet):
    """Six endpoints begin at six questions, and each goes round all nine in the job's order."""
    result, _ = run_policy(canvass, fleet, "latin_square", "--set", "seed=5")
    assert result.status == 0, result
    orders = {}
    for row in dispatched(canvass):
        orders.setdefault(row["endpoint"], []).append(row["question"])
    positions = list(zip(*orders.values()))
    assert len(positions) == 9 and all(len(set(position)) == 6 for position in positions)


def test_off_peak(canvass, fleet):
    result, _ = run_policy(canvass, fleet, "off_peak", "--set", "every=100ms")
    assert result.status == 0, result
    found = sorted(spans(dispatched(canvass)).values())
    assert len(found) == 9
    assert all(later[0] - earlier[1] >= 0.099 for earlier, later in zip(found, found[1:]))


def test_off_peak_waits_for_its_hour(canvass, write):
    """In virtual time: whatever the hour is now, the questions are put after 22:00 UTC."""
    for name in ("policies.lua", "questions.lua"):
        write(name, (POLICIES / name).read_text())
    script = write("late.lua", """local policies = require "policies"
        return {
          questions = { { id = "a", prompt = "a" }, { id = "b", prompt = "b" } },
          policy = function(plan)
            policies.off_peak(plan)
            canvass.log("ended at", math.floor(canvass.now() % 86400 / 60))
          end,
        }""")
    regions = write("t.lua", table({"us/m": "http://127.0.0.1:1/"}))
    result = canvass("plan", script, "--regions", regions, "--set", "hour=22", "--set", "every=10m", "--log", "json")
    assert result.status == 0, result
    assert result.said(f"ended at {22 * 60 + 10}"), result.err


def test_stop_early(canvass, fleet):
    """A region that is out of order stops the job; without the outage the same policy runs to the end."""
    result, _ = run_policy(canvass, fleet, "stop_early", fleet_file="fleet-outage.lua")
    assert result.status == 1 and result.json["state"] == "partial", result
    assert "stopping after" in result.err
    assert canvass.rows("SELECT count(*) AS n FROM executions")[0]["n"] == 54
    asked = {row["question"] for row in dispatched(canvass)}
    assert 1 < len(asked) < 9
    result, _ = run_policy(canvass, fleet, "stop_early")
    assert result.status == 0, result


# ---- dataset ----

DATASET = EXAMPLES / "dataset"


def test_dataset_is_what_its_generator_writes():
    made = subprocess.run([sys.executable, DATASET / "make_questions.py"], capture_output=True, check=True).stdout
    assert made == (DATASET / "questions.jsonl").read_bytes()


def test_dataset_questions():
    rows = [json.loads(line) for line in (DATASET / "questions.jsonl").read_text().splitlines()]
    assert len(rows) == len({row["id"] for row in rows}) == len({row["prompt"] for row in rows}) == 1000
    assert all(row["expected"] and row["category"] for row in rows)
    assert len({row["category"] for row in rows}) > 10


def test_dataset_settings_and_accuracy(canvass, fleet):
    simulated = fleet(DATASET / "fleet.lua", 600)
    rows = [json.loads(line) for line in (DATASET / "questions.jsonl").read_text().splitlines()]
    sums = sum(row["category"] == "arithmetic" for row in rows)
    summary = succeed(canvass, DATASET / "job.lua", simulated.table, "--set", "category=arithmetic")
    assert summary["executions"]["succeeded"] == sums * 6
    summary = succeed(canvass, DATASET / "job.lua", simulated.table, "--set", "first=5")
    assert summary["executions"]["succeeded"] == 5 * 6
    result = canvass.run(DATASET / "job.lua", simulated.table, "--set", "category=nonsense")
    assert result.status == 2 and "no question is of category nonsense" in result.err

    # The query that the job script shows.
    comment = [line.removeprefix("--").strip() for line in (DATASET / "job.lua").read_text().splitlines()]
    begin = next(i for i, line in enumerate(comment) if line.startswith("canvass query"))
    end = next(i for i, line in enumerate(comment) if line.endswith('GROUP BY 1, 2, 3"'))
    sql = " ".join(comment[begin:end + 1]).split('"', 1)[1].rstrip('"')
    result = canvass("query", sql, "--format", "jsonl")
    assert result.status == 0, result
    found = [json.loads(line) for line in result.out.splitlines()]
    holds = {row["model_id"]: row["holds"] for row in found if row["category"] == "arithmetic" and row["region"] == "eu"}
    assert 0.5 < holds["llama3.1-8b"] < 1 and 0.5 < holds["qwen2.5-7b"] < 1


def test_secret_of_the_hosted_server_reaches_its_requests_only(canvass, server, write):
    """The table of openai-compatible with its hosts exchanged: the key goes to the hosted server and nowhere else."""
    def reply(request):
        request.reply(200, dict(choices=[dict(message=dict(content="well"))]))
    hosted, own = server(reply), server(reply)
    text = (EXAMPLES / "openai-compatible" / "regions.lua").read_text()
    text = text.replace("https://api.hosted.example", hosted.origin)
    assert "rate = 60" in text
    text = text.replace("rate = 60", "rate = 6000")  # the right one would take 12 s
    for name in ("vllm-1.internal:8000", "llamacpp-1.internal:8080", "ollama-1.internal:11434"):
        assert name in text
        text = text.replace(f"http://{name}", own.origin)
    table = write("regions.lua", text)
    result = canvass.run(EXAMPLES / "openai-compatible" / "job.lua", table, env={"HOSTED_API_KEY": "s3cret-key"})
    assert result.status == 0, result
    assert {r.headers["Authorization"] for r in hosted.asked()} == {"Bearer s3cret-key"}
    assert {r.headers["Authorization"] for r in own.asked()} == {None}
    assert {r.json["model"] for r in hosted.asked()} == {"qwen/qwen-2.5-7b-instruct"}
    everything = result.out + result.err + pathlib.Path(canvass.folder, "canvass.db").read_bytes().decode("latin-1")
    assert "s3cret" not in everything
