"""What the tests say to canvass: Lua tables, jobs, region tables; and a small HTTP server that does as a test says."""
import http.server
import json
import select
import socket
import struct
import threading
import time
import traceback


class Raw(str):
    """Lua text that stands for itself."""


def lua(value):
    """A Python value as Lua text."""
    if isinstance(value, Raw):
        return str(value)
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return '"' + "".join(c if 32 <= ord(c) < 127 and c not in '"\\' else
                             "".join(f"\\{b:03d}" for b in c.encode()) for c in value) + '"'
    if isinstance(value, dict):
        return "{ " + ", ".join(f"[{lua(k)}] = {lua(v)}" for k, v in value.items() if v is not None) + " }"
    return "{ " + ", ".join(lua(v) for v in value) + " }"


def questions(count):
    return [dict(id=f"q{n}", prompt=f"question {n}") for n in range(1, count + 1)]


def job(count=1, policy=None, **keys):
    """A job script: `count` questions q1, q2, ..., or `questions`."""
    keys.setdefault("name", "study")
    keys.setdefault("questions", questions(count))
    if policy:
        keys["policy"] = Raw(f'require("canvass.policy").{policy}')
    return "return " + lua(keys)


QUICK = dict(attempts=4, base="5ms", cap="20ms")


def table(endpoints, limits=None, groups=None, region=None, **defaults):
    """A region table: { "us/m": URL or keys }. Deadlines that no slow machine meets, and quick retries."""
    usual = dict(deadline="300s", hop="200s", connect="20s", breaker=False, warm=False, poll="5ms", retry=QUICK)
    usual.update(defaults)
    regions = {}
    for name, keys in endpoints.items():
        region_id, model_id = name.split("/", 1)
        keys = dict(url=keys) if isinstance(keys, str) else keys
        regions.setdefault(region_id, dict((region or {}).get(region_id, {}), models={}))["models"][model_id] = keys
    return "return " + lua(dict(defaults=usual, limits=limits, groups=groups, regions=regions))


def answer(text="an answer", **keys):
    """What a modal endpoint says when all is well."""
    return dict(success=True, response=text, **keys)


class Request:
    def __init__(self, handler, body):
        self.handler, self.body = handler, body
        self.method, self.path, self.headers = handler.command, handler.path, handler.headers
        self.at, self.ended_at, self.aborted = time.monotonic(), None, False

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def prompt(self):
        return self.json["prompt"]

    def reply(self, status=200, body=b"", **headers):
        """`body` may be a dict (sent as JSON). Header names: Retry_After="5" is Retry-After: 5."""
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
            headers.setdefault("Content_Type", "application/json")
        elif isinstance(body, str):
            body = body.encode()
        headers.setdefault("Content_Length", str(len(body)))
        self.handler.send_response(status)
        for name, value in headers.items():
            self.handler.send_header(name.replace("_", "-"), value)
        self.handler.end_headers()
        self.handler.wfile.write(body)

    def raw(self, data):
        """These bytes and no more, then the connection is closed."""
        self.handler.wfile.write(data)
        self.handler.close_connection = True

    def reset(self):
        """The connection is torn down without an answer."""
        self.handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.handler.close_connection = True

    def hang(self, timeout=60):
        """No answer. Returns when the client has gone, or the server is being closed."""
        end = time.monotonic() + timeout
        while time.monotonic() < end and not self.handler.server.owner.closing:
            ready, _, _ = select.select([self.handler.connection], [], [], 0.02)
            if ready:
                try:
                    gone = self.handler.connection.recv(1, socket.MSG_PEEK) == b""
                except ConnectionError:
                    gone = True
                if gone:
                    self.aborted = True
                    break
        self.handler.close_connection = True


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # one packet for an answer

    def serve(self):
        owner = self.server.owner
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(self, body)
        with owner.lock:
            owner.requests.append(request)
            owner.open += 1
            owner.max_open = max(owner.max_open, owner.open)
        try:
            owner.handler(request)
            self.wfile.flush()
        except (BrokenPipeError, ConnectionError):
            request.aborted = True
            self.close_connection = True
        except Exception:  # the test must hear of it
            owner.faults.append(traceback.format_exc())
            self.close_connection = True
        finally:
            request.ended_at = time.monotonic()
            with owner.lock:
                owner.open -= 1

    do_GET = do_POST = do_PUT = do_HEAD = serve

    def log_message(self, *args):
        pass


class Listener(http.server.ThreadingHTTPServer):
    request_queue_size = 512
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # a client that went away, or one that did not like the certificate


class Server:
    """handler(request) decides what each request gets. Counts and keeps what came."""

    def __init__(self, handler, tls=None):
        self.handler, self.requests, self.faults = handler, [], []
        self.lock, self.open, self.max_open, self.closing = threading.Lock(), 0, 0, False
        self.httpd = Listener(("127.0.0.1", 0), Handler)
        self.httpd.owner = self
        if tls:
            self.httpd.socket = tls.wrap_socket(self.httpd.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.httpd.server_address[1]
        self.origin = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        threading.Thread(target=self.httpd.serve_forever, args=(0.02,), daemon=True).start()

    def url(self, path="/"):
        return self.origin + path

    def asked(self, method="POST", path=None):
        with self.lock:
            return [r for r in self.requests if r.method == method and (path is None or r.path == path)]

    def close(self):
        self.closing = True
        self.httpd.shutdown()
        self.httpd.server_close()


def replies(*sequence):
    """A handler that gives each request the next of these: a dict is an answer, a function is called with the request.

    The last one is given for ever."""
    lock, state = threading.Lock(), [0]

    def handle(request):
        with lock:
            what = sequence[min(state[0], len(sequence) - 1)]
            state[0] += 1
        if callable(what):
            what(request)
        else:
            request.reply(200, what)
    return handle


def always(status=200, body=b"", **headers):
    return lambda request: request.reply(status, body, **headers)
