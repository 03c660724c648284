"""A disk that fails in mid-job: a clear error or a wait, never a wrong row; then `resume` ends the job, exactly."""
import sqlite3
import subprocess
import threading
import time

import pytest

from conftest import wait_until
from crashes import Crashing, preload

FAILURES = [("FULL_AT", at, "the disk is full") for at in (1, 3, 9, 30, 60, 100, 140)] + \
           [("EIO_AT", at, "reading or writing the database failed") for at in (1, 3, 6, 12, 25)]


@pytest.mark.parametrize("unknown", [False, True], ids=["once", "again"])
def test_a_disk_that_fails_at_any_write(canvass, fleet, write, preload_library, unknown):
    """No room for it, or a sync that fails; also on resuming."""
    world, stopped = Crashing(canvass, fleet, write, unknown), 0
    for name, at, words in FAILURES:
        world.new_job()
        for _ in range(2):
            process = world.start(preload(preload_library, **{name: at}))
            result = process.wait()
            if result.status in (0, 1):
                break
            stopped += 1
            told = [line for line in result.err.splitlines() if line.startswith("canvass: ")]
            assert result.status == 4 and told and "canvass.db" in told[0] and words in told[0], (name, at, result)
            world.killed()
        world.finish(process if result.status in (0, 1) else world.start())
    assert stopped >= 2 * len(FAILURES) - 6, "most of them are in the way of a job"
    world.check()


@pytest.mark.parametrize("unknown", [False, True], ids=["once", "again"])
def test_slow_syncs(canvass, fleet, write, preload_library, unknown):
    """Nothing overtakes them: killed and resumed, it is exact."""
    world = Crashing(canvass, fleet, write, unknown)
    slow = preload(preload_library, SYNC_MS=40)
    for seconds in (0.3, 0.6, 0.9):
        world.new_job()
        for _ in range(2):
            process = world.start(slow)
            time.sleep(seconds)
            process.popen.kill()
            if process.popen.wait() == -9:
                world.killed()
        world.finish(world.start(slow))
    assert world.kills >= 4
    world.check()


@pytest.fixture
def volume(tmp_path):
    """The test's folder is a small file system of its own; volume(options) mounts it anew."""
    def mount(*words):
        return subprocess.run(["mount", *words, tmp_path], capture_output=True).returncode == 0
    if not mount("-t", "tmpfs", "-o", "size=4m", "none"):
        pytest.skip("mounting takes root; a full disk and a failing one are tried without it too")
    yield lambda options: mount("-o", "remount," + options)
    subprocess.run(["umount", "-l", tmp_path], check=True)


def test_a_full_file_system(volume, canvass, fleet, write):
    """Somebody fills it up in mid-run; when there is room again, the job goes on."""
    world, ballast = Crashing(canvass, fleet, write, False), canvass.folder / "ballast"
    world.new_job()
    process = world.start()
    wait_until(world.posts)
    with pytest.raises(OSError), open(ballast, "wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    result = process.wait()
    assert result.status == 4 and "the disk is full" in result.err and "resume study-1" in result.err, result
    ballast.unlink()
    world.killed()
    world.finish(world.start())
    world.check()


def test_a_read_only_file_system(volume, canvass, fleet, write):
    """Nothing is asked, and the error says so; when it can be written again, the job goes on."""
    world = Crashing(canvass, fleet, write, False)
    world.new_job()
    process = world.start()
    wait_until(world.posts)
    process.popen.kill()
    process.popen.wait()
    wait_until(lambda: world.fleet.stats()["open"] == 0)
    posts = world.posts()
    assert volume("ro")
    for words in (("resume", "last"), ("run", world.script, "--regions", world.table), ("cancel", "last")):
        result = canvass(*words)
        assert result.status == 4 and "cannot be written to" in result.err and "canvass.db" in result.err, result
    for words in (("show", "last"), ("verify",), ("jobs",)):
        result = canvass(*words)
        assert result.status == 0 or (result.status == 4 and "canvass.db" in result.err), result
    assert world.posts() == posts
    assert volume("rw")
    world.killed()
    world.finish(world.start())
    world.check()


def test_resumed_while_another_program_writes(canvass, fleet, write):
    """It is waited for before anything is asked; killed in the wait, nothing has changed."""
    world = Crashing(canvass, fleet, write, False)
    world.new_job()
    process = world.start()
    wait_until(world.posts)
    process.popen.kill()
    process.popen.wait()
    world.killed()
    wait_until(lambda: world.fleet.stats()["open"] == 0)
    posts, rows = world.posts(), world.executions()
    other = sqlite3.connect(canvass.folder / "canvass.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    process = world.start()
    time.sleep(1)
    assert process.popen.poll() is None and world.posts() == posts and world.executions() == rows
    process.popen.kill()
    process.popen.wait()
    process = world.start()
    threading.Timer(1, lambda: (other.execute("ROLLBACK"), other.close())).start()
    world.finish(process)
    world.check()
