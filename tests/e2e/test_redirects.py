"""Result URLs and other redirects: one POST, whatever the number of hops, and nothing told to strangers."""
import time

import pytest

from conftest import rows
from helpers import answer, job, table

CHAIN = 60


def one(canvass):
    found = canvass.rows("SELECT * FROM executions")
    assert len(found) == 1
    return found[0]


def chain_of(count, status=303, location=lambda n: f"/m?call={n}", **headers):
    """Every POST is sent to a result URL, which sends on `count` - 1 times, then answers."""
    def handle(request):
        n = 0 if request.method == "POST" else int(request.path.rsplit("=", 1)[1])
        if n < count:
            request.reply(status, Location=location(n + 1), **headers)
        else:
            request.reply(200, answer(f"after {n} hops"))
    return handle


def test_a_chain_of_60_hops_costs_one_post(canvass, server, write):
    origin = server(chain_of(CHAIN))
    result = canvass.run(write("job.lua", job()), write("t.lua", table({"us/m": origin.url("/m")})))
    assert result.status == 0, result
    assert len(origin.asked("POST")) == 1 and len(origin.asked("GET")) == CHAIN
    assert all(not r.body and "Content-Type" not in r.headers for r in origin.asked("GET"))
    row = one(canvass)
    assert (row["posts"], row["hops"], row["attempts"], row["answer"]) == (1, CHAIN, 1, f"after {CHAIN} hops")
    assert result.json["hops"] == CHAIN and result.json["posts"] == 1


@pytest.mark.parametrize("status", [302, 303])
@pytest.mark.parametrize("posted, location, fetched", [
    ("/api/v2/m", "/m?call=1", "/m?call=1"),
    ("/api/v2/m", "n?call=1", "/api/v2/n?call=1"),
    ("/api/v2/m", "../n?call=1", "/api/n?call=1"),
    ("/api/v2/m?key=5", "?call=1", "/api/v2/m?call=1"),
])
def test_relative_location(canvass, server, write, status, posted, location, fetched):
    origin = server(lambda r: r.reply(status, Location=location) if r.method == "POST" else r.reply(200, answer()))
    result = canvass.run(write("job.lua", job()), write("t.lua", table({"us/m": origin.url(posted)})))
    assert result.status == 0, result
    assert [(r.method, r.path) for r in origin.requests] == [("POST", posted), ("GET", fetched)]
    assert canvass.rows("SELECT result_url FROM attempts") == [dict(result_url=origin.url(fetched))]


def test_absolute_location(canvass, server, write):
    origin = server(lambda r: r.reply(303, Location=origin.url("/x?call=1")) if r.method == "POST"
                    else r.reply(200, answer()))
    result = canvass.run(write("job.lua", job()), write("t.lua", table({"us/m": origin.url("/m")})))
    assert result.status == 0 and [r.path for r in origin.asked("GET")] == ["/x?call=1"]


def test_202_is_polled(canvass, server, write):
    """202 + Location: asked again and again by GET until there is an answer; the POST is one."""
    origin = server(chain_of(5, status=202))
    result = canvass.run(write("job.lua", job()), write("t.lua", table({"us/m": origin.url("/m")}, poll="5ms")))
    assert result.status == 0, result
    assert len(origin.asked("POST")) == 1 and len(origin.asked("GET")) == 5
    assert one(canvass)["posts"] == 1


def test_202_waits_for_poll(canvass, server, write):
    origin = server(chain_of(3, status=202))
    canvass.run(write("job.lua", job()), write("t.lua", table({"us/m": origin.url("/m")}, poll="200ms")))
    times = [r.at for r in origin.requests]
    waits = [later - earlier for earlier, later in zip(times, times[1:])]
    assert len(waits) == 3 and waits[0] >= 0.19 and waits[1] >= 1.3 * 0.19 and waits[2] >= 2 * 0.19, waits


def test_202_obeys_retry_after(canvass, server, write):
    origin = server(chain_of(1, status=202, Retry_After="1"))
    result = canvass.run(write("job.lua", job()), write("t.lua", table({"us/m": origin.url("/m")}, poll="5ms")))
    assert result.status == 0, result
    assert origin.asked("GET")[0].at - origin.asked("POST")[0].at >= 0.95


def test_202_on_the_result_url(canvass, server, write):
    """303 once, then the result URL itself says "not yet" without a Location."""
    def handle(request):
        if request.method == "POST":
            request.reply(303, Location="/result/7")
        elif len(origin.asked("GET")) < 4:
            request.reply(202, dict(status="running"))
        else:
            request.reply(200, answer())
    origin = server(handle)
    result = canvass.run(write("job.lua", job()), write("t.lua", table({"us/m": origin.url("/m")})))
    assert result.status == 0, result
    assert len(origin.asked("POST")) == 1 and [r.path for r in origin.asked("GET")] == ["/result/7"] * 4


def test_errors_on_the_result_url_are_outlived(canvass, server, write):
    """While the result URL is alive nothing is asked anew: not on 500, not on 429, not when the line breaks."""
    def handle(request):
        if request.method == "POST":
            request.reply(303, Location="/result/7")
            return
        [lambda: request.reply(500, "oops"), lambda: request.reply(429, "slow down"), request.reset,
         lambda: request.reply(200, "<html>"), lambda: request.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"),
         lambda: request.reply(200, answer("at last"))][len(origin.asked("GET")) - 1]()
    origin = server(handle)
    result = canvass.run(write("job.lua", job()), write("t.lua", table({"us/m": origin.url("/m")})))
    assert result.status == 0, result
    assert len(origin.asked("POST")) == 1 and len(origin.asked("GET")) == 6
    row = one(canvass)
    assert (row["answer"], row["posts"], row["attempts"]) == ("at last", 1, 1)
    assert row["hops"] in (5, 6), "a GET that is lost with a used connection may be repeated below the hops"


@pytest.mark.parametrize("status", [404, 410])
def test_a_lost_result(canvass, server, write, status):
    origin = server(lambda r: r.reply(303, Location="/gone") if r.method == "POST" else r.reply(status, "no such call"))
    result = canvass.run(write("job.lua", job()), write("t.lua", table({"us/m": origin.url("/m")})))
    assert result.status == 1, result
    assert len(origin.asked("POST")) == 1 and len(origin.asked("GET")) == 1
    row = one(canvass)
    assert (row["status"], row["class"]) == ("failed", "not_found") and str(status) in row["error"]


def test_a_lost_result_may_be_asked_anew(canvass, server, write):
    """Where the operator says so, and only as often as attempts allow."""
    origin = server(lambda r: r.reply(303, Location="/gone") if r.method == "POST" else r.reply(404, "no such call"))
    retry = dict(attempts=3, base="5ms", cap="20ms", unknown=True)
    result = canvass.run(write("job.lua", job()), write("t.lua", table({"us/m": origin.url("/m")}, retry=retry)))
    assert result.status == 1 and len(origin.asked("POST")) == 3 and len(origin.asked("GET")) == 3
    assert one(canvass)["posts"] == 3


def test_the_deadline_bounds_the_hops(canvass, server, write):
    """Hops have no maximum; the deadline ends them, is named, and the result URL is kept."""
    origin = server(chain_of(10 ** 6))
    result = canvass.run(write("job.lua", job()),
                         write("t.lua", table({"us/m": origin.url("/m")}, deadline="1500ms", hop="1s")))
    assert result.status == 1, result
    row = one(canvass)
    assert row["class"] == "timeout" and "deadline" in row["error"] and "1.5 s" in row["error"]
    assert len(origin.asked("POST")) == 1 and len(origin.asked("GET")) > 20
    kept = canvass.rows("SELECT result_url FROM attempts")[0]["result_url"]
    assert kept.startswith(origin.url("/m?call="))


@pytest.mark.parametrize("status", [307, 308])
def test_sent_elsewhere_the_post_is_repeated(canvass, server, write, status):
    """307 and 308 say that the request was not taken: the same body goes to the new place."""
    def handle(request):
        number = int(request.path.rsplit("/", 1)[1])
        request.reply(200, answer()) if number == 5 else request.reply(status, Location=f"/m/{number + 1}")
    origin = server(handle)
    result = canvass.run(write("job.lua", job()), write("t.lua", table({"us/m": origin.url("/m/0")})))
    assert result.status == 0, result
    assert [r.path for r in origin.asked("POST")] == [f"/m/{n}" for n in range(6)]
    assert len({r.body for r in origin.requests}) == 1 and not origin.asked("GET")
    assert one(canvass)["attempts"] == 1


@pytest.mark.parametrize("status", [307, 308])
def test_sent_round_in_circles(canvass, server, write, status):
    origin = server(lambda r: r.reply(status, Location="/m"))
    result = canvass.run(write("job.lua", job()), write("t.lua", table({"us/m": origin.url("/m")})))
    assert result.status == 1, result
    assert len(origin.asked("POST")) == 6, "the first and at most five more"
    row = one(canvass)
    assert row["class"] == "bad_response" and str(status) in row["error"]


@pytest.mark.parametrize("status", [202, 302, 303, 307, 308])
def test_another_origin_hears_nothing(canvass, server, write, status):
    stranger = server(lambda r: r.reply(200, answer("from a stranger")))
    origin = server(lambda r: r.reply(status, Location=stranger.url("/steal")))
    result = canvass.run(write("job.lua", job()),
                         write("t.lua", table({"us/m": origin.url("/m")}, headers={"Authorization": "Bearer 123"})))
    assert result.status == 1, result
    assert stranger.requests == [] and len(origin.requests) == 1
    row = one(canvass)
    assert row["class"] == "config" and stranger.origin in row["error"] and "origins" in row["error"]


@pytest.mark.parametrize("other", ["http://localhost:{port}/m", "http://127.0.0.1:{port}@127.0.0.1:1/m",
                                   "//localhost:{port}/m", "https://127.0.0.1:{port}/m"])
def test_what_is_another_origin(canvass, server, write, other):
    """Another host name, another scheme: other origins, even at the same address and port."""
    origin = server(lambda r: r.reply(303, Location=other.format(port=origin.port)))
    result = canvass.run(write("job.lua", job()), write("t.lua", table({"us/m": origin.url("/m")})))
    assert result.status == 1 and len(origin.requests) == 1, result
    assert one(canvass)["class"] in ("config", "bad_response")


@pytest.mark.parametrize("status", [303, 307])
def test_a_trusted_origin_gets_no_credentials(canvass, server, write, status):
    friend = server(lambda r: r.reply(200, answer("from a friend")))
    origin = server(lambda r: r.reply(status, Location=friend.url("/result")))
    headers = {"Authorization": "Bearer 123", "X-Api-Key": "456", "Cookie": "a=b"}
    result = canvass.run(write("job.lua", job()), write("t.lua", table(
        {"us/m": origin.url("/m")}, headers=headers, origins=[friend.origin])))
    assert result.status == 0, result
    assert [r.method for r in friend.requests] == ["GET" if status == 303 else "POST"]
    for name, value in headers.items():
        assert origin.requests[0].headers[name] == value
        assert name not in friend.requests[0].headers
    assert b"123" not in str(friend.requests[0].headers).encode() + friend.requests[0].body


def test_the_own_origin_gets_its_credentials_on_every_hop(canvass, server, write):
    origin = server(chain_of(3))
    headers = {"Authorization": "Bearer 123"}
    result = canvass.run(write("job.lua", job()), write("t.lua", table({"us/m": origin.url("/m")}, headers=headers)))
    assert result.status == 0
    assert [r.headers["Authorization"] for r in origin.requests] == ["Bearer 123"] * 4


def test_back_from_the_trusted_origin(canvass, server, write):
    """A trusted result URL that sends to a third origin is followed no further."""
    stranger = server(lambda r: r.reply(200, answer()))
    friend = server(lambda r: r.reply(303, Location=stranger.url("/")))
    origin = server(lambda r: r.reply(303, Location=friend.url("/")))
    result = canvass.run(write("job.lua", job()), write("t.lua", table(
        {"us/m": origin.url("/m")}, origins=[friend.origin])))
    assert result.status == 1 and not stranger.requests
    assert one(canvass)["class"] == "config"


@pytest.mark.parametrize("location", ["", "http://", "http://[::1", "javascript:alert(1)", "ftp://127.0.0.1/",
                                      "http://127.0.0.1:99999/", "http://user:pw@127.0.0.1/", "\x01\x02"])
def test_a_location_that_leads_nowhere(canvass, server, write, location):
    origin = server(lambda r: r.reply(303, Location=location) if r.method == "POST" else r.reply(404))
    result = canvass.run(write("job.lua", job()), write("t.lua", table({"us/m": origin.url("/m")})))
    assert result.status == 1, result
    assert len(origin.asked("POST")) == 1
    assert one(canvass)["class"] in ("bad_response", "config", "not_found")


def test_moved_for_good_is_told_to_the_operator(canvass, server, write):
    origin = server(lambda r: r.reply(301, Location="/new"))
    result = canvass.run(write("job.lua", job()), write("t.lua", table({"us/m": origin.url("/m")})))
    assert result.status == 1 and len(origin.requests) == 1
    assert "/new" in one(canvass)["error"] and "region table" in one(canvass)["error"]


def test_the_result_url_is_on_disk_before_it_is_fetched(canvass, server, write, tmp_path):
    """Whoever gets the GET looks into the database: a crash at this instant loses nothing that was paid for."""
    seen = []

    def handle(request):
        if request.method == "POST":
            request.reply(303, Location="/m?call=1")
            return
        number = int(request.path.rsplit("=", 1)[1])
        seen.append((request.path, rows(tmp_path / "canvass.db", "SELECT result_url, hops FROM attempts")))
        request.reply(303, Location=f"/m?call={number + 1}") if number < 3 else request.reply(200, answer())
    origin = server(handle)
    result = canvass.run(write("job.lua", job()), write("t.lua", table({"us/m": origin.url("/m")})))
    assert result.status == 0, result
    assert [path for path, _ in seen] == ["/m?call=1", "/m?call=2", "/m?call=3"]
    for hops, (path, attempts) in enumerate(seen):
        assert attempts == [dict(result_url=origin.url(path), hops=hops)]


def test_permits_are_held_while_a_result_is_awaited(canvass, server, write):
    """The endpoint is as busy behind a result URL as before it."""
    def handle(request):
        if request.method == "POST":
            request.reply(303, Location="/result")
        else:
            time.sleep(0.05)
            request.reply(200, answer())
    origin = server(handle)
    result = canvass.run(write("job.lua", job(6, "free")), write("t.lua", table({"us/m": origin.url("/m")}, slots=2)))
    assert result.status == 0, result
    assert result.json["max_in_flight"] == 2 == origin.max_open
    order = [r.method for r in origin.requests]
    assert all(order[:n].count("POST") - order[:n].count("GET") <= 2 for n in range(len(order)))
