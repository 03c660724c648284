"""The live table on a terminal: never wider or taller than it, in place, and left in order."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
import unicodedata

import pytest

from conftest import BINARY, check_sanitizers, clean_environment
from helpers import answer, job, replies, table

SLOW = dict(seed=1, defaults=dict(cold=[1, 1], service=[100, 300], redirect_after=False, queue=10),
            regions={"us": {"llama3.2-1b": {}}, "eu": {"llama3.2-1b": {}, "mistral-7b": {}},
                     "asia": {"llama3.2-1b": {}, "a-model-with-a-rather-long-name": {}}})
FRAME = "\x1b[J"  # each begins by clearing what the one before left
SEQUENCE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b(.)", re.S)


class Screen:
    """As much of a terminal as canvass uses; whatever else it sends fails the test."""

    def __init__(self, columns, rows):
        self.columns, self.rows = columns, rows
        self.lines, self.row, self.column, self.cursor = [""], 0, 0, True
        self.up, self.wrapped = 0, []

    def put(self, c):
        if unicodedata.combining(c):
            return
        width = 2 if unicodedata.east_asian_width(c) in "WF" else 1
        if self.column + width > self.columns and not re.match(r"20\d\d-", self.lines[self.row]):
            self.wrapped.append(self.lines[self.row])  # a log line above the table may be as long as it is
        line = self.lines[self.row].ljust(self.column)
        self.lines[self.row] = line[:self.column] + c + line[self.column + 1:]
        self.column += width

    def control(self, arguments, name):
        count = int(arguments or 1) if arguments.isdigit() or not arguments else 0
        if name == "A":
            self.up = max(self.up, count)
            assert count < self.rows, "up beyond the top"
            self.row = max(0, self.row - count)
        elif name == "B":
            self.row += count
        elif name == "G":
            self.column = count - 1
        elif name == "K":
            self.lines[self.row] = self.lines[self.row][:self.column]
        elif name == "J":
            self.lines[self.row] = self.lines[self.row][:self.column]
            del self.lines[self.row + 1:]
        elif name in "hl" and arguments == "?25":
            self.cursor = name == "h"
        elif name in "hl" and arguments in ("?2026", "?7"):
            pass
        elif name == "m":
            pass
        else:
            raise AssertionError(f"unknown sequence: {arguments}{name}")

    def feed(self, text):
        at = 0
        while at < len(text):
            found = SEQUENCE.match(text, at)
            if found:
                assert found[2], f"unknown escape {found[0]!r}"
                self.control(found[1], found[2])
                at = found.end()
                continue
            c = text[at]
            at += 1
            if c == "\n":
                self.row += 1
                self.column = 0  # the terminal is in its usual mode
                while len(self.lines) <= self.row:
                    self.lines.append("")
            elif c == "\r":
                self.column = 0
            else:
                assert c.isprintable(), f"control character {c!r}"
                self.put(c)

    @property
    def text(self):
        return "\n".join(self.lines)


class Terminal:
    def __init__(self, args, cwd, columns, rows, **env):
        self.master, slave = pty.openpty()
        self.size(columns, rows, slave)
        self.process = subprocess.Popen([BINARY, *map(str, args)], cwd=cwd, env=clean_environment(dict(
            **dict(dict(TERM="xterm-256color"), **env))), stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)
        self.data = bytearray()

    def size(self, columns, rows, fd=None):
        fcntl.ioctl(self.master if fd is None else fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, until=None, timeout=60):
        """Reads until the text is there, or all there is."""
        end = time.monotonic() + timeout
        while time.monotonic() < end and (until is None or until.encode() not in self.data):
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    chunk = os.read(self.master, 65536)
                except OSError:
                    break
                if not chunk:
                    break
                self.data += chunk
        assert until is None or until.encode() in self.data, self.data[-2000:]

    def end(self):
        self.read()
        status = self.process.wait(60)
        os.close(self.master)
        text = self.data.decode()
        check_sanitizers(text)
        return status, text


@pytest.fixture
def terminal(tmp_path):
    terminals = []

    def start(args, columns, rows, **env):
        terminals.append(Terminal(args, tmp_path, columns, rows, **env))
        return terminals[-1]

    yield start
    for one in terminals:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


@pytest.mark.parametrize("columns, rows", [(80, 24), (40, 10), (200, 50), (20, 5)])
def test_it_fits(canvass, fleet, write, terminal, columns, rows):
    simulated = fleet(SLOW, speed=500)
    args = ["run", write("job.lua", job(8)), "--regions", simulated.write_table()]
    status, text = terminal(args, columns, rows).end()
    assert status == 0, text[-3000:]
    screen = Screen(columns, rows)
    live, summary = text.split("study-1: succeeded", 1)
    live = live[live.index(FRAME):]
    screen.feed(live)
    assert not screen.wrapped, screen.wrapped[:3]
    assert screen.cursor, "the cursor is there again"
    assert "US 8/8" in summary and "ASIA 16/16" in summary and "40/40" in summary
    if columns >= 80:
        assert screen.up > 5, "it was drawn again in place"
        assert "q1" in screen.text and "q8" in screen.text and "8/8" in live, "the last frame stays"
        assert live.count("\n") > 20 and len(screen.lines) < rows + 5, "in place, not below each other"


def test_it_says_what_happens(canvass, fleet, write, terminal):
    simulated = fleet(SLOW, speed=300)
    running = terminal(["run", write("job.lua", job(8)), "--regions", simulated.write_table()], 100, 30)
    running.read(until="3/5")
    running.process.send_signal(signal.SIGINT)
    status, text = running.end()
    assert status == 130
    screen = Screen(100, 30)
    screen.feed(text.split("study-1: cancelled", 1)[0])
    assert screen.cursor and not screen.wrapped
    for words in ("study-1", "/40", "in flight", "us", "eu", "asia", "ETA"):
        assert words.lower() in text.lower(), words
    assert "Ctrl-C again" in text


def test_aborted_it_leaves_the_terminal_in_order(canvass, server, write, terminal):
    origin = server(lambda r: r.hang())
    running = terminal(["run", write("job.lua", job(2)), "--regions", write("t.lua", table({"us/m": origin.url()}))], 80, 24)
    running.read(until=FRAME)
    deadline = time.monotonic() + 30
    while not origin.requests and time.monotonic() < deadline:
        running.read(timeout=0.1)
    for _ in range(2):
        running.process.send_signal(signal.SIGINT)
        running.read(timeout=0.5)
    status, text = running.end()
    screen = Screen(80, 24)
    screen.feed(text)
    assert status == 130 and screen.cursor and "study-1: cancelled" in screen.text


def test_a_window_that_shrinks(canvass, fleet, write, terminal):
    """After the change no line is wider than the window is now."""
    simulated = fleet(SLOW, speed=200)
    running = terminal(["run", write("job.lua", job(8)), "--regions", simulated.write_table()], 120, 40)
    running.read(until="2/5")
    running.size(40, 12)
    running.process.send_signal(signal.SIGWINCH)
    running.read(timeout=1)
    seen = len(running.data)
    status, text = running.end()
    assert status == 0
    later = text[len(running.data[:seen].decode(errors="ignore")):].split("study-1: succeeded", 1)[0]
    frame = later[later.find("\n") + 1:]
    lines = [SEQUENCE.sub("", line) for line in re.split(r"[\r\n]+", frame)]
    assert len(lines) > 10 and max(map(len, lines)) <= 40, max(lines, key=len)


def test_colours(canvass, server, write, terminal):
    """Without colour it says the same."""
    origin = server(replies(answer()))
    script, regions = write("job.lua", job(3)), write("t.lua", table({"us/m": origin.url()}))
    def colours(text):
        return [m for m in SEQUENCE.findall(text) if m[1] == "m" and re.search(r"[349]\d", m[0])]

    coloured = terminal(["run", script, "--regions", regions], 80, 24).end()
    plain = terminal(["run", script, "--regions", regions], 80, 24, NO_COLOR="1").end()
    dumb = terminal(["run", script, "--regions", regions], 80, 24, TERM="dumb").end()
    assert coloured[0] == plain[0] == dumb[0] == 0
    assert colours(coloured[1]) and not colours(plain[1]) and "\x1b" not in dumb[1]
    for _, text in (coloured, plain, dumb):
        assert "succeeded" in text and "3/3" in text


def test_no_terminal_no_table(canvass, server, write):
    origin = server(replies(answer()))
    result = canvass("run", write("job.lua", job(3)), "--regions", write("t.lua", table({"us/m": origin.url()})))
    assert "\x1b" not in result.out + result.err and "question batch completed" in result.err


@pytest.mark.parametrize("progress, live", [("log", False), ("none", False), ("live", True)])
def test_as_asked(canvass, server, write, terminal, progress, live):
    origin = server(replies(answer()))
    args = ["run", write("job.lua", job(3)), "--regions", write("t.lua", table({"us/m": origin.url()})),
            "--progress", progress]
    status, text = terminal(args, 80, 24).end()
    assert status == 0 and (FRAME in text) == live
    assert ("starting question batch" in text) == (progress == "log")


def test_tables_fit_the_terminal(canvass, server, write, terminal):
    """An answer is cut to the width, and the head says so."""
    origin = server(replies(answer("words and 東京 and more " * 50)))
    canvass.run(write("job.lua", job(3)), write("t.lua", table({"us/m": origin.url()})))
    for command in (["results", "last"], ["results", "last", "--prompt"], ["jobs"], ["show", "last"],
                    ["query", "SELECT * FROM attempts"]):
        status, text = terminal(command, 80, 20).end()
        screen = Screen(80, 20)
        body = text.split("\r\n\r\n", 1)[-1] if command[0] == "results" else text
        screen.feed(body)
        assert status == 0 and (command[0] == "query" or not screen.wrapped), (command, screen.wrapped)
        if command == ["results", "last"]:
            assert "…" in text and "jsonl" in text
