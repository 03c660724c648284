"""Server-sent events: what is told, what a reader that comes back gets, and what a slow one costs."""
import http.client
import json
import socket
import threading
import time

import pytest

from conftest import PATIENCE_S, wait_until
from daemon import Daemon
from helpers import answer, job, replies, table
from test_serve import daemon, held  # noqa: F401


class Reader:
    """Reads a stream in a thread; keeps its events as (id, type, data)."""

    def __init__(self, d, path="/api/v1/events", last=None):
        headers = {"Authorization": f"Bearer {Daemon.TOKEN}", **({"Last-Event-ID": last} if last else {})}
        self.connection = http.client.HTTPConnection("127.0.0.1", d.port, timeout=PATIENCE_S)
        self.connection.request("GET", path, headers=headers)
        self.answer = self.connection.getresponse()
        assert self.answer.status == 200 and self.answer.getheader("Content-Type") == "text/event-stream"
        self.events, self.ended = [], False
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        event = {}
        try:
            for line in self.answer:
                line = line.decode().rstrip("\n")
                if not line and "data" in event:
                    self.events.append((event["id"], event["event"], json.loads(event["data"])))
                if not line:
                    event = {}
                    continue
                name, _, value = line.partition(": ")
                event[name] = value
        except (OSError, http.client.HTTPException, ValueError, AttributeError):
            pass
        self.ended = True

    def of(self, kind):
        return [data for _, k, data in self.events if k == kind]

    def wait_for(self, condition):
        return wait_until(lambda: condition(self))

    def close(self):
        self.answer.fp.raw._sock.shutdown(socket.SHUT_RDWR)
        self.connection.close()


def test_a_job_is_told_from_start_to_end(daemon, server):  # noqa: F811
    upstream = server(replies(answer()))
    d = daemon(table({"us/m": upstream.url()}), jobs={"study.lua": job(3)})
    everything, other = Reader(d), Reader(d, "/api/v1/jobs/study-2/events")
    job_id = d.submit(script="study.lua")
    everything.wait_for(lambda r: any(j["state"] == "succeeded" for j in r.of("job")))
    last = everything.of("job")[-1]
    assert last["job_id"] == job_id and last["executions"]["succeeded"] == 3 and last["executions"]["planned"] == 3
    assert [b["question_num"] for b in everything.of("batch") if b["phase"] == "started"] == [1, 2, 3]
    d.wait_for(d.submit(script="study.lua"))
    other.wait_for(lambda r: any(j["state"] == "succeeded" for j in r.of("job")))
    assert {j["job_id"] for j in other.of("job")} == {"study-2"}


def test_who_comes_back_misses_nothing(daemon, server):  # noqa: F811
    upstream = server(replies(answer()))
    d = daemon(table({"us/m": upstream.url()}), jobs={"study.lua": job(2)})
    first = Reader(d)
    d.wait_for(d.submit(script="study.lua"))
    first.wait_for(lambda r: r.of("job") and r.of("job")[-1]["state"] == "succeeded")
    seen = [e[0] for e in first.events]
    assert len(set(seen)) == len(seen)
    first.close()
    d.wait_for(d.submit(script="study.lua"))
    again = Reader(d, last=seen[-1])
    again.wait_for(lambda r: r.of("job") and r.of("job")[-1]["state"] == "succeeded")
    assert {j["job_id"] for j in again.of("job")} == {"study-2"} and not again.of("reset")
    middle = Reader(d, last=seen[0])
    middle.wait_for(lambda r: len(r.events) >= len(seen) - 1)
    assert [e[0] for e in middle.events][:len(seen) - 1] == seen[1:]
    for stranger in ("0-1", "nonsense", seen[-1].split("-")[0] + "-99999999"):
        lost = Reader(d, last=stranger)
        lost.wait_for(lambda r: r.of("reset"))


def test_an_endpoint_that_fails_is_told_of(daemon, server):  # noqa: F811
    upstream = server(lambda r: r.reply(500, "broken"))
    d = daemon(table({"us/m": upstream.url()}, breaker=dict(failures=2, window="60s", cooldown="1s"),
                     retry=dict(attempts=3, base="1ms", cap="1ms")), jobs={"study.lua": job(3)})
    reader = Reader(d)
    job_id = d.submit(script="study.lua")
    reader.wait_for(lambda r: [e for e in r.of("endpoint") if e["what"] == "breaker_opened"])
    told = reader.of("endpoint")[0]
    assert told["endpoint"] == "us/m" and "500" in told["error"]
    state = d.get(f"/api/v1/jobs/{job_id}/endpoints").json["endpoints"][0]["live"]
    assert state["state"] in ("breaker_open", "given_up", "asking", "cold", "backing_off", "waiting")
    d.post(f"/api/v1/jobs/{job_id}/cancel")


def test_progress_is_the_same_live_and_from_rows(daemon, server):  # noqa: F811
    gate, reached = threading.Event(), threading.Event()

    def handle(request):
        if request.prompt == "question 3":
            reached.set()
            gate.wait(60)
        request.reply(400 if request.prompt == "question 2" else 200, answer())
    upstream = server(handle)
    d = daemon(table({"us/m": upstream.url(), "eu/m": upstream.url()}), jobs={"study.lua": job(5)})
    job_id = d.submit(script="study.lua")
    reached.wait(60)
    wait_until(lambda: d.job(job_id)["executions"]["failed"] == 2)
    page = d.get(f"/api/v1/jobs/{job_id}/questions?limit=2").json
    assert [(q["id"], q["planned"], q["succeeded"], q["failed"]) for q in page["questions"]] == [
        ("q1", 2, 2, 0), ("q2", 2, 0, 2)] and page["total"] == 5 and page["cursor"] == "2"
    live = d.get(f"/api/v1/jobs/{job_id}/endpoints").json["endpoints"]
    assert {e["live"]["state"] for e in live} <= {"asking", "cold"} and {e["live"]["in_flight"] for e in live} == {1}
    gate.set()
    d.wait_for(job_id)
    rest = d.get(f"/api/v1/jobs/{job_id}/questions?limit=3&cursor=2").json
    assert [(q["id"], q["position"], q["succeeded"]) for q in rest["questions"]] == [("q3", 3, 2), ("q4", 4, 2), ("q5", 5, 2)]
    assert rest["cursor"] is None
    ended = d.get(f"/api/v1/jobs/{job_id}/endpoints").json["endpoints"]
    assert [(e["endpoint"], e["planned"], e["succeeded"], e["failed"], e["live"]) for e in ended] == [
        (e["endpoint"], 5, 4, 1, None) for e in live]
    assert all(e["cold_answers"] + e["warm_answers"] == 4 and e["warm_mean_s"] > 0 for e in ended)
    found, cursor = [], None
    while cursor is not None or not found:
        page = d.get(f"/api/v1/jobs/{job_id}/attempts?limit=3" + (f"&cursor={cursor}" if cursor else "")).json
        found += page["attempts"]
        cursor = page["cursor"]
    assert len(found) == page["total"] == 10 and {a["endpoint"] for a in found} == {"us/m", "eu/m"}
    assert [a["question_id"] for a in found] == [f"q{n}" for n in range(1, 6) for _ in range(2)]


def test_readers_that_do_not_read_are_cut_off(daemon, server):  # noqa: F811
    """They cost a bounded amount of memory and nobody else's time."""
    upstream = server(replies(answer()))
    d = daemon(table({"us/m": upstream.url()}), jobs={"study.lua": job(300)})
    lazy = []
    for _ in range(300):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect(("127.0.0.1", d.port))
        s.sendall(f"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {Daemon.TOKEN}\r\n\r\n".encode())
        lazy.append(s)
    refused = d.get("/api/v1/events")
    assert refused.status == 503 and "256" in refused.json["detail"]
    done = d.wait_for(d.submit(script="study.lua"))
    assert done["executions"]["succeeded"] == 300
    for s in lazy:
        s.close()
    reader = wait_until(lambda: _try(lambda: Reader(d)))
    d.wait_for(d.submit(script="study.lua"))
    reader.wait_for(lambda r: r.of("job") and r.of("job")[-1]["state"] == "succeeded")


def _try(make):
    try:
        return make()
    except AssertionError:
        return None


def test_an_ending_daemon_ends_its_streams(daemon, server):  # noqa: F811
    d = daemon(table({"us/m": server(replies(answer())).url()}))
    reader = Reader(d)
    assert d.stop().status == 0
    wait_until(lambda: reader.ended)


def test_scripts_are_listed(daemon, server):  # noqa: F811
    d = daemon(table({"us/m": server(replies(answer())).url()}), jobs={"b.lua": job(1), "a.json": "{}", ".x.lua": "", "n.txt": ""})
    assert d.get("/api/v1/scripts").json == {"scripts": ["a.json", "b.lua"], "total": 2}
