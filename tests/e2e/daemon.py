"""A canvass daemon that is running, and requests to it."""
import http.client
import json

from conftest import wait_until


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.body[:2000]!r}"


class Daemon:
    TOKEN = "a-token-of-the-tests"

    def __init__(self, canvass, table, *args, env=None, jobs=None, db="canvass.db"):
        self.folder = canvass.folder
        port_file = self.folder / "serve.port"
        port_file.unlink(missing_ok=True)
        options = ["--jobs", jobs] if jobs else []
        self.process = canvass.start("serve", "--regions", table, "--db", db, "--listen", "127.0.0.1:0", "--port-file",
                                     port_file, "--log", "json", *options, *args,
                                     env={"CANVASS_TOKEN": self.TOKEN, **(env or {})})
        self.port = None
        wait_until(lambda: port_file.exists() and port_file.read_text() or self.process.popen.poll() is not None)
        assert port_file.exists(), self.process.wait()
        self.port = int(port_file.read_text())

    def request(self, method, path, body=None, token=TOKEN, headers=None, timeout=60):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        sent = dict(headers or {})
        if token:
            sent.setdefault("Authorization", f"Bearer {token}")
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, body=None, **options):
        return self.request("POST", path, body, **options)

    def submit(self, **body):
        reply = self.post("/api/v1/jobs", body)
        assert reply.status == 202, reply
        return reply.json["job_id"]

    def job(self, job_id):
        reply = self.get(f"/api/v1/jobs/{job_id}")
        assert reply.status == 200, reply
        return reply.json

    def wait_for(self, job_id, *states, timeout=60):
        states = states or ("succeeded", "partial", "failed", "cancelled", "timed_out")
        return wait_until(lambda: (job := self.job(job_id)) and job["state"] in states and job, timeout,
                          f"{job_id} did not become {states}")

    def executions(self, job_id, **filters):
        """All pages."""
        found, cursor = [], None
        while True:
            query = "&".join(f"{k}={v}" for k, v in {**filters, **({"cursor": cursor} if cursor else {})}.items())
            page = self.get(f"/api/v1/jobs/{job_id}/executions?{query}").json
            found += page["executions"]
            cursor = page["cursor"]
            if cursor is None:
                assert page["total"] == len(found)
                return found

    def stop(self, signal=15, timeout=60):
        self.process.signal(signal)
        return self.process.wait(timeout)
