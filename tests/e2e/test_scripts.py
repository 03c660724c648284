"""The researcher's file: what is wrong with it and where; hostile scripts; data files; JSON specifications."""
import itertools
import json
import subprocess
import time

import pytest

from conftest import clean_environment, plain_binary, wait_until
from helpers import answer, job, replies, table

Q = "questions = { { id = 'q', prompt = 'p' } }"

# the script, where the error must point, words of the cure or of what is wrong
BAD = [
    ("", "job.lua", "return"),
    ("return {", "job.lua:1", "expected"),
    ("return 5", "job.lua", "table"),
    ("local x\nreturn { name = x.y }", "job.lua:2", "nil"),
    ("return {}", "questions", "questions"),
    ("return { questions = {} }", "questions", "question"),
    ("return { questions = { { id = 'q' } } }", "questions[1]", "prompt"),
    ("return { questions = { { id = 'q', prompt = '' } } }", "questions[1]", "prompt"),
    ("return { questions = { { prompt = 'p' } } }", "questions[1]", "id"),
    ("return { questions = { { id = 5, prompt = 'p' } } }", "questions[1].id", "text"),
    ("return { questions = { { id = 'q', prompt = 'p' }, { id = 'q', prompt = 'r' } } }", "questions[2]", "questions[1]"),
    ("return { %s, question = {} }" % Q, "question", 'did you mean "questions"'),
    ("return { %s, name = 'a b' }" % Q, "name", "letters"),
    ("return { %s, models = { 'nope' } }" % Q, "nope", "m"),
    ("return { %s, regions = { 'mars' } }" % Q, "mars", "us"),
    ("return { %s, models = {} }" % Q, "models", "all models"),
    ("return { %s, models = { 'm', 'm' } }" % Q, "models[2]", "models[1]"),
    ("return { %s, models = { { id = 'm', regions = { 'mars' } } } }" % Q, "mars", "us"),
    ("return { %s, samples = 0 }" % Q, "samples", "from 1"),
    ("return { %s, timeout = 'soon' }" % Q, "timeout", "90s"),
    ("return { %s, policy = 'quickly' }" % Q, "quickly", "sequential"),
    ("return { %s, policy = 5 }" % Q, "policy", "function"),
    ("return { %s, on_missing = 'fail' }" % Q, "on_missing", '"skip"'),
    ("return { %s, score = 5 }" % Q, "score", "function"),
    ("return { %s, parameters = { f = print } }" % Q, "parameters", "f"),
    ("return { questions = canvass.jsonl 'nowhere.jsonl' }", "nowhere.jsonl", ""),
    ("return { questions = canvass.jsonl '../../etc/passwd' }", "job.lua:1", "folder"),
    ("return { questions = canvass.jsonl '/etc/passwd' }", "job.lua:1", "folder"),
    ("return { questions = require 'nowhere' }", "nowhere", ""),
    ("return { %s, name = os.getenv 'HOME' }" % Q, "job.lua:1", "os"),
]

# Each ends with a clear error, at once, and nothing is written or asked.
HOSTILE = [
    ("while true do end", "stopped after"),
    ("repeat pcall(function() while true do end end) until false", "stopped after"),
    ("repeat xpcall(function() while true do end end, function() while true do end end) until false", "stopped after"),
    ("local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end", "memory"),
    ("local s = 'x' while true do s = s .. s end", "memory"),
    ("return { %s, name = ('x'):rep(1e10) }" % Q, ""),
    ("return string.find(('a'):rep(50), ('a*'):rep(30) .. 'b')", ""),
    ("local co = coroutine.wrap(function() while true do end end) while true do pcall(co) end", "stopped after"),
    ("setmetatable({}, { __gc = function() while true do end end }) collectgarbage() while true do end", ""),
    ("local function f() return f() + 1 end return f()", "job.lua:1"),
    ("io.open('stolen', 'w')", "io"),
    ("os.execute('touch stolen')", "os"),
    ("require('os').execute('touch stolen')", "os"),
    ("package.loadlib('libc.so.6', 'system')", "package"),
    ("debug.sethook()", "debug"),
    ("load('x = 1')()", ""),
    ("dofile('/etc/passwd')", "dofile"),
    ("loadfile('/etc/passwd')", "loadfile"),
    ("_G.string.rep = nil; ('x').rep = nil; rawset(_G, 'x', 1); x = 1", ""),
    ("string.format('%99999999s', 'x')", ""),
    ("return setmetatable({}, { __index = function() while true do end end })", ""),
    ("error(setmetatable({}, { __tostring = function() while true do end end }))", ""),
    ("error()", ""),
    ("error(('x'):rep(1e6))", ""),
    ("error('\\27[2J escape')", "escape"),
]


def check_refused(canvass, write, script, name="job.lua"):
    began = time.monotonic()
    result = canvass("run", write(name, script), "--regions", write("t.lua", table({"us/m": "http://127.0.0.1:1/"})))
    assert result.status == 2 and result.out == "", result
    assert time.monotonic() - began < 60
    line = [line for line in result.err.splitlines() if line.startswith("canvass: ")]
    assert len(line) == 1, result
    assert "\x1b" not in result.err and len(result.err) < 20000
    assert not (canvass.folder / "canvass.db").exists() and not (canvass.folder / "stolen").exists()
    return result.err


@pytest.mark.parametrize("script, where, cure", BAD, ids=[str(n) for n in range(len(BAD))])
def test_a_bad_job(canvass, write, script, where, cure):
    err = check_refused(canvass, write, script)
    assert where in err and cure in err, err


@pytest.mark.parametrize("script, words", HOSTILE, ids=[str(n) for n in range(len(HOSTILE))])
def test_a_hostile_job(canvass, write, script, words):
    err = check_refused(canvass, write, script)
    assert words in err, err


def test_bytecode_is_refused(canvass, write):
    assert "precompiled" in check_refused(canvass, write, b"\x1bLua\x54\x00\x19\x93\r\n\x1a\n" + bytes(100))


@pytest.mark.parametrize("body, words", [
    ("while true do end", "stopped after"),
    ("repeat pcall(function() while true do end end) until false", "stopped after"),
    ("error 'the plan is wrong'", "the plan is wrong"),
    ("local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end", "memory"),
    ("plan:run(5)", "job.lua:2"),
    ("plan:run(plan:where { question = 'nope' })", "nope"),
    ("for _, batch in plan:batches 'colour' do plan:run(batch) end", "colour"),
])
def test_a_policy_that_fails(canvass, server, write, body, words):
    """In flight is cancelled, the rest skipped, the job failed, exit 2; the text names the place."""
    origin = server(replies(answer()))
    script = write("job.lua", "return { %s, policy = function(plan)\n%s\nend }" % (Q, body))
    patience = ["--script-call-time", "60s"] if words == "memory" else []  # or a busy machine's time is up first
    result = canvass.run(script, write("t.lua", table({"us/m": origin.url()})), *patience)
    assert result.status == 2, result
    assert result.json["state"] == "failed" and result.json["executions"]["skipped"] == 1
    assert words in result.err and "job.lua" in result.err
    assert [r["status"] for r in canvass.rows("SELECT status FROM executions")] == ["skipped"]
    assert not origin.requests


def test_a_policy_that_fails_with_requests_in_flight(canvass, server, write):
    origin = server(lambda r: r.hang())
    script = write("job.lua", """return { name = "j", questions = { { id = "q", prompt = "p" }, { id = "r", prompt = "p" } },
        policy = function(plan)
          plan:each("question", function(part, id)
            if id == "q" then plan:run(part) else canvass.sleep(0.3) error("changed my mind") end
          end)
        end }""")
    result = canvass.run(script, write("t.lua", table({"us/m": origin.url()})))
    assert result.status == 2 and "changed my mind" in result.err, result
    assert {r["question_id"]: r["status"] for r in canvass.rows("SELECT * FROM executions")} == dict(
        q="cancelled", r="skipped")
    wait_until(lambda: origin.requests[0].aborted)


def test_a_policy_that_leaves_something_out(canvass, server, write):
    """Ending early is no failure of the policy: what it did not run is skipped, and the job partial."""
    origin = server(replies(answer()))
    script = write("job.lua", "return { name = 'j', questions = { { id = 'q', prompt = 'p' }, { id = 'r', prompt = 'p' } }, "
                   "policy = function(plan) plan:run(plan:where { question = 'q' }) end }")
    result = canvass.run(script, write("t.lua", table({"us/m": origin.url()})))
    assert result.status == 1 and result.json["state"] == "partial", result
    skipped, = canvass.rows("SELECT * FROM executions WHERE status = 'skipped'")
    assert skipped["question_id"] == "r" and skipped["error"]


# ---- data ----

def asked(canvass, server, write, script, *args, name="job.lua", status=0):
    origin = server(lambda r: r.reply(200, answer("to " + r.prompt)))
    result = canvass.run(write(name, script), write("t.lua", table({"us/m": origin.url(), "eu/m": origin.url()})), *args)
    assert result.status == status, result
    return result


def test_csv(canvass, server, write):
    write("data/q.csv", b'\xef\xbb\xbfid,prompt,expected,topic\r\na,"What, ""really""?\nYes",4,x\r\nb,plain,,y\r\n')
    asked(canvass, server, write, "return { questions = canvass.csv 'data/q.csv' }")
    found = canvass.rows("SELECT * FROM questions ORDER BY position")
    assert [(r["id"], r["prompt"]) for r in found] == [("a", 'What, "really"?\nYes'), ("b", "plain")]
    assert json.loads(found[0]["metadata"])["topic"] == "x" and json.loads(found[0]["expected"]) == "4"


def test_jsonl(canvass, server, write):
    write("q.jsonl", '{"id": "a", "prompt": "é 🎉", "expected": ["4", "four"], "weight": 2.5}\n\n{"id": "b", "prompt": "x"}')
    asked(canvass, server, write, "return { questions = canvass.jsonl 'q.jsonl' }")
    found = canvass.rows("SELECT * FROM questions ORDER BY position")
    assert [(r["id"], r["prompt"]) for r in found] == [("a", "é 🎉"), ("b", "x")]
    assert json.loads(found[0]["expected"]) == ["4", "four"] and json.loads(found[0]["metadata"]) == dict(weight=2.5)
    assert found[1]["metadata"] in (None, "{}")


@pytest.mark.parametrize("line", ['{"id": "a"', '5', '{"id": "b", "prompt": "x"} trailing', '{"id": "b", "prompt": "\\ud800"'])
def test_a_bad_line_is_named(canvass, write, line):
    write("q.jsonl", '{"id": "a", "prompt": "x"}\n' + line + "\n")
    assert "q.jsonl:2" in check_refused(canvass, write, "return { questions = canvass.jsonl 'q.jsonl' }")


def test_many_questions(canvass, server, write):
    """A thousand questions in a file, each asked once, each row with its own answer."""
    write("q.jsonl", "".join(json.dumps(dict(id=f"q{n}", prompt=f"number {n}")) + "\n" for n in range(1000)))
    origin = server(lambda r: r.reply(200, answer("to " + r.prompt)))
    result = canvass.run(write("job.lua", "return { name = 'j', questions = canvass.jsonl 'q.jsonl', policy = 'free' }"),
                         write("t.lua", table({"us/m": dict(url=origin.url(), slots=16)})), "--log-level", "warn")
    assert result.status == 0 and result.json["executions"]["succeeded"] == 1000, result
    assert len(origin.requests) == 1000 and len({r.prompt for r in origin.requests}) == 1000
    wrong = canvass.rows("SELECT count(*) AS n FROM executions e JOIN questions q ON q.id = e.question_id "
                         "WHERE e.answer <> 'to ' || q.prompt")
    assert wrong == [dict(n=0)]


def test_settings_reach_the_script(canvass, server, write):
    script = "return { name = 'j', questions = { { id = 'q', prompt = 'in ' .. canvass.settings.language } } }"
    asked(canvass, server, write, script, "--set", "language=de", "--set", "parameters.temperature=0.7", "--set", "samples=2")
    assert canvass.rows("SELECT prompt FROM questions") == [dict(prompt="in de")]
    assert canvass.rows("SELECT max(sample) AS n FROM executions") == [dict(n=2)]
    sent = json.loads(canvass.rows("SELECT request FROM attempts")[0]["request"])
    assert sent["temperature"] == 0.7


def test_now_is_the_time_of_day(canvass, server, write):
    """canvass.now() is unix time with its fractions; where a plan runs ahead of the clock, so does it."""
    script = """local nap = canvass.setting("nap", 0)
        return { name = "j", questions = { { id = "q", prompt = "p" } }, policy = function(plan)
        canvass.log("began", canvass.now())
        plan:run()
        canvass.log("ended", canvass.now())
        canvass.sleep(nap)
        canvass.log("slept", canvass.now())
        end }"""
    times = lambda result: [float(line["message"].split()[1]) for line in result.log
                            if line["message"].split()[0] in ("began", "ended", "slept")]
    before = time.time()
    began, ended, slept = times(asked(canvass, server, write, script))
    assert before - 0.1 <= began < ended <= slept <= time.time() + 0.1
    assert began % 1 or ended % 1
    path = write("t.lua", table({"us/m": "http://127.0.0.1:1/"}))
    began, ended, slept = times(canvass("plan", write("job.lua", script), "--regions", path, "--set", "nap=86400",
                                        "--log", "json"))
    assert before - 0.1 <= began <= time.time() + 0.1 and 0 < ended - began < 60
    assert slept - ended == pytest.approx(86400, abs=0.001)


def test_a_setting_nobody_reads(canvass, write):
    path = write("t.lua", table({"us/m": "http://127.0.0.1:1/"}))
    result = canvass("run", write("job.lua", job()), "--regions", path, "--set", "langauge=de")
    assert result.status == 2 and "langauge" in result.err and not (canvass.folder / "canvass.db").exists()


def test_region_aliases(canvass, server, write):
    """A job may name a region by any of its aliases; what is kept is the region."""
    origin = server(lambda r: r.reply(200, answer(region="us-east")))
    result = canvass.run(write("job.lua", job(1, regions=["us-east", "eu"])), write("t.lua", table(
        {"us/m": origin.url(), "eu/m": dict(url=origin.url(), paused="x")}, region=dict(us=dict(aliases=["us-east"])))),
        "--set", "on_missing=skip")
    assert result.status == 1
    assert {r["region"]: r["status"] for r in canvass.rows("SELECT * FROM executions")} == dict(us="succeeded", eu="skipped")


def test_a_model_in_some_regions(canvass, server, write):
    asked(canvass, server, write, job(1, models=[dict(id="m", regions=["eu"])]))
    assert canvass.rows("SELECT endpoint FROM executions") == [dict(endpoint="eu/m")]


# ---- the upstream system's JSON specification ----

SPECIFICATION = dict(
    id="bias-1", version="v1", benchmark=dict(name="bias", container=dict(image="x")),
    constraints=dict(regions=["US", "EU"], min_regions=1, timeout=600_000_000_000, provider_timeout=300),
    questions=[dict(id="a", prompt="What is a?"), dict(id="b", prompt="What is b?")],
    models=[dict(id="m", name="M", provider="x", regions=["US"])], runs=2, metadata=dict(created_by="me"),
    created_at="2025-10-01T00:00:00Z", signature="x", public_key="y")


def specification(canvass, server, write, spec, *args):
    origin = server(lambda r: r.reply(200, answer()))
    regions = write("t.lua", table({"us/m": origin.url(), "eu/m": origin.url()},
                                   region=dict(us=dict(aliases=["US"]), eu=dict(aliases=["EU"]))))
    return canvass.run(write("spec.json", json.dumps(spec)), regions, *args)


def test_a_specification(canvass, server, write):
    result = specification(canvass, server, write, SPECIFICATION)
    assert result.status == 0, result
    found = canvass.rows("SELECT question_id, endpoint, sample FROM executions")
    assert {(r["question_id"], r["endpoint"], r["sample"]) for r in found} == {
        (q, "us/m", s) for q in "ab" for s in (1, 2)}
    assert canvass.rows("SELECT timeout_s FROM jobs") == [dict(timeout_s=600.0)]


def test_a_wrapped_specification(canvass, server, write):
    wrapped = dict(jobspec=dict(SPECIFICATION, models=["m"]), target_regions=["EU"], min_regions=1, enable_analysis=True)
    result = specification(canvass, server, write, wrapped)
    assert result.status == 0, result
    assert {r["endpoint"] for r in canvass.rows("SELECT endpoint FROM executions")} == {"eu/m"}


def test_question_ids_from_a_list(canvass, server, write):
    write("list.json", json.dumps([dict(id="a", prompt="full a"), dict(id="b", prompt="full b"), dict(id="c", prompt="c")]))
    spec = dict(SPECIFICATION, questions=["b", "a"])
    result = specification(canvass, server, write, spec, "--questions", canvass.folder / "list.json")
    assert result.status == 0, result
    assert [r["prompt"] for r in canvass.rows("SELECT prompt FROM questions ORDER BY position")] == ["full b", "full a"]


@pytest.mark.parametrize("change, words", [
    (dict(questions=["nope"]), "nope"), (dict(questions=[]), "question"), (dict(constraints=dict(regions=["MARS"])), "MARS"),
    (dict(models=[dict(id="none")]), "none"), (dict(colour="red"), "colour"), (dict(runs=0), "runs"),
])
def test_a_bad_specification(canvass, server, write, change, words):
    args = ["--questions", write("list.json", json.dumps([dict(id="a", prompt="full a")]))] if words == "nope" else []
    result = specification(canvass, server, write, dict(SPECIFICATION, **change), *args)
    assert result.status == 2 and words in result.err and "spec.json" in result.err, result
    assert not (canvass.folder / "canvass.db").exists()


def test_the_script_is_kept(canvass, server, write):
    """What is needed to run the job again stands in the database: script, modules and data."""
    write("mod.lua", "return 'from a module'")
    write("q.jsonl", '{"id": "a", "prompt": "x"}\n')
    script = "local m = require 'mod'\nreturn { questions = canvass.jsonl 'q.jsonl' }"
    asked(canvass, server, write, script)
    files = {r["name"]: r["text"] for r in canvass.rows("SELECT * FROM job_files ORDER BY position")}
    assert [text for name, text in files.items() if name.endswith("job.lua")] == [script]
    assert "return 'from a module'" in files.values() and '{"id": "a", "prompt": "x"}\n' in files.values()


def test_memory_that_was_given_back_is_there_again(server, write, tmp_path):
    """However the sizes change: each answer holds 0.5 MB of strings, of another length than those of the one before. The
    sanitizers have an allocator of their own."""
    numbers = itertools.count()

    def reply(request):
        length = 45 + 16 * next(numbers)
        request.reply(200, answer(junk=[f"{n:08}" + "x" * (length - 8) for n in range(500_000 // length)]))

    script, regions = write("job.lua", job(24)), write("t.lua", table({"us/m": server(reply).url()}))
    ran = subprocess.run([plain_binary(), "run", script, "--regions", regions, "--script-memory", "4", "--db", "a.db"],
                         cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0 and "total 24/24" in ran.stdout, ran
