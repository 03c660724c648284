"""`canvass report`: what is said of jobs whose truth the server decides."""
import collections
import contextlib
import csv
import io
import itertools
import re
import sqlite3

import pytest
from selenium import webdriver

from conftest import ROOT
from helpers import Raw, answer, job, table



@contextlib.contextmanager
def chromium():
    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options)
    try:
        yield browser
    finally:
        browser.quit()


REFUSAL = "I'm sorry, but I can't help with that."
WORDS = "writing printing steam vaccines electricity wheels paper glass steel money ships maps clocks".split()


@pytest.fixture
def asked(canvass, server, write):
    """Runs a job of `questions` on three regions; says(question, region, model, n) gives an endpoint's n-th answer."""
    def run(says, questions=3, samples=8, **keys):
        numbers = collections.defaultdict(itertools.count)

        def reply(request):
            _, region, model = request.path.split("/")
            said = says(request.prompt, region, model, next(numbers[request.path]))
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


def test_a_script_without_a_scorer_is_not_loaded(asked):
    canvass = asked(lambda prompt, region, model, n: "4", samples=1)
    with contextlib.closing(sqlite3.connect(canvass.folder / "canvass.db")) as db, db:
        assert db.execute("SELECT spec->>'$.scored' FROM jobs").fetchone() == (0,)
        db.execute("UPDATE job_files SET text = 'no Lua'")
    said = canvass("report", "last")
    assert said.status == 0, said
    with contextlib.closing(sqlite3.connect(canvass.folder / "canvass.db")) as db, db:  # as versions wrote it that did not say so
        db.execute("UPDATE jobs SET spec = json_remove(spec, '$.scored')")
    said = canvass("report", "last")
    assert said.status != 0 and "--no-score does without" in said.err and "job.lua" in said.err, said


def test_a_scorer_that_fails(asked):
    canvass = asked(lambda prompt, region, model, n: "4", samples=1, score=Raw("function(a, q) return q.nothing.x end"))
    result = canvass("report", "last")
    assert result.status != 0 and result.out == "" and "--no-score" in result.err and "job.lua:1" in result.err, result
    assert canvass("report", "last", "--no-score").status == 0
    canvass = asked(lambda prompt, region, model, n: "4", samples=1, score=Raw("function(a, q) return {} end"))
    assert "score returned a table" in canvass("report", "last").err
    canvass = asked(lambda prompt, region, model, n: "4", samples=1, score=Raw("function(a, q) while true do end end"))
    assert "of CPU time" in canvass("report", "last", "--script-call-time", "100ms").err


def page_of(canvass, *args):
    made = canvass("report", *args, "--html", "report.html")
    assert made.status == 0 and made.out.startswith("wrote report.html"), made
    return (canvass.folder / "report.html").read_text()


def test_the_page_has_everything_and_needs_nothing(asked):
    canvass = asked(one_refuses)
    page = page_of(canvass, "last")
    for words in ("The answers differ by region", "q2, small: refuses more often in asia", "What came back", "How far apart",
                  "Question by region", "How alike", "Answers side by side", "The run", "Method and limits",
                  "To do it again", "canvass report study-1 --seed 1", "region table, revision 1", "can&#39;t help"):
        assert words in page, words
    assert "study-1: job.lua" in page and "<script" not in page and "http://www" not in page
    assert not re.search(r'(?:src|href)="(?!#)', page) and "@import" not in page
    assert page == page_of(canvass, "last") and page == canvass("report", "last", "--html", "-").out


def test_hostile_answers_are_text_on_the_page(asked, tmp_path):
    evil = "\x1b[31m</div><script>document.title='gone'</script><img src=x onerror=alert(1)> \u202ecba &lt; " + "x" * 9000
    canvass = asked(lambda prompt, region, model, n: evil + str(n),
                    questions=[dict(id="<b>q</b>", prompt="<script>p</script>")], samples=2)
    page = page_of(canvass, "last")
    assert "<script" not in page and "<img" not in page and "<b>q" not in page
    assert "\x1b" not in page and "\u202e" not in page and "more bytes: canvass results has all" in page
    with chromium() as browser:
        browser.get((canvass.folder / "report.html").as_uri())
        assert "do the answers differ by region?" in browser.title
        assert not browser.find_elements("css selector", "script, img, iframe, .said *:not(ins):not(del)")
        assert "</div><script>" in browser.find_element("css selector", ".said").text
        assert not [m for m in browser.get_log("browser") if m["level"] == "SEVERE"]


def test_a_page_that_cannot_be_written_is_an_error(asked):
    canvass = asked(one_refuses, samples=1)
    failed = canvass("report", "last", "--html", "no/such/folder/r.html")
    assert failed.status == 2 and "no/such/folder" in failed.err
    assert canvass("report", "last", "--html", "r.html", "--json").status == 2


def test_two_jobs_are_compared(asked, server, write):
    canvass = asked(one_refuses)
    origin = server(lambda r: r.reply(200, answer(varied(1) if "2" not in r.prompt else REFUSAL)))
    endpoints = {f"{r}/{m}": dict(url=origin.url(f"/{r}/{m}"), slots=4) for r in ("us", "eu") for m in ("big", "small")}
    canvass.run(write("other.lua", job(4, samples=8, parameters=dict(temperature=0.9))), write("o.lua", table(endpoints)))
    said = canvass("report", "study-1", "study-2", "--json").json
    assert said["by"] == "job" and said["regions"] == ["study-1", "study-2"] and said["verdict"]["differs"] is True
    refusals = {(f["question_id"], f["model_id"]) for f in said["findings"] if f["kind"] == "refusal"}
    assert refusals == {("q2", f"{m} in {r}") for m in ("big", "small") for r in ("us", "eu")}
    notes = {n["kind"]: n["text"] for n in said["contaminants"]}
    assert notes["not_in_both"].startswith("1 of the 4 questions of study-2")
    assert "temperature" in notes["unequal_requests"] and "0.9" in notes["unequal_requests"]
    assert "The answers differ by job" in page_of(canvass, "study-1", "study-2")
    assert canvass("report", "study-1", "study-1").status == 2 and canvass("report", "study-1", "nothing-1").status == 2


def test_requests_that_were_not_the_same_are_told(canvass, server, write):
    origin = server(lambda r: r.reply(200, answer("4")))
    endpoints = {f"{r}/big": dict(url=origin.url(f"/{r}"), options=dict(send_model=f"big-{r}")) for r in ("us", "eu")}
    canvass.run(write("job.lua", job(2)), write("t.lua", table(endpoints)))
    notes = {n["kind"]: n["text"] for n in canvass("report", "last", "--json").json["contaminants"]}
    assert "model is big-us for us and big-eu for eu" in notes["unequal_requests"] or \
        "model is big-eu for eu and big-us for us" in notes["unequal_requests"]


def test_another_language_is_found(asked):
    german = "Die Proteste begannen im April und richteten sich gegen ein Gesetz, das nicht mehr gilt: {}"
    english = "The protests of that year began in April and were about a bill that was withdrawn: {}"
    canvass = asked(lambda prompt, region, model, n:
                    (german if (prompt, region, model) == ("question 1", "eu", "big") else english).format(n))
    said = canvass("report", "last", "--json").json
    assert {(f["question_id"], f["model_id"], *f["regions"]) for f in said["findings"] if f["kind"] == "language"} == {
        ("q1", "big", "eu")}
    assert {c["language"] for c in said["cells"]} == {"de", "en"}


def test_rules_of_ones_own(asked, write):
    canvass = asked(lambda prompt, region, model, n: "42 it is, so to speak" if region == "eu" else varied(n), samples=2)
    settings = (ROOT / "lua/canvass/analysis/outcome.lua").read_text()
    write("mine/canvass/analysis/outcome.lua", settings.replace("outcome.refusals = {", 'outcome.refusals = { "so to speak",'))
    assert not any(c["refused"] for c in canvass("report", "last", "--json").json["cells"])
    said = canvass("report", "last", "--json", "--rules", "mine").json
    assert {c["region"] for c in said["cells"] if c["refused"]} == {"eu"}
    assert "Not by the program's own rules: canvass/analysis/outcome.lua" in said["method"]
    assert canvass("report", "last", "--rules", "nowhere").status == 2
    write("mine/canvass/analysis/settings.lua", "return {")
    broken = canvass("report", "last", "--rules", "mine")
    assert broken.status != 0 and "canvass/analysis/settings.lua" in broken.err
