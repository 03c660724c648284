"""What comes of each answer: asked again or not, how often, with which bytes, and what the rows say."""
import email.utils
import json
import time

import pytest

from conftest import rows
from helpers import answer, job, replies, table


def ask(canvass, write, origin, *args, count=1, **keys):
    keys.setdefault("slots", 1)
    return canvass.run(write("job.lua", job(count, "free")), write("t.lua", table({"us/m": origin.url("/m")}, **keys)),
                       *args)


def executions(canvass):
    return canvass.rows("SELECT * FROM executions ORDER BY row")


def attempts(canvass):
    return canvass.rows("SELECT * FROM attempts ORDER BY row")


def test_before_a_post_leaves_its_row_is_on_disk(canvass, server, write, tmp_path):
    seen = []

    def handle(request):
        seen.append((request.body, rows(tmp_path / "canvass.db", "SELECT a.* FROM attempts a JOIN executions e ON "
                                        "a.execution_id = e.id WHERE e.status = 'running'")))
        request.reply(500, "no") if len(seen) == 1 else request.reply(200, answer())
    origin = server(handle)
    assert ask(canvass, write, origin, count=3).status == 0
    assert len(seen) == 4
    for body, running in seen:
        mine = [row for row in running if row["request"].encode() == body]
        assert mine and mine[-1]["status"] == "running" and mine[-1]["url"] == origin.url("/m")
        assert mine[-1]["ended_at"] is None and mine[-1]["queued_at"] is not None
    assert len({body for body, _ in seen}) == 3


def test_500_then_well(canvass, server, write):
    origin = server(replies(lambda r: r.reply(500, "out of memory"), answer("well")))
    result = ask(canvass, write, origin)
    assert result.status == 0, result
    first, second = attempts(canvass)
    assert len(origin.requests) == 2 and origin.requests[0].body == origin.requests[1].body
    assert first["request"].encode() == second["request"].encode() == origin.requests[0].body
    assert (first["status"], first["class"], first["http_status"]) == ("failed", "http_server", 500)
    assert "out of memory" in first["error"] and first["response"] == "out of memory"
    assert (second["status"], second["class"], second["http_status"], second["error"]) == ("succeeded", None, 200, None)
    row, = executions(canvass)
    assert (row["status"], row["attempts"], row["posts"], row["answer"], row["error"]) == (
        "succeeded", 2, 2, "well", None)
    assert first["queued_at"] <= first["dispatched_at"] <= first["first_byte_at"] <= first["ended_at"]
    assert first["ended_at"] <= second["dispatched_at"] <= second["ended_at"] == row["ended_at"]
    assert result.json["posts"] == 2 and result.json["posts_per_answer"] == 2


@pytest.mark.parametrize("status, name", [(500, "http_server"), (502, "http_server"), (503, "http_server"),
                                          (529, "http_server"), (429, "rate_limited"), (408, "timeout")])
def test_transient_statuses_use_up_the_attempts(canvass, server, write, status, name):
    origin = server(lambda r: r.reply(status, "no"))
    assert ask(canvass, write, origin, retry=dict(attempts=3, base="5ms", cap="20ms")).status == 1
    row, = executions(canvass)
    assert len(origin.requests) == 3 and (row["status"], row["class"], row["attempts"]) == ("failed", name, 3)
    assert str(status) in row["error"]


@pytest.mark.parametrize("status, name", [(400, "http_client"), (401, "http_client"), (403, "http_client"),
                                          (404, "not_found"), (410, "http_client"), (422, "http_client"),
                                          (402, "quota_exhausted")])
def test_lasting_statuses_are_not_asked_again(canvass, server, write, status, name):
    origin = server(lambda r: r.reply(status, dict(detail="because of this")))
    assert ask(canvass, write, origin).status == 1
    row, = executions(canvass)
    assert len(origin.requests) == 1 and (row["status"], row["class"], row["attempts"]) == ("failed", name, 1)
    assert "because of this" in row["error"]


def retry_after_date(seconds):
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_holds_the_whole_endpoint(canvass, server, write, form):
    """Nobody asks that endpoint before the time is over, and the others in line lose no attempt for it."""
    def refuse(request):
        request.reply(429, "slow down", Retry_After="1" if form == "seconds" else retry_after_date(2))
    origin = server(replies(refuse, answer()))
    result = ask(canvass, write, origin, count=3)
    assert result.status == 0, result
    times = [r.at for r in origin.requests]
    assert len(times) == 4 and times[1] - times[0] >= 0.9, times
    assert sorted(row["attempts"] for row in executions(canvass)) == [1, 1, 2]
    held, = result.said("endpoint asked for patience")
    assert held["endpoint"] == "us/m" and held["wait_s"] > 0.5


def test_retry_after_holds_only_that_endpoint(canvass, server, write):
    origin = server(lambda r: r.reply(429, "slow down", Retry_After="30") if r.path == "/slow"
                    else r.reply(200, answer()))
    script = write("job.lua", job(5, "by_endpoint", timeout="3s"))
    result = canvass.run(script, write("t.lua", table({"us/slow": origin.url("/slow"), "us/m": origin.url("/m")})))
    assert result.status == 3, result
    assert len(origin.asked(path="/slow")) == 1 and len(origin.asked(path="/m")) == 5


@pytest.mark.parametrize("refusal", [
    dict(status=429, body="workspace billing cycle spend limit reached"),
    dict(status=429, body=dict(error=dict(message="You exceeded your current quota", type="insufficient_quota",
                                          code="insufficient_quota"))),
    dict(status=429, body="come back later", Retry_After="86400"),
    dict(status=402, body="payment required"),
])
def test_a_spent_quota_ends_the_whole_group(canvass, server, write, refusal):
    """Those that share the account are not asked at all any more; who does not share it goes on."""
    def handle(request):
        time.sleep(0.05)
        request.reply(**refusal) if request.path == "/spent" else request.reply(200, answer())
    origin = server(handle)
    keys = dict(group="account")
    result = canvass.run(write("job.lua", job(4, "sequential")), write("t.lua", table({
        "us/a": dict(url=origin.url("/spent"), **keys), "eu/a": dict(url=origin.url("/other"), **keys),
        "eu/b": origin.url("/apart")})))
    assert result.status == 1, result
    found = {(r["question_id"], r["endpoint"]): (r["status"], r["class"]) for r in executions(canvass)}
    assert len(origin.asked(path="/spent")) == 1 and found["q1", "us/a"] == ("failed", "quota_exhausted")
    assert len(origin.asked(path="/other")) <= 1, "the one that was on its way"
    for question in ("q2", "q3", "q4"):
        for endpoint in ("us/a", "eu/a"):
            assert found[question, endpoint] == ("skipped", "breaker_open")
    assert len(origin.asked(path="/apart")) == 4
    skipped = [r["error"] for r in executions(canvass) if r["status"] == "skipped"]
    assert skipped and all(skipped)


def test_refused_connection_then_there(canvass, server, write, closed_port):
    """Nobody listens at first: nothing was sent, so it is safe to try again."""
    script, regions = write("job.lua", job()), write("t.lua", table({"us/m": f"http://127.0.0.1:{closed_port}/m"}))
    result = canvass.run(script, regions)
    assert result.status == 1
    row, = executions(canvass)
    assert (row["class"], row["attempts"]) == ("connect", 4)
    assert "refused" in row["error"].lower()
    assert all(a["response"] is None and a["http_status"] is None for a in attempts(canvass))


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/m", "http://nobody.invalid/m"])
def test_what_never_left_is_no_post_and_costs_nothing(canvass, write, closed_port, url):
    """No connection, or no such host: four attempts, and nothing that anybody could charge for."""
    priced = dict(url=url.format(port=closed_port), price_per_second=1)
    result = canvass.run(write("job.lua", job()), write("t.lua", table({"us/m": priced})))
    assert result.status == 1, result
    assert result.json["attempts"] == 4 and result.json["posts"] == 0 and not result.json["cost"]
    row, = executions(canvass)
    assert (row["class"], row["attempts"], row["posts"]) == ("connect", 4, 0) and not row["cost"]
    assert "posts per answer  - (0 posts" in canvass("show", "last").out


@pytest.mark.parametrize("kept_alive", [False, True])
def test_reset_before_an_answer_is_unknown(canvass, server, write, kept_alive):
    """It may have run and been paid for: exactly one POST, also where the connection had been used before."""
    first = [lambda r: r.reply(200, answer())] if kept_alive else []
    origin = server(replies(*first, lambda r: r.reset()))
    result = ask(canvass, write, origin, count=1 + len(first))
    assert result.status == 1, result
    assert len(origin.requests) == 1 + len(first)
    row = executions(canvass)[-1]
    assert (row["status"], row["class"], row["attempts"], row["posts"]) == ("failed", "unknown_outcome", 1, 1)
    assert "paid" in row["error"]


def test_unknown_is_asked_again_where_the_table_says_so(canvass, server, write):
    origin = server(replies(lambda r: r.reset(), lambda r: r.reset(), answer()))
    result = ask(canvass, write, origin, retry=dict(attempts=4, base="5ms", cap="20ms", unknown=True))
    assert result.status == 0, result
    assert len(origin.requests) == 3 and [a["class"] for a in attempts(canvass)] == ["unknown_outcome"] * 2 + [None]


@pytest.mark.parametrize("data", [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{\"success\": true, \"response\": \"ha",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{\"success\": true",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Le",
])
def test_a_truncated_answer_is_unknown(canvass, server, write, data):
    origin = server(lambda r: r.raw(data))
    assert ask(canvass, write, origin).status == 1
    row, = executions(canvass)
    assert len(origin.requests) == 1 and row["class"] in ("unknown_outcome", "bad_response")
    assert row["answer"] is None


@pytest.mark.parametrize("data", [b"hello", b"\x00\xff" * 100, b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/9 huh\r\n\r\n"])
def test_what_is_not_http(canvass, server, write, data):
    origin = server(lambda r: r.raw(data))
    assert ask(canvass, write, origin).status == 1
    row, = executions(canvass)
    assert row["class"] in ("bad_response", "unknown_outcome") and len(origin.requests) == 1


UNREADABLE = {
    "html": lambda r: r.reply(200, "<html>Bad gateway</html>"), "empty": lambda r: r.reply(200, ""),
    "half": lambda r: r.reply(200, "{"), "list": lambda r: r.reply(200, "[1,2"), "null": lambda r: r.reply(200, "null"),
    "number": lambda r: r.reply(200, "42"), "text": lambda r: r.reply(200, '"text"'), "204": lambda r: r.reply(204),
    "gzip": lambda r: r.reply(200, b"\x1f\x8b\x08\x00" + bytes(range(200)), Content_Encoding="gzip"),
    "deep": lambda r: r.reply(200, "[" * 100_000 + "]" * 100_000),
    "short": lambda r: r.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + json.dumps(answer()).encode()),
    "no URL": lambda r: r.reply(303), "bad URL": lambda r: r.reply(202, Location="ftp://127.0.0.1/"),
    "202 alone": lambda r: r.reply(202, "later"),
}


@pytest.mark.parametrize("unknown", [False, True])
@pytest.mark.parametrize("how", UNREADABLE)
def test_an_answer_that_cannot_be_read_is_not_asked_for_again(canvass, server, write, how, unknown):
    """The server says it did its work, and takes money for it: one POST, unless the operator wants to pay again."""
    origin = server(UNREADABLE[how])
    result = ask(canvass, write, origin, retry=dict(attempts=3, base="5ms", cap="20ms", unknown=unknown))
    assert result.status == 1 and len(origin.requests) == len(origin.asked("POST")) == (3 if unknown else 1), result
    row, = executions(canvass)
    assert row["class"] == ("unknown_outcome" if how in ("short", "202 alone") else "bad_response"), row
    assert row["posts"] == len(origin.requests) and row["error"] and row["answer"] is None


@pytest.mark.parametrize("body", ["<html>Bad gateway</html>", "", "{", "[1,2", "null", "42", '"text"'])
def test_what_cannot_be_read_is_kept(canvass, server, write, body):
    assert ask(canvass, write, server(lambda r: r.reply(200, body))).status == 1
    only, = attempts(canvass)
    assert only["response"] == body and "paid" in only["error"]


@pytest.mark.parametrize("body, again", [
    (dict(status="error", error="CUDA out of memory"), True),
    (dict(success=False, error="CUDA out of memory"), True),
    (dict(success=False, error="Unknown model: m"), False),
    (dict(status="error", error="Prompt is required"), False),
    (dict(success=True), False),
    (dict(success=True, response=None), False),
    ({}, False), ([], False),
])
def test_failures_that_come_with_200(canvass, server, write, body, again):
    origin = server(replies(body, answer()))
    result = ask(canvass, write, origin)
    assert (result.status, len(origin.requests)) == ((0, 2) if again else (1, 1)), result
    first = attempts(canvass)[0]
    assert first["status"] == "failed" and first["class"] in ("bad_response", "config") and first["http_status"] == 200
    if "error" in body:
        assert body["error"] in first["error"]


def test_an_empty_answer_is_an_answer(canvass, server, write):
    origin = server(replies(answer("")))
    assert ask(canvass, write, origin).status == 0
    row, = executions(canvass)
    assert (row["status"], row["answer"], row["error"]) == ("succeeded", "", None)
    assert "succeeded" in canvass("results", "last", "--format", "csv").out


def test_too_large_is_cut_off(canvass, server, write):
    sent = []

    def pour(request):
        request.handler.send_response(200)
        request.handler.send_header("Content-Length", str(1 << 30))
        request.handler.end_headers()
        while True:
            request.handler.wfile.write(b"x" * 65536)
            sent.append(65536)
    origin = server(pour)
    result = ask(canvass, write, origin, max_body=100000)
    assert result.status == 1, result
    row, = executions(canvass)
    assert row["class"] == "too_large" and len(origin.requests) == 1 and origin.requests[0].aborted
    assert sum(sent) < 1 << 26, "the transfer went on"


def test_the_bound_is_exact(canvass, server, write):
    """A body of max_body is an answer, one byte more is not."""
    def sized(request):
        body = b'{"success": true, "response": "", "x": "%s"}'
        return request.reply(200, body % (b"y" * (1000 - len(body) + 2 + (request.prompt == "question 2"))))
    origin = server(sized)
    assert ask(canvass, write, origin, count=2, max_body=1000).status == 1
    assert [r["class"] for r in executions(canvass)] == [None, "too_large"]
    assert attempts(canvass)[0]["bytes_in"] >= 1000


def test_usual_max_body_is_8_mib(canvass, server, write):
    origin = server(replies(answer("y" * 8_000_000), answer("y" * 9_000_000)))
    assert ask(canvass, write, origin, count=2).status == 1
    first, second = executions(canvass)
    assert len(first["answer"]) == 8_000_000 and second["class"] == "too_large"


@pytest.mark.parametrize("served, ok", [("us", True), ("US", True), ("us-east", True), ("us-west", False),
                                        ("eu", False), (None, True)])
def test_served_region(canvass, server, write, served, ok):
    origin = server(lambda r: r.reply(200, answer("kept", **({"region": served} if served else {}))))
    result = canvass.run(write("job.lua", job()), write("t.lua", table(
        {"us/m": origin.url("/m")}, region=dict(us=dict(aliases=["us-east", "US"])))))
    row, = executions(canvass)
    assert result.status == (0 if ok else 1)
    if not ok:
        assert (row["status"], row["class"], row["answer"]) == ("failed", "wrong_region", None)
        assert served in row["error"] and len(origin.requests) == 1
        assert "kept" in attempts(canvass)[0]["response"]
    assert attempts(canvass)[0]["served_region"] == served


@pytest.mark.parametrize("served, ok", [("gpt-4o", True), ("gpt-4o-2024-08-06", True), ("org/gpt-four", True),
                                        ("gpt-4o-mini", False), ("gpt-3.5", False), (None, True)])
def test_served_model(canvass, server, write, served, ok):
    origin = server(lambda r: r.reply(200, answer("kept", **({"model": served} if served else {}))))
    result = canvass.run(write("job.lua", job()), write("t.lua", table(
        {"us/gpt-4o": dict(url=origin.url("/m"), serves=["org/gpt-four"])})))
    row, = executions(canvass)
    assert result.status == (0 if ok else 1)
    if not ok:
        assert (row["status"], row["class"], row["answer"]) == ("failed", "wrong_model", None)
        assert len(origin.requests) == 1
    assert attempts(canvass)[0]["served_model"] == served


@pytest.mark.parametrize("which, words", [("deadline", "deadline"), ("hop", "hop")])
def test_no_answer_in_time(canvass, server, write, which, words):
    """The request was sent, so it may have run: one POST, the deadline named, the connection closed."""
    origin = server(lambda r: r.hang())
    result = ask(canvass, write, origin, **{which: "300ms"})
    assert result.status == 1, result
    row, = executions(canvass)
    assert (row["class"], row["posts"]) == ("timeout", 1) and words in row["error"] and "300" in row["error"]
    assert len(origin.requests) == 1
    wait_aborted(origin, 1)


def wait_aborted(origin, count):
    end = time.monotonic() + 20
    while sum(r.aborted for r in origin.requests) < count and time.monotonic() < end:
        time.sleep(0.01)
    assert sum(r.aborted for r in origin.requests) == count


def test_attempts_share_one_deadline(canvass, server, write):
    """The deadline is the execution's: retries do not renew it. If it falls into a pause, the last failure stands."""
    origin = server(lambda r: r.reply(500, "no"))
    began = time.monotonic()
    ask(canvass, write, origin, deadline="1s", retry=dict(attempts=1000, base="200ms", cap="200ms"))
    assert time.monotonic() - began < 60
    row, = executions(canvass)
    assert row["class"] == "http_server" or "deadline" in row["error"], row
    assert 2 <= row["attempts"] < 100
    assert row["ended_at"] - row["started_at"] <= 2


def test_a_broken_endpoint_is_left_alone(canvass, server, write):
    """After five failures in a row the breaker opens; nobody is asked but one probe at a time; then it is over."""
    origin = server(lambda r: r.reply(500, "down"))
    result = ask(canvass, write, origin, count=40, slots=4, retry=dict(attempts=1),
                 breaker=dict(failures=5, window="60s", cooldown="50ms"))
    assert result.status == 1, result
    found = [(r["status"], r["class"]) for r in executions(canvass)]
    failed, skipped = found.count(("failed", "http_server")), found.count(("skipped", "breaker_open"))
    assert failed + skipped == 40 and skipped >= 20
    assert len(origin.requests) == failed <= 5 + 3 + 4
    assert result.said("endpoint keeps failing, left alone for a while")


def test_it_comes_back(canvass, server, write):
    """One that recovers is asked for everything that waited."""
    origin = server(replies(*[lambda r: r.reply(500, "down")] * 6, answer()))
    result = ask(canvass, write, origin, count=30, slots=4, breaker=dict(failures=5, window="60s", cooldown="100ms"))
    assert result.status == 0, result
    assert result.said("endpoint answers again")


def test_parameters_reach_the_endpoint_as_they_are(canvass, server, write):
    origin = server(replies(answer()))
    parameters = dict(temperature=0.1, max_tokens=500, stop=["\n", "é"], seed=2 ** 53, nested=dict(a=[1, 2.5, True]))
    script = write("job.lua", job(1, parameters=parameters))
    assert canvass.run(script, write("t.lua", table({"us/m": origin.url("/m")}))).status == 0
    assert origin.requests[0].json == dict(parameters, model="m", prompt="question 1")
    headers = origin.requests[0].headers
    assert headers["Content-Type"] == "application/json" and headers["User-Agent"].startswith("canvass/")


@pytest.mark.parametrize("prompt", ["plain", "quotes \" and \\ and \n and \t", "\x01\x7f", "üñíçødé 🎉 שלום",
                                    "</script>", "x" * 1_000_000],
                         ids=["plain", "escapes", "controls", "languages", "markup", "long"])
def test_prompts_arrive_unchanged(canvass, server, write, prompt):
    origin = server(lambda r: r.reply(200, answer(r.prompt)))
    script = write("job.lua", job(questions=[dict(id="q", prompt=prompt)]))
    result = canvass.run(script, write("t.lua", table({"us/m": origin.url("/m")})))
    assert result.status == 0, result
    assert origin.requests[0].prompt == prompt
    assert executions(canvass)[0]["answer"] == prompt
    assert attempts(canvass)[0]["request"].encode() == origin.requests[0].body


def test_each_attempt_has_its_own_trace_id(canvass, server, write):
    origin = server(replies(lambda r: r.reply(500), lambda r: r.reply(303, Location="/r"), answer()))
    assert ask(canvass, write, origin).status == 0
    traces = [r.headers["X-Trace-Id"] for r in origin.requests]
    ids = [a["id"] for a in attempts(canvass)]
    assert traces == [ids[0], ids[1], ids[1]]


def test_cost_is_counted(canvass, server, write):
    origin = server(lambda r: r.reply(200, answer(tokens_generated=50)))
    result = ask(canvass, write, origin, count=2, price_per_token=0.01)
    assert result.json["cost"] == pytest.approx(1.0)
    assert [r["completion_tokens"] for r in executions(canvass)] == [50, 50]


def test_adaptive_grows(canvass, server, write):
    """From one slot up to the ceiling, as long as nothing is refused; never above it."""
    def handle(request):
        time.sleep(0.005)
        request.reply(200, answer())
    origin = server(handle)
    result = ask(canvass, write, origin, count=60, slots=1, adaptive=dict(floor=1, ceiling=5))
    assert result.status == 0, result
    assert origin.max_open == result.json["max_in_flight"] == 5


def test_adaptive_is_cut_by_a_refusal(canvass, server, write):
    """After a 429 there is room for 0.7 times as many, and it takes more clean answers than are left to win it back."""
    def handle(request):
        time.sleep(0.02)
        refused = request.prompt == "question 20" and not [r for r in origin.requests if r.body == request.body][1:]
        request.reply(429, "too many") if refused else request.reply(200, answer())
    origin = server(handle)
    result = ask(canvass, write, origin, count=40, slots=10, adaptive=True)
    assert result.status == 0, result
    started = [row["in_flight"] for row in canvass.rows("SELECT in_flight FROM attempts ORDER BY dispatched_at")]
    assert max(started[:20]) == 10 and max(started[-5:]) < 10


def test_a_paused_endpoint_waits_or_is_skipped(canvass, server, write):
    origin = server(replies(answer()))
    regions = write("t.lua", table({"us/m": origin.url("/m"),
                                    "eu/m": dict(url=origin.url("/never"), paused="out of quota until Monday")}))
    skipped = canvass.run(write("skip.lua", job(2, on_missing="skip")), regions, "--db", "skip.db")
    assert skipped.status == 1 and skipped.json["executions"]["skipped"] == 2
    assert {r["error"] for r in canvass.rows("SELECT error FROM executions WHERE status = 'skipped'", db="skip.db")} \
        and "out of quota until Monday" in str(canvass.rows("SELECT error FROM executions", db="skip.db"))
    waited = canvass.run(write("wait.lua", job(2, timeout="1s")), regions, "--db", "wait.db")
    assert waited.status == 3 and "out of quota until Monday" in waited.err
    assert not origin.asked(path="/never")
