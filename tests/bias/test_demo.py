"""`make demo`: its steps are the README's, and on few reviews they work from end to end."""

import json
import os
import runpy
import signal
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from bias.demo import FULL, QUICK, Step, call, is_exported, is_measured, run, steps

ROOT = Path(__file__).resolve().parents[2]
FINE = Step("fine", ("timeit", "--number", "1", "--repeat", "1", "import time; time.sleep(0.1)"))
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
    assert run([FINE, BROKEN, FINE], call) == 1
    shown, errors = capfd.readouterr()
    assert "[1/3] fine\n$ python -m timeit" in shown and "[3/3]" not in shown
    assert "step 2 of 3, broken, failed with exit status 1" in errors
    assert "seconds" not in shown


def test_a_step_whose_result_is_there_is_left_out(capfd: pytest.CaptureFixture[str]) -> None:
    assert run([FINE, Step("made", BROKEN.command, lambda: True)], call) == 0
    table = capfd.readouterr().out.partition("step        seconds\n")[2].splitlines()
    assert [line.split()[0] for line in table] == ["fine", "made", "total"]
    assert table[1].split()[1] == "there"
    assert float(table[2].split()[1]) >= float(table[0].split()[1]) > 0


def heed_interrupts() -> None:
    """A shell starts what runs in its background deaf to SIGINT, and so are the children of it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_interrupts_it_reaches_the_command_and_is_said(tmp_path: Path, number: int) -> None:
    (tmp_path / "waits.py").write_text(
        "import time\nprint('waiting', flush=True)\ntime.sleep(60)\n"
    )
    program = "from bias.demo import Step, call, run; exit(run([Step('wait', ('waits',))], call))"
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True, preexec_fn=heed_interrupts,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
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


def in_process(command: Sequence[str]) -> int:
    """As `call` does it, but in this process, which has imported torch already."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # a command's own process has Python's filters, not pytest's
        patch.setattr(sys, "argv", [command[0], *command[1:]])
        try:
            runpy.run_module(command[0], run_name="__main__", alter_sys=True)
        except SystemExit as end:
            return int(end.code or 0)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return 0


def test_on_few_reviews_every_step_works(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    small = steps(tmp_path, QUICK)
    assert run(small, in_process) == 0
    shown = capfd.readouterr().out
    bundle = tmp_path / "demo" / "best"
    for path in (
        tmp_path / "demo-report" / "results.md",
        bundle / "model.onnx",
        bundle / "parity.json",
        tmp_path / "demo" / "benchmark" / "benchmark.json",
        tmp_path / "demo" / "audit" / "audit.html",
    ):
        assert path.is_file()
    assert "stopped   drained, nothing left behind" in shown
    assert (tmp_path / "demo-dossier" / "dossier.html").is_file()
    assert [step.name for step in small if step.is_made()] == ["export", "benchmark"]
    assert is_exported(bundle, ["onnx"]) and not is_exported(bundle, ["onnx", "pt2"])
    measured = tmp_path / "demo" / "benchmark"
    assert is_measured(bundle, measured)
    config = json.loads((bundle / "config.json").read_text())
    (bundle / "config.json").write_text(json.dumps(config | {"weights_sha256": "0" * 64}))
    assert not is_exported(bundle, ["onnx"]) and not is_measured(bundle, measured)
