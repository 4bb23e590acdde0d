"""`make demo`: its steps are the README's, and on few reviews they work from end to end."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from bias.demo import FULL, QUICK, Step, is_exported, is_measured, run, steps

ROOT = Path(__file__).resolve().parents[2]
FINE = Step("fine", ("timeit", "--number", "1", "--repeat", "1", "pass"))
BROKEN = Step("broken", ("no_such_module",))


def test_the_readme_names_each_command_in_order() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.partition("## Two commands")[2].partition("\n## ")[0]
    named = [line.strip() for line in section.splitlines() if line.startswith("    python -m ")]
    assert named == [step.shown() for step in steps(Path("runs"))]


def test_the_makefile_runs_it() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "\ndemo: $(READY) ##" in makefile and "$(BIN)/python -m bias.demo\n" in makefile


def test_a_small_demo_has_the_same_steps() -> None:
    full, quick = steps(Path("runs"), FULL), steps(Path("runs"), QUICK)
    assert [step.name for step in full] == [step.name for step in quick]
    assert {step.command[0] for step in full} == {step.command[0] for step in quick}


def test_a_step_that_fails_is_named_and_the_next_is_not_begun(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run([FINE, BROKEN, FINE]) == 1
    shown, errors = capfd.readouterr()
    assert "[1/3] fine\n$ python -m timeit" in shown and "[3/3]" not in shown
    assert "step 2 of 3, broken, failed with exit status 1" in errors
    assert "seconds" not in shown


def test_a_step_whose_result_is_there_is_left_out(capfd: pytest.CaptureFixture[str]) -> None:
    assert run([FINE, Step("made", BROKEN.command, lambda: True)]) == 0
    table = capfd.readouterr().out.partition("step        seconds\n")[2].splitlines()
    assert [line.split()[0] for line in table] == ["fine", "made", "total"]
    assert table[1].split()[1] == "there"
    assert float(table[2].split()[1]) >= float(table[0].split()[1]) > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_interrupts_it_reaches_the_command_and_is_said(tmp_path: Path, number: int) -> None:
    (tmp_path / "waits.py").write_text(
        "import time\nprint('waiting', flush=True)\ntime.sleep(60)\n"
    )
    program = "from bias.demo import Step, run; raise SystemExit(run([Step('wait', ('waits',))]))"
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True, env=os.environ | {"PYTHONPATH": str(tmp_path)},
    ) as demo:  # fmt: skip
        assert demo.stdout is not None
        while demo.stdout.readline() not in ("waiting\n", ""):
            pass
        (waits,) = psutil.Process(demo.pid).children()
        if number == signal.SIGINT:  # as a terminal sends it: to the whole group
            os.killpg(demo.pid, number)
        else:
            demo.send_signal(number)
        _, errors = demo.communicate(timeout=30)
    assert demo.returncode == 130
    assert "step 1 of 1, wait, was interrupted" in errors
    assert not waits.is_running()


def test_on_few_reviews_it_works_from_end_to_end_and_a_second_time_faster(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-m", "bias.demo", "--quick", "--runs", str(tmp_path)]
    first = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    bundle = tmp_path / "demo" / "best"
    for path in (
        tmp_path / "demo-report" / "results.md",
        bundle / "model.onnx",
        bundle / "parity.json",
        tmp_path / "demo" / "benchmark" / "benchmark.json",
        tmp_path / "demo" / "audit" / "audit.html",
    ):
        assert path.is_file()
    assert "stopped   drained, nothing left behind" in first.stdout
    page = Path(first.stdout.splitlines()[-1].removeprefix("the dossier: "))
    assert page.is_file() and page.suffix == ".html"
    assert is_exported(bundle, ["onnx"]) and not is_exported(bundle, ["onnx", "pt2"])
    measured = tmp_path / "demo" / "benchmark"
    assert is_measured(bundle, measured)
    config = json.loads((bundle / "config.json").read_text())
    (bundle / "config.json").write_text(json.dumps(config | {"weights_sha256": "0" * 64}))
    assert not is_exported(bundle, ["onnx"]) and not is_measured(bundle, measured)
