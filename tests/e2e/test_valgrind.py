"""The main job once more, under valgrind: reads of what was never written, which the address sanitizer does not see."""
import os
import pathlib
import subprocess

import pytest

from conftest import BINARY, ROOT, clean_environment

EXAMPLE = ROOT / "examples" / "bias-detection"


def plain_binary():
    """Valgrind cannot run a binary built with sanitizers: then the optimised one beside it is taken."""
    for path in (BINARY, str(ROOT / "build" / "canvass")):
        if os.path.exists(path) and b"__asan_init" not in pathlib.Path(path).read_bytes():
            return path
    pytest.skip("there is no binary without sanitizers: make")


def test_the_main_job(fleet, tmp_path):
    simulated = fleet(EXAMPLE / "fleet.lua", speed=20)
    result = subprocess.run(
        ["valgrind", "--quiet", "--error-exitcode=99", "--leak-check=full", "--errors-for-leak-kinds=definite",
         plain_binary(), "run", EXAMPLE / "job.lua", "--regions", simulated.table, "--db", tmp_path / "v.db"],
        env=clean_environment(), capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-8000:]
    assert "total 64/64" in result.stdout
    assert simulated.stats()["posts"] == 64
