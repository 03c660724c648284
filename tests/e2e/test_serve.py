"""The daemon: jobs over HTTP, side by side, over restarts."""
import json
import random
import socket
import sqlite3
import threading
import time

import pytest

from conftest import wait_until
from daemon import Daemon
from helpers import Raw, answer, job, questions, replies, table


@pytest.fixture
def daemon(canvass, write):
    """daemon(table's text, options..., jobs={name: text}) -> Daemon"""
    started = []

    def start(text, *args, jobs=None, **options):
        for name, source in (jobs or {}).items():
            write(f"jobs/{name}", source)
        (canvass.folder / "jobs").mkdir(exist_ok=True)
        path = text if hasattr(text, "exists") else write("regions.lua", text)
        started.append(Daemon(canvass, path, *args, jobs=canvass.folder / "jobs", **options))
        return started[-1]

    yield start
    for one in started:
        if one.process.popen.poll() is None:
            one.stop(9)


def held(gate):
    """A handler that answers once the gate is open."""
    def handle(request):
        gate.wait(60)
        request.reply(200, answer())
    return handle


def test_a_job_from_a_script(daemon, server):
    upstream = server(replies(answer("forty-two")))
    d = daemon(table({"us/m": upstream.url(), "eu/m": upstream.url()}), jobs={"study.lua": job(3)})
    reply = d.post("/api/v1/jobs", {"script": "study.lua", "settings": {"samples": 2}})
    assert reply.status == 202 and reply.json == {"job_id": "study-1", "state": "running", "changed": True}
    done = d.wait_for("study-1")
    assert done["state"] == "succeeded" and done["executions"]["succeeded"] == 12 and done["posts"] == 12
    found = d.executions("study-1", limit=5)
    assert [e["id"] for e in found] == [f"study-1.{n}" for n in range(1, 13)]
    assert {e["answer"] for e in found} == {"forty-two"}
    only = d.executions("study-1", question_id="q2", region="eu")
    assert [(e["question_id"], e["region"], e["sample"]) for e in only] == [("q2", "eu", 1), ("q2", "eu", 2)]
    assert len(upstream.asked()) == 12
    one = d.get("/api/v1/executions/study-1.4").json
    assert one["id"] == "study-1.4" and one["prompt"] == "question 1"
    assert [a["number"] for a in one["attempts_made"]] == [1] and one["attempts_made"][0]["http_status"] == 200
    listed = d.get("/api/v1/jobs").json
    assert listed["total"] == 1 and listed["cursor"] is None and listed["jobs"][0]["job_id"] == "study-1"


def test_a_job_from_a_specification(daemon, server, write):
    upstream = server(replies(answer()))
    listed = write("questions.jsonl", "\n".join(json.dumps(q) for q in questions(4)))
    d = daemon(table({"us/m": upstream.url()}), "--questions", listed)
    asked = {"id": "spec", "questions": ["q1", "q3"], "models": [{"id": "m", "regions": ["us"]}]}
    done = d.wait_for(d.submit(specification=asked))
    assert done["executions"]["planned"] == 2 and done["name"] == "spec"
    whole = dict(asked, questions=questions(3))
    assert d.wait_for(d.submit(specification=whole))["executions"]["succeeded"] == 3
    unknown = d.post("/api/v1/jobs", {"specification": dict(asked, questions=["q9"])})
    assert unknown.status == 422 and "q9" in unknown.json["detail"]


def test_what_is_wrong_with_a_submission(daemon, server, write):
    upstream = server(replies(answer()))
    write("outside.lua", job(1))
    d = daemon(table({"us/m": upstream.url()}), jobs={"study.lua": job(1), "bad.lua": "return { nam = 1 }"})
    for body, status, words in [
            ("{", 400, "not JSON"), ("[]", 400, "object"), ({}, 400, "script"), ({"script": 1}, 400, "script"),
            ({"script": "study.lua", "specification": {}}, 400, "one of them"), ({"scrip": "study.lua"}, 400, "script"),
            ({"script": "nowhere.lua"}, 422, "nowhere.lua"), ({"script": "../outside.lua"}, 422, "outside.lua"),
            ({"script": "/etc/passwd"}, 422, "passwd"), ({"script": "bad.lua"}, 422, "bad.lua"),
            ({"script": "study.lua", "settings": {"samples": "none"}}, 422, "samples"),
            ({"script": "study.lua", "settings": {"colour": "red"}}, 422, "colour"),
            ({"script": "study.lua", "settings": {"samples": [1]}}, 400, "samples"),
            ({"script": "study.lua", "policy": "nothing"}, 422, "nothing"),
            ({"source": job(1)}, 403, "--allow-scripts"),
            ({"specification": {"questions": ["q1"]}}, 422, "q1")]:
        reply = d.post("/api/v1/jobs", body)
        assert reply.status == status and words in reply.json["detail"], (body, reply)
        assert reply.headers["content-type"] == "application/problem+json" and reply.json["status"] == status
    assert d.get("/api/v1/jobs").json["total"] == 0 and not upstream.asked()


def test_scripts_of_clients_if_the_operator_says_so(daemon, server):
    upstream = server(replies(answer()))
    d = daemon(table({"us/m": upstream.url()}), "--allow-scripts")
    assert d.wait_for(d.submit(source=job(2)))["executions"]["succeeded"] == 2
    reading = d.post("/api/v1/jobs", {"source": 'return { questions = canvass.jsonl("/etc/passwd") }'})
    assert reading.status == 422 and not any("root" in str(reading.json[k]) for k in reading.json)


def test_the_same_key_is_the_same_job(daemon, server):
    upstream = server(replies(answer()))
    text = table({"us/m": upstream.url()})
    d = daemon(text, jobs={"study.lua": job(2)})
    key = {"Idempotency-Key": "order-66"}
    replies_ = []
    def submit():
        replies_.append(d.post("/api/v1/jobs", {"script": "study.lua"}, headers=key))
    threads = [threading.Thread(target=submit) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(r.status for r in replies_) == [200] * 7 + [202] and {r.json["job_id"] for r in replies_} == {"study-1"}
    d.wait_for("study-1")
    d.stop()
    d = daemon(text, jobs={})
    again = d.post("/api/v1/jobs", {"script": "study.lua"}, headers=key)
    assert again.status == 200 and again.json == {"job_id": "study-1", "changed": False}
    other = d.post("/api/v1/jobs", {"script": "study.lua", "policy": "free"}, headers=key)
    assert other.status == 422 and "order-66" in other.json["detail"]
    assert len(upstream.asked()) == 2


def test_jobs_wait_in_line_and_can_be_cancelled_there(daemon, server):
    gate = threading.Event()
    upstream = server(held(gate))
    d = daemon(table({"us/m": upstream.url()}), "--at-once", "1", jobs={"study.lua": job(1)})
    first, second, third = (d.submit(script="study.lua") for _ in range(3))
    assert d.job(first)["state"] == "running" and d.job(second)["state"] == d.job(third)["state"] == "queued"
    reply = d.post(f"/api/v1/jobs/{second}/cancel", {"reason": "changed my mind"})
    assert reply.status == 200 and reply.json["changed"] is True
    assert d.wait_for(second)["state"] == "cancelled"
    assert d.post(f"/api/v1/jobs/{second}/cancel").json == {"job_id": second, "state": "cancelled", "changed": False}
    gate.set()
    assert d.wait_for(third)["state"] == d.wait_for(first)["state"] == "succeeded"
    assert len(upstream.asked()) == 2
    gone = d.post("/api/v1/jobs/nothing-1/cancel")
    assert gone.status == 404 and "nothing-1" in gone.json["detail"]


def test_cancelling_closes_the_sockets(daemon, server):
    upstream = server(lambda request: request.hang())
    d = daemon(table({"us/m": upstream.url()}), jobs={"study.lua": job(2)})
    job_id = d.submit(script="study.lua")
    wait_until(lambda: upstream.open == 1)
    assert d.post(f"/api/v1/jobs/{job_id}/cancel", {"reason": "enough", "author": "grace"}).json["changed"]
    wait_until(lambda: upstream.open == 0)
    assert upstream.requests[0].aborted
    done = d.wait_for(job_id)
    assert done["state"] == "cancelled" and done["executions"]["cancelled"] == 2


def test_a_restart_loses_nothing_and_pays_nothing_twice(daemon, server, canvass):
    gate = threading.Event()
    upstream = server(held(gate))
    text = table({"us/m": upstream.url(), "eu/m": upstream.url()})
    d = daemon(text, "--at-once", "1", jobs={"study.lua": job(3)})
    first, second = d.submit(script="study.lua"), d.submit(script="study.lua")
    wait_until(lambda: upstream.open == 2)
    d.process.signal(15)
    d.process.wait_for("ending: nothing new is sent")
    refused = d.post("/api/v1/jobs", {"script": "study.lua"})
    assert refused.status == 503 and d.get("/ready").status == 503
    gate.set()
    assert d.process.wait(60).status == 0
    assert len(upstream.asked()) == 2, "what was in flight has ended, and nothing else was sent"
    states = canvass.rows("SELECT id, state FROM jobs ORDER BY id")
    assert [s["state"] for s in states] == ["running", "queued"]
    d = daemon(text, "--at-once", "1")
    assert d.wait_for(first)["state"] == d.wait_for(second)["state"] == "succeeded"
    assert len(upstream.asked()) == 12


def test_a_killed_daemon_goes_on(daemon, server, canvass):
    upstream = server(replies(answer()))
    text = table({"us/m": upstream.url(), "eu/m": upstream.url()}, retry=dict(attempts=4, base="5ms", unknown=True))
    d = daemon(text, jobs={"study.lua": job(200)})
    jobs = [d.submit(script="study.lua") for _ in range(3)]
    wait_until(lambda: len(upstream.asked()) > 100)
    d.stop(9)
    d = daemon(text)
    for job_id in jobs:
        assert d.wait_for(job_id)["executions"]["succeeded"] == 400
    assert canvass.rows("SELECT count(*) AS n FROM executions WHERE status = 'succeeded'")[0]["n"] == 1200


def test_two_signals_do_not_wait(daemon, server, canvass):
    upstream = server(lambda request: request.hang())
    text = table({"us/m": upstream.url()})
    d = daemon(text, jobs={"study.lua": job(2)})
    d.submit(script="study.lua")
    wait_until(lambda: upstream.open == 1)
    d.process.signal(15)
    d.process.wait_for("ending: nothing new is sent")
    d.process.signal(15)
    assert d.process.wait(60).status == 0
    upstream.handler = replies(answer())
    d = daemon(text)
    done = d.wait_for("study-1")
    assert done["state"] == "partial" and done["executions"] == {**done["executions"], "succeeded": 1, "failed": 1}
    assert d.executions("study-1", status="failed")[0]["class"] == "unknown_outcome"


def test_resume_and_retry(daemon, server):
    wrong = threading.Event()
    wrong.set()
    upstream = server(lambda r: r.reply(400 if wrong.is_set() and "2" in r.prompt else 200, answer()))
    d = daemon(table({"us/m": upstream.url(), "eu/m": upstream.url()}), jobs={"study.lua": job(3)})
    job_id = d.submit(script="study.lua")
    assert d.wait_for(job_id)["executions"]["failed"] == 2
    assert d.post(f"/api/v1/jobs/{job_id}/retry", {"question": "q2"}).status == 400
    assert d.post("/api/v1/jobs/nothing-1/retry").status == 404
    wrong.clear()
    failed = d.executions(job_id, status="failed")
    assert d.post(f"/api/v1/executions/{failed[0]['id']}/retry").status == 202
    assert wait_until(lambda: d.wait_for(job_id)["executions"]["failed"] == 1)
    assert d.executions(job_id, status="failed")[0]["id"] == failed[1]["id"]
    assert d.post(f"/api/v1/jobs/{job_id}/retry", {"region": failed[1]["region"]}).status == 202
    wait_until(lambda: d.wait_for(job_id)["state"] == "succeeded")
    assert len(upstream.asked()) == 8


def test_a_job_of_the_command_line_is_seen_and_cancelled(daemon, server, canvass, write):
    upstream = server(lambda request: request.hang())
    text = table({"us/m": upstream.url()})
    d = daemon(text)
    run = canvass.start_run(write("job.lua", job(1)), canvass.folder / "regions.lua")
    wait_until(lambda: upstream.open == 1)
    assert d.job("study-1")["state"] == "running"
    refused = d.post("/api/v1/jobs/study-1/resume")
    assert refused.status == 409 and "process" in refused.json["detail"]
    assert d.post("/api/v1/jobs/study-1/cancel").json["changed"] is True
    assert run.wait().status == 1 and d.wait_for("study-1")["state"] == "cancelled"


def test_pages_and_what_is_wrong_with_a_query(daemon, server):
    upstream = server(replies(answer("x" * 3_000_000), answer()))
    d = daemon(table({"us/m": upstream.url()}, max_body=8 << 20), jobs={"study.lua": job(7)})
    job_id = d.submit(script="study.lua")
    d.wait_for(job_id)
    assert len(d.executions(job_id)) == 7
    for query in ("limit=0", "limit=1001", "limit=x", "cursor=-1", "status=done", "class=none"):
        reply = d.get(f"/api/v1/jobs/{job_id}/executions?{query}")
        assert reply.status == 400 and query.split("=")[0] in reply.json["detail"], reply
    assert d.get("/api/v1/jobs/nothing-1").status == 404
    assert d.get("/api/v1/jobs/nothing-1/executions").status == 404
    assert d.get("/api/v1/executions/nothing").status == 404
    assert d.get(f"/api/v1/executions/{job_id}.8").status == 404
    assert d.get("/api/v1/elsewhere").status == 404
    wrong = d.request("DELETE", "/api/v1/jobs")
    assert wrong.status == 405 and set(wrong.headers["allow"].split(", ")) == {"GET", "POST"}
    jobs = [d.submit(script="study.lua") for _ in range(4)]
    for one in jobs:
        d.wait_for(one)
    page = d.get("/api/v1/jobs?limit=3").json
    assert [j["job_id"] for j in page["jobs"]] == ["study-5", "study-4", "study-3"] and page["total"] == 5
    rest = d.get(f"/api/v1/jobs?limit=3&cursor={page['cursor']}").json
    assert [j["job_id"] for j in rest["jobs"]] == ["study-2", "study-1"] and rest["cursor"] is None


def test_health(daemon, server):
    upstream = server(replies(answer()))
    d = daemon(table({"us/m": upstream.url(), "eu/m": dict(url=upstream.url(), paused="no quota")}), "--allow-scripts")
    health = d.get("/health", token=None)
    assert health.status == 200 and health.json["status"] == "ok" and health.json["services"]["store"]["status"] == "ok"
    states = {e["endpoint"]: (e["state"], e["detail"]) for e in health.json["endpoints"]}
    assert states == {"us/m": ("idle", None), "eu/m": ("paused", "no quota")}
    assert d.get("/ready", token=None).json == {"ready": True}
    assert [e["last"] for e in health.json["endpoints"]] == [None, None]
    d.wait_for(d.submit(source=job(1, models=["m"], regions=["us"])))
    last = {e["endpoint"]: e["last"] for e in d.get("/health").json["endpoints"]}
    assert last["us/m"]["status"] == "succeeded" and last["us/m"]["at"] > 0 and last["eu/m"] is None


def test_some_of_a_job_is_cancelled(daemon, server):
    gate = threading.Event()
    upstream = server(held(gate))
    d = daemon(table({"us/m": upstream.url("/us"), "eu/m": upstream.url("/eu")}), jobs={"study.lua": job(5)})
    job_id = d.submit(script="study.lua")
    wait_until(lambda: upstream.open == 2)
    cell = d.post(f"/api/v1/jobs/{job_id}/cancel", {"question_id": "q3", "region": "us", "reason": "not that one"}).json
    assert cell["changed"] and cell["cancelled"] == 1 and cell["state"] == "running"
    assert d.post(f"/api/v1/executions/{job_id}.1/cancel").json["cancelled"] == 1
    assert d.post(f"/api/v1/jobs/{job_id}/cancel", {"region": "eu"}).json["cancelled"] == 4
    assert d.post(f"/api/v1/jobs/{job_id}/cancel", {"region": "mars"}).json["cancelled"] == 0
    gate.set()
    done = d.wait_for(job_id)
    assert done["state"] == "partial" and done["executions"]["cancelled"] == 6 and done["executions"]["succeeded"] == 4
    ended = {e["id"]: (e["status"], e["error"]) for e in d.executions(job_id)}
    assert ended[f"{job_id}.6"] == ("cancelled", "not that one")
    assert d.post(f"/api/v1/jobs/{job_id}/resume").status == 202
    assert wait_until(lambda: d.wait_for(job_id)["executions"]["succeeded"] == 10)


@pytest.mark.parametrize("limits", [dict(limits=dict(in_flight=2)), dict(region=dict(us=dict(in_flight=2)))])
def test_jobs_get_equal_shares_of_what_they_share(daemon, server, limits):
    """One job has eight endpoints in the region, the other one: neither gets more of its permits."""
    order, lock = [], threading.Lock()

    def handle(request):
        with lock:
            order.append(request.headers["X-Trace-Id"].rsplit("-", 1)[0])
        request.reply(200, answer())
    upstream = server(handle)
    models = {f"us/m{n}": dict(url=upstream.url(), slots=50) for n in range(8)}
    d = daemon(table(models, **limits), jobs={"many.lua": job(60, name="many", policy="free"),
                                              "few.lua": job(60, name="few", models=["m0"], policy="free")})
    d.submit(script="many.lua")
    d.submit(script="few.lua")
    d.wait_for("few-1")
    with lock:
        first = order.index(next(o for o in order if o.startswith("few")))
        last = len(order) - order[::-1].index(next(o for o in order[::-1] if o.startswith("few")))
        between = order[first:last]
    few = sum(o.startswith("few") for o in between)
    assert few == 60 and 0.4 < few / len(between) < 0.75, (few, len(between))
    d.wait_for("many-1")


def test_what_the_service_manager_is_told(daemon, server, tmp_path):
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(path))
        told.settimeout(60)
        d = daemon(table({"us/m": server(replies(answer())).url()}), env={"NOTIFY_SOCKET": str(path)})
        assert told.recv(100) == b"READY=1"
        d.process.signal(15)
        assert told.recv(100) == b"STOPPING=1"
        assert d.process.wait(60).status == 0


def test_a_port_that_is_taken(daemon, server, canvass):
    d = daemon(table({"us/m": server(replies(answer())).url()}))
    second = canvass("serve", "--regions", "regions.lua", "--db", "other.db", "--listen", f"127.0.0.1:{d.port}")
    assert second.status != 0 and "in use" in second.err and str(d.port) in second.err, second


def test_a_job_that_cannot_be_gone_on_with_is_told_and_the_others_go_on(daemon, server, canvass, write):
    """Its script needs a secret setting of the machine; mended, it is resumed."""
    gate = threading.Event()
    upstream = server(held(gate))
    text = table({"us/m": upstream.url()})
    d = daemon(text, "--questions", write("questions.jsonl", json.dumps(dict(id="q1", prompt="one"))),
               jobs={"study.lua": job(2)})
    first, second = d.submit(script="study.lua"), d.submit(script="study.lua")
    wait_until(lambda: upstream.open == 1)
    d.stop(9)
    gate.set()
    with sqlite3.connect(canvass.folder / "canvass.db") as connection:
        connection.execute("UPDATE job_files SET text = 'return {' WHERE job_id = ?", [first])
    connection.close()
    d = daemon(canvass.folder / "regions.lua")
    d.process.wait_for("cannot be gone on with")
    assert d.wait_for(second)["executions"]["succeeded"] >= 1
    refused = d.post(f"/api/v1/jobs/{first}/resume")
    assert refused.status == 422 and "study.lua" in refused.json["detail"]
    assert d.job(first)["owner_alive"] is False
    assert d.post(f"/api/v1/jobs/{first}/cancel").json["changed"] is True
    canvass.sound = False


def test_a_report_does_not_keep_anybody_waiting(daemon, server, canvass):
    upstream = server(lambda r: r.reply(200, answer("I cannot help with that." if "/us" in r.path and "2" in r.prompt else
                                                    "It is forty-two.")))
    d = daemon(table({"us/m": upstream.url("/us"), "eu/m": upstream.url("/eu")}), jobs={
        "study.lua": job(3, samples=8), "failing.lua": job(1, score=Raw("function() error 'no idea' end"))})
    job_id = d.submit(script="study.lua")
    d.wait_for(job_id)
    first = d.get(f"/api/v1/jobs/{job_id}/report")
    assert first.status == 200, first
    assert first.json == canvass("report", job_id, "--json").json
    assert first.json["verdict"]["text"] and first.json["job_id"] == job_id
    assert d.get(f"/api/v1/jobs/{job_id}/report?seed=7").json["seed"] == 7
    for strange in ("--help", "-x", "%2e%2e", "a%00b", "x;id"):
        assert d.get(f"/api/v1/jobs/{strange}/report").status == 404
    failing = d.submit(script="failing.lua")
    d.wait_for(failing)
    none = d.get(f"/api/v1/jobs/{failing}/report")
    assert none.status == 503 and "no report was made: " in none.json["detail"] and "no idea" in none.json["detail"], none
    for _ in range(5):  # who goes away takes the process along
        with socket.create_connection(("127.0.0.1", d.port)) as s:
            s.sendall(f"GET /api/v1/jobs/{job_id}/report HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    wait_until(lambda: d.get(f"/api/v1/jobs/{job_id}/report").status == 200)
    assert d.stop().status == 0


def test_kills_at_any_moment(daemon, server, canvass):
    """With submissions, edits and cancels under way: each start goes on with what there is, and in the end all is asked."""
    upstream = server(replies(answer()))
    source = table({"us/m": dict(url=upstream.url(), slots=3), "eu/m": upstream.url()},
                   retry=dict(attempts=4, base="5ms", unknown=True))
    random_, keys = random.Random(5), [f"key-{n}" for n in range(8)]
    path = canvass.folder / "regions.lua"
    path.write_text(source)
    for key in keys:
        d = daemon(path, "--at-once", "2", jobs={"study.lua": job(150)})
        end = time.monotonic() + random_.uniform(0, 0.3)
        while time.monotonic() < end:
            try:
                d.post("/api/v1/jobs", {"script": "study.lua"}, headers={"Idempotency-Key": key})
                d.request("PUT", "/api/v1/regions", {"source": f"{source}\n-- {random_.random()}\n"})
                d.post(f"/api/v1/endpoints/us/m/{random_.choice(['pause', 'resume'])}")
            except OSError:
                break
        d.stop(9)
    d = daemon(path)
    d.post("/api/v1/endpoints/us/m/resume")
    for key in keys:
        d.post("/api/v1/jobs", {"script": "study.lua"}, headers={"Idempotency-Key": key})
    listed = wait_until(lambda: (jobs := d.get("/api/v1/jobs").json["jobs"]) and
                        all(j["state"] == "succeeded" for j in jobs) and jobs)
    assert len(listed) == len(keys) and all(j["executions"]["succeeded"] == 300 for j in listed)
    assert d.get("/health").json["status"] == "ok" and d.stop().status == 0


def test_the_report_as_a_page(daemon, server):
    origin = server(lambda r: r.reply(200, answer("4 <script>x</script>")))
    d = daemon(table({f"{r}/a": origin.url(f"/{r}") for r in ("us", "eu")}), jobs={"study.lua": job(2)})
    job_id = d.submit(script="study.lua")
    d.wait_for(job_id)
    reply = d.get(f"/api/v1/jobs/{job_id}/report?format=html")
    assert reply.status == 200 and reply.headers["content-type"].startswith("text/html")
    assert "script-src" not in reply.headers["content-security-policy"]
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    page = reply.body.decode()
    assert "do the answers differ by region?" in page and "<script" not in page
    assert d.get(f"/api/v1/jobs/{job_id}/report?format=pdf").status == 400
    assert d.get(f"/api/v1/jobs/{job_id}/report").json["job_id"] == job_id
