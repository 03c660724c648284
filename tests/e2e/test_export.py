"""`canvass export`, and questions imported from what other tools write: field by field."""
import contextlib
import csv
import io
import json
import os
import pty
import shutil
import sqlite3
import subprocess

import pytest

from conftest import BINARY, clean_environment
from helpers import Raw, answer, job, table

EVIL = 'a "quoted", <script>x</script>\r\nline two \x1b[31m \u202ecba'
QUESTIONS = [dict(id="sum", prompt="What is 2+2?", expected="4", category="control"), dict(id="two", prompt="Say\n\"it\", please"),
             dict(id="one_of", prompt="Which colour?", expected=["red", "blue"])]
SAID = {"What is 2+2?": "It is 4.", "Which colour?": "=red"}


@pytest.fixture
def asked(canvass, server, write):
    """A job of three questions, two regions and two repeats; us/b always fails."""
    def reply(request):
        if request.path == "/us/b":
            request.reply(500, "no")
        else:
            request.reply(200, answer(SAID.get(request.prompt, EVIL)))
    origin = server(reply)
    endpoints = {f"{r}/{m}": origin.url(f"/{r}/{m}") for r in ("us", "eu") for m in ("a", "b")}
    score = Raw("function(answer, question) return #answer end")
    canvass.run(write("job.lua", job(questions=QUESTIONS, samples=2, score=score, parameters=dict(max_tokens=100))),
                write("t.lua", table(endpoints, retry=dict(attempts=1))))
    return canvass


def test_csv_holds_what_was_said(asked):
    rows = list(csv.DictReader(io.StringIO(asked("export", "last").out, newline="")))
    assert len(rows) == 24 and rows[0]["execution_id"] == "study-1.1"
    by = {(r["question_id"], r["region"], r["model_id"], r["sample"]): r for r in rows}
    one = by["two", "eu", "a", "1"]
    assert one["answer"] == EVIL and one["prompt"] == 'Say\n"it", please' and one["outcome"] == "answer"
    assert one["status"] == "succeeded" and float(one["score"]) == len(EVIL.encode()) and float(one["seconds"]) > 0
    assert by["one_of", "us", "a", "2"]["answer"] == "'=red", "a formula for a spreadsheet"
    assert by["sum", "us", "a", "1"]["correct"] == by["one_of", "us", "a", "1"]["correct"] == "1"
    failed = by["sum", "us", "b", "1"]
    assert (failed["outcome"], failed["correct"], failed["answer"], failed["score"]) == ("failed", "", "", "")


@pytest.mark.parametrize("words", ["export last", "results last --format csv", "results last --format jsonl", "show last --json",
                                   "query --format csv", "report last --csv", "report last --html -"])
def test_a_terminal_is_not_steered(asked, words):
    """What a program gets as it was said is made harmless where a person looks at it."""
    sql = ["SELECT answer FROM executions"] if words.startswith("query") else []
    asked(*words.split(), *sql)
    master, slave = pty.openpty()
    process = subprocess.Popen([BINARY, *words.split(), *sql], cwd=asked.folder, stdout=slave, env=clean_environment())
    os.close(slave)
    said = b""
    with contextlib.suppress(OSError): # its end
        while chunk := os.read(master, 65536):
            said += chunk
    assert process.wait(60) == 0 and len(said) > 100
    said = said.decode()
    assert "\x1b" not in said and "\u202e" not in said
    if "csv" in words and "report" not in words:
        assert "line two \ufffd[31m \ufffdcba" in said


def test_r_reads_the_csv(asked):
    if not shutil.which("Rscript"):
        pytest.skip("R is not installed")
    asked("export", "last", "--output", "a.csv")
    said = subprocess.run(["Rscript", "-e", 'd <- read.csv("a.csv"); cat(nrow(d), ncol(d), sum(d$outcome == "answer"), '
                           'nchar(d$answer[d$question_id == "two" & d$region == "eu"][1]))'], cwd=asked.folder,
                          capture_output=True, text=True, env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"})
    assert said.stdout.split() == ["24", "28", "18", str(len(EVIL.replace("\r\n", "\n")))] or \
        said.stdout.split() == ["24", "28", "18", str(len(EVIL))], said


def test_inspect_logs(asked):
    assert asked("export", "last", "--to", "inspect", "--output", "logs").status == 0
    logs = [json.loads(f.read_text()) for f in sorted((asked.folder / "logs").iterdir())]
    assert {log["eval"]["model"] for log in logs} == {"us/a", "us/b", "eu/a", "eu/b"}
    for log in logs:
        assert log["version"] == 2 and log["status"] == "success"
        spec = log["eval"]
        assert isinstance(spec["eval_id"], str) and spec["run_id"] == "study-1" and spec["task"] == "study"
        assert spec["created"].endswith("+00:00") and spec["dataset"]["samples"] == 3 and spec["config"]["epochs"] == 2
        assert log["plan"] == {"name": "plan", "steps": [], "config": {}}
        fails = spec["model"] == "us/b"
        assert log["results"] == {"total_samples": 6, "completed_samples": 0 if fails else 6, "scores": []}
        assert set(log["stats"]) == {"started_at", "completed_at", "model_usage"}
        assert [(s["id"], s["epoch"]) for s in log["samples"]] == [(q["id"], n) for q in QUESTIONS for n in (1, 2)] or \
            {(s["id"], s["epoch"]) for s in log["samples"]} == {(q["id"], n) for q in QUESTIONS for n in (1, 2)}
        for s in log["samples"]:
            assert isinstance(s["input"], str) and isinstance(s["target"], (str, list))
            assert s["messages"][0] == {"role": "user", "content": s["input"], "source": "input"}
            if fails:
                assert s["output"]["choices"] == [] and set(s["error"]) == {"message", "traceback", "traceback_ansi"}
                assert s["scores"] == {"outcome": {"value": "failed"}}
            else:
                choice = s["output"]["choices"][0]
                assert choice["stop_reason"] == "stop" and choice["message"]["role"] == "assistant"
                assert s["messages"][1]["content"] == choice["message"]["content"] == SAID.get(s["input"], EVIL)
                assert "error" not in s and s["scores"]["score"]["value"] > 0
        right = {s["scores"].get("expected", {}).get("value") for s in log["samples"] if s["id"] == "sum"}
        assert right == ({None} if fails else {"C"})


def test_lm_eval_samples(asked):
    assert asked("export", "last", "--to", "lm-eval", "--output", "out").status == 0
    folders = {f.name: f for f in (asked.folder / "out").iterdir()}
    assert set(folders) == {"us__a", "us__b", "eu__a", "eu__b"}
    files = {f.name.split("_")[0]: f for f in folders["eu__a"].iterdir()}
    assert set(files) == {"samples", "results"} and files["samples"].name.startswith("samples_study_2")
    lines = [json.loads(line) for line in files["samples"].read_text().splitlines()]
    assert [line["doc_id"] for line in lines] == [0, 1, 2]
    first = lines[0]
    assert first["target"] == "4" and first["doc"] == {"id": "sum", "prompt": "What is 2+2?", "expected": "4",
                                                       "metadata": {"category": "control"}}
    assert first["arguments"] == {"gen_args_0": {"arg_0": "What is 2+2?", "arg_1": {"max_tokens": 100}}}
    assert first["resps"] == [["It is 4.", "It is 4."]] and first["filtered_resps"] == ["It is 4.", "It is 4."]
    assert first["filter"] == "none" and first["metrics"] == ["refusal", "exact_match"] and first["exact_match"] == 1
    results = json.loads(files["results"].read_text())
    assert results["results"]["study"]["exact_match,none"] == 1 and results["n-samples"]["study"]["effective"] == 3


def test_promptfoo_results(asked):
    made = json.loads(asked("export", "last", "--to", "promptfoo").out)
    assert set(made) == {"evalId", "results", "config", "shareableUrl", "metadata"} and made["shareableUrl"] is None
    results = made["results"]
    assert results["version"] == 3 and results["stats"]["successes"] == 18 and results["stats"]["errors"] == 6
    assert [p["provider"] for p in results["prompts"]] == ["eu/a", "us/a", "eu/b", "us/b"] or \
        {p["provider"] for p in results["prompts"]} == {"eu/a", "us/a", "eu/b", "us/b"}
    assert sum(p["metrics"]["testPassCount"] for p in results["prompts"]) == 18
    for one in results["results"]:
        assert results["prompts"][one["promptIdx"]]["provider"] == one["provider"]["id"]
        assert QUESTIONS[one["testIdx"]]["id"] == one["testCase"]["description"] and one["vars"]["prompt"] == one["prompt"]["raw"]
        assert one["success"] == (one["provider"]["id"] != "us/b") and isinstance(one["latencyMs"], int)
        assert one["success"] or (one["failureReason"] == 2 and one["error"])
    assert results["results"][0]["testCase"]["assert"] == [{"type": "icontains", "value": "4"}]


@pytest.mark.parametrize("form, file, load", [
    ("inspect", "logs", "import.inspect(canvass.json '{}')"),
    ("lm-eval", "out", "import.lm_eval(canvass.jsonl '{}')"),
    ("promptfoo", "p.json", "import.promptfoo(canvass.json '{}')"),
])
def test_what_was_exported_is_imported(asked, write, form, file, load):
    assert asked("export", "last", "--to", form, "--output", file).status == 0
    if form != "promptfoo":
        file = next((asked.folder / file).rglob("samples_*.jsonl" if form == "lm-eval" else "*.json")).relative_to(asked.folder)
    write("again.lua", f"local import = require 'canvass.import'\nreturn {{ questions = {load.format(file)} }}")
    asked.run("again.lua", "t.lua")
    with contextlib.closing(sqlite3.connect(asked.folder / "canvass.db")) as db:
        first, again = (db.execute("SELECT id, prompt, expected FROM questions WHERE job_id = ? ORDER BY position",
                                   [job_id]).fetchall() for job_id in ("study-1", "again-1"))
    assert len(first) == 3 and first == again


@pytest.mark.parametrize("call, text, words", [
    ("inspect", {"samples": [{"id": 1, "input": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]}]},
     "conversation of 2 messages"),
    ("inspect", {"status": "success"}, "no samples"),
    ("promptfoo", {"prompts": ["{{a}}"], "tests": [{"vars": {}}]}, "{{a}} is no text"),
    ("promptfoo", {"x": 1}, "neither results nor prompts"),
    ("promptfoo", {"prompts": ["a", "b"], "tests": [{"description": "t", "vars": {}}], "questions": None}, None),
])
def test_what_cannot_be_imported_says_why(canvass, server, write, call, text, words):
    write("f.json", json.dumps(text))
    write("t.lua", table({"us/a": server(lambda r: r.reply(200, answer("4"))).url()}))
    write("j.lua", f"return {{ questions = require('canvass.import').{call}(canvass.json 'f.json') }}")
    planned = canvass("plan", "j.lua", "--regions", "t.lua")
    assert (planned.status == 0) if words is None else (planned.status == 2 and words in planned.err), planned


def test_nothing_is_overwritten(asked):
    (asked.folder / "a.csv").write_text("mine")
    refused = asked("export", "last", "--output", "a.csv")
    assert refused.status == 2 and "there already" in refused.err and (asked.folder / "a.csv").read_text() == "mine"
    assert asked("export", "last", "--to", "inspect").status == 2
    assert asked("export", "last", "--to", "excel").status == 2
    assert asked("export", "last", "--output", "no/folder/a.csv").status == 2
    assert asked("export", "nothing-1").status == 2
