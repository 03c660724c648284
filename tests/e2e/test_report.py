"""`canvass report`: what is said of jobs whose truth the server decides."""
import csv
import io
import itertools

import pytest

from helpers import Raw, answer, job, table

REFUSAL = "I'm sorry, but I can't help with that."
WORDS = "writing printing steam vaccines electricity wheels paper glass steel money ships maps clocks".split()


@pytest.fixture
def asked(canvass, server, write):
    """Runs a job of `questions` on three regions; says(question, region, model, n) gives each answer."""
    def run(says, questions=3, samples=8, **keys):
        numbers = itertools.count()

        def reply(request):
            _, region, model = request.path.split("/")
            said = says(request.prompt, region, model, next(numbers))
            request.reply(500, "") if said is None else request.reply(200, answer(said))

        origin = server(reply)
        endpoints = {f"{r}/{m}": dict(url=origin.url(f"/{r}/{m}"), slots=4)
                     for r in ("us", "eu", "asia") for m in ("big", "small")}
        if isinstance(questions, list):
            keys["questions"], questions = questions, 0
        canvass.run(write("job.lua", job(questions, samples=samples, **keys)), write("t.lua", table(endpoints)))
        return canvass
    return run


def varied(n):
    return " ".join(WORDS[(n * 5 + k * (1 + n % 3)) % len(WORDS)] for k in range(7))


def one_refuses(prompt, region, model, n):
    return REFUSAL if (prompt, region, model) == ("question 2", "asia", "small") else varied(n)


def test_what_differs_is_named(asked):
    canvass = asked(one_refuses)
    said = canvass("report", "last", "--json").json
    assert said["verdict"]["differs"] is True and said["job_id"] == "study-1"
    assert {(f["question_id"], f["model_id"], *f["regions"]) for f in said["findings"]} == {("q2", "small", "asia")}
    refusal = next(f for f in said["findings"] if f["kind"] == "refusal")
    assert refusal["effect"] == 1 and refusal["interval"][0] > 0.1 and refusal["p"] <= refusal["p_adjusted"] < 0.01
    assert {"question_id", "model_id", "region", "planned", "succeeded", "refused", "empty", "failed"} <= set(
        said["cells"][0])
    assert said["success"]["asia"]["planned"] == said["success"]["asia"]["succeeded"] == 48
    cells = {(c["question_id"], c["model_id"], c["region"]): c for c in said["cells"]}
    assert len(cells) == 18 and cells["q2", "small", "asia"]["refused"] == 8
    assert said["seed"] == 1 and said["method"]
    text = canvass("report", "last").out
    assert text.startswith("The answers differ by region:") and "q2, small: refuses more often in asia" in " ".join(
        text.split())


def test_the_same_seed_gives_the_same_report(asked):
    canvass = asked(one_refuses)
    for form in ([], ["--json"], ["--csv"]):
        once, again = (canvass("report", "last", *form, "--seed", "7").out for _ in range(2))
        assert once and once == again


def test_without_repeats_it_cannot_tell(asked):
    said = asked(lambda prompt, region, model, n: varied(n), samples=1)("report", "last", "--json").json
    assert said["verdict"]["differs"] is None and said["verdict"]["text"].startswith("Cannot tell")
    assert said["agreement"]["within"] is None and said["findings"] == []


def test_what_is_missing_is_no_refusal(asked):
    canvass = asked(lambda prompt, region, model, n: None if region == "eu" else "4", samples=2)
    said = canvass("report", "last", "--json").json
    assert said["verdict"]["differs"] is None and {f["kind"] for f in said["findings"]} <= {"missing"}
    assert said["success"]["eu"] == {"planned": 12, "succeeded": 0, "answered": 0}
    assert all(c["failed"] == (2 if c["region"] == "eu" else 0) and c["refused"] == 0 for c in said["cells"])


def test_answers_and_ids_are_harmless(asked):
    evil = "\x1b]0;gone\x07 <script>x</script> \u202ecba"
    canvass = asked(lambda prompt, region, model, n: evil,
                    questions=[dict(id="=1+1", prompt="p"), dict(id="red", prompt="r")], samples=2)
    text = canvass("report", "last").out
    assert "\x1b" not in text and "\x07" not in text and "\u202e" not in text
    lines = list(csv.reader(io.StringIO(canvass("report", "last", "--csv").out)))
    assert lines[1][0] == "'=1+1" and len(lines) == 13 and all(len(line) == len(lines[0]) for line in lines)


def test_a_pattern_that_is_none_spoils_nothing_else(asked):
    questions = [dict(id="q1", prompt="question 1", expected=dict(pattern="%")), dict(id="q2", prompt="question 2")]
    canvass = asked(one_refuses, questions=questions)
    said = canvass("report", "last", "--json").json
    assert {f["question_id"] for f in said["findings"]} == {"q2"}
    assert any("q1" in n["reason"] and "no Lua pattern" in n["reason"] for n in said["not_computed"])
    assert "no Lua pattern" in " ".join(canvass("report", "last").out.split())


def test_usage(asked, canvass):
    asked(one_refuses, samples=1)
    assert canvass("report", "last", "--json", "--csv").status == 2
    assert canvass("report", "nothing-9").status == 2
    assert canvass("report", "last", "--seed", "x").status == 2
    assert canvass("report").status == 2


def test_the_jobs_own_scorer(asked, write):
    scorer = Raw("function(answer, question) if question.skip then return nil end "
                 "return question.weight * tonumber(answer:match('%d+')) end")
    questions = [dict(id="q1", prompt="question 1", weight=2), dict(id="q2", prompt="question 2", skip=True)]
    canvass = asked(lambda prompt, region, model, n: f"{n % 3 + 6 * (region == 'eu' and model == 'big')} points",
                    questions=questions, score=scorer)
    said = canvass("report", "last", "--json").json
    found = [f for f in said["findings"] if f["kind"] == "score"]
    assert [(f["question_id"], f["model_id"], f["regions"]) for f in found] == [("q1", "big", ["eu"])]
    assert 10 <= found[0]["effect"] <= 14 and found[0]["interval"][0] > 8
    cells = {(c["question_id"], c["model_id"], c["region"]): c for c in said["cells"]}
    assert cells["q1", "big", "eu"]["mean_score"] >= 12 and "mean_score" not in cells["q2", "big", "eu"]
    without = canvass("report", "last", "--json", "--no-score").json
    assert not [f for f in without["findings"] if f["kind"] == "score"]


def test_a_scorer_that_fails(asked):
    canvass = asked(lambda prompt, region, model, n: "4", samples=1, score=Raw("function(a, q) return q.nothing.x end"))
    result = canvass("report", "last")
    assert result.status != 0 and result.out == "" and "--no-score" in result.err and "job.lua:1" in result.err, result
    assert canvass("report", "last", "--no-score").status == 0
    canvass = asked(lambda prompt, region, model, n: "4", samples=1, score=Raw("function(a, q) return {} end"))
    assert "score returned a table" in canvass("report", "last").err
    canvass = asked(lambda prompt, region, model, n: "4", samples=1, score=Raw("function(a, q) while true do end end"))
    assert "of CPU time" in canvass("report", "last", "--script-call-time", "100ms").err
