"""/metrics: in the format, and right."""
import json
import re
import threading

from conftest import ROOT, wait_until
from helpers import answer, job, table
from test_serve import daemon  # noqa: F401


def parse(text):
    """{(name, labels): value}; what is not in the format fails."""
    values, types, helps = {}, {}, set()
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name = line.split()[2]
            assert name not in helps
            helps.add(name)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            types[name] = kind
        else:
            m = re.fullmatch(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\]|\\.)*",?)*)\})? ([-+.\deE]+|nan|NaN|inf)', line)
            assert m, line
            base = re.sub(r"_(bucket|sum|count)$", "", m[1])
            assert m[1] in types or types.get(base) == "histogram", line
            labels = tuple(sorted(re.findall(r'([a-z_]+)="((?:[^"\\]|\\.)*)"', m[2] or "")))
            assert (m[1], labels) not in values, line
            values[m[1], labels] = float(m[3])
    assert set(types) == helps
    return values


def test_figures(daemon, server):  # noqa: F811
    gate, reached = threading.Event(), threading.Event()

    def handle(request):
        if request.method == "GET":
            request.reply(200, answer())
        elif request.prompt == "question 2":
            request.reply(303, b"", Location="/result")
        elif request.prompt == "question 4":
            reached.set()
            gate.wait(60)
            request.reply(200, answer())
        else:
            request.reply(400 if request.prompt == "question 3" else 200, answer())
    upstream = server(handle)
    d = daemon(table({"us/m": upstream.url(), "eu/a:b": dict(url=upstream.url(), paused="later")}), "--at-once", "1",
               jobs={"study.lua": job(4, models=["m"])})
    d.submit(script="study.lua")
    d.submit(script="study.lua")
    reached.wait(60)
    now = parse(d.get("/metrics", token=None).body.decode())
    us = ("endpoint", "us/m")
    assert now["canvass_posts_total", (us,)] == 4 and now["canvass_hops_total", (us,)] == 1
    assert now["canvass_executions_total", (us, ("status", "succeeded"))] == 2
    assert now["canvass_failures_total", (("class", "http_client"), us)] == 1
    assert now["canvass_permits_used", (us,)] == now["canvass_permits_limit", (us,)] == 1
    assert now["canvass_endpoint_paused", (("endpoint", "eu/a:b"),)] == 1
    assert now["canvass_jobs", (("state", "running"),)] == now["canvass_jobs", (("state", "queued"),)] == 1
    assert now["canvass_queue_age_seconds", ()] > 0 and now["canvass_in_flight", ()] == 1
    assert now["canvass_batch_duration_seconds_count", ()] == 3 and now["canvass_batch_gap_seconds_count", ()] == 3
    assert now["canvass_execution_duration_seconds_bucket", (us, ("le", "+Inf"))] == 2
    assert ("canvass_execution_duration_seconds_bucket", (us, ("le", "900"))) in now
    gate.set()
    d.wait_for("study-2")
    wait_until(lambda: parse(d.get("/metrics").body.decode())["canvass_jobs_ended_total", (("state", "partial"),)] == 2)
    end = parse(d.get("/metrics").body.decode())
    assert end["canvass_store_lag_seconds", ()] == 0 and end["canvass_posts_total", (us,)] == 8
    assert end["canvass_http_replies_total", (("code", "200"),)] > 0
    assert end["canvass_posts_per_answer", ()] == 8 / 6


def test_the_grafana_dashboard_asks_for_what_there_is(daemon, server):  # noqa: F811
    d = daemon(table({"us/m": server(lambda r: r.reply(200, answer())).url()}), jobs={"study.lua": job(1)})
    d.wait_for(d.submit(script="study.lua"))
    told = d.get("/metrics").body.decode()
    dashboard = json.loads((ROOT / "examples/grafana-dashboard.json").read_text())
    asked = set(re.findall(r"canvass_\w+", " ".join(t["expr"] for p in dashboard["panels"] for t in p["targets"])))
    assert len(asked) > 10
    for name in asked:
        assert re.search(rf"^# TYPE {re.sub('_bucket$', '', name)} ", told, re.M), name
