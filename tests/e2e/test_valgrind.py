"""The main job once more, under valgrind: reads of what was never written, which the address sanitizer does not see."""
import subprocess

from conftest import ROOT, clean_environment, plain_binary

EXAMPLE = ROOT / "examples" / "bias-detection"


def test_the_main_job(fleet, tmp_path):
    simulated = fleet(EXAMPLE / "fleet.lua", speed=20)
    result = subprocess.run(
        ["valgrind", "--quiet", "--error-exitcode=99", "--leak-check=full", "--errors-for-leak-kinds=definite",
         plain_binary(), "run", EXAMPLE / "job.lua", "--regions", simulated.table, "--db", tmp_path / "v.db"],
        env=clean_environment(), capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-8000:]
    assert "total 64/64" in result.stdout
    assert simulated.stats()["posts"] == 64
