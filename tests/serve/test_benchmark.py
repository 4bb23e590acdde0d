"""The benchmark's own parts: what it counts, and that its peer batches as it says."""

import asyncio
import http.server
import io
import json
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from serve.benchmark.__main__ import main, read_texts
from serve.benchmark.load import Load, drive, render
from serve.benchmark.peers import PACKAGES, check_installed
from serve.benchmark.systems import System
from serve.benchmark.table import ENDPOINT, costs, speeds
from serve.benchmark.trivial import TEXTS, make_trivial_bundle
from serve.predictor import open_predictor
from serve.server import ServerError


class Slow(http.server.BaseHTTPRequestHandler):
    """Answers after a while, in two pieces; every tenth with 503."""

    protocol_version = "HTTP/1.1"
    delay = 0.01
    asked = 0

    def do_POST(self) -> None:
        json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Slow.asked += 1
        time.sleep(self.delay)
        status = 503 if self.path == "/some" and Slow.asked % 10 == 0 else 200
        self.send_response(status)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"ab")
        self.wfile.flush()
        self.wfile.write(b"cd")

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    Slow.asked = 0
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_closed_load_counts_every_answer_and_no_latency_below_the_servers(port: int) -> None:
    load = drive(port, [render("/", b"{}")], connections=4, seconds=0.5)
    # what was under way at the end is waited for, and not counted
    assert len(load.latencies) <= Slow.asked <= len(load.latencies) + 4
    assert load.failures == 0
    assert min(load.latencies) >= Slow.delay
    assert load.rate == pytest.approx(len(load.latencies) / load.seconds)


def test_failures_are_counted_apart(port: int) -> None:
    load = drive(port, [render("/some", b"{}")], connections=2, seconds=0.5)
    assert load.failures > 0
    assert len(load.latencies) + load.failures <= Slow.asked


def test_open_load_counts_from_when_a_request_was_due(port: int) -> None:
    """One connection cannot keep up with 1,000 a second: the queue's time must show."""
    load = drive(port, [render("/", b"{}")], connections=1, seconds=0.5, rate=1000)
    assert load.percentile(100) > 1000 * 5 * Slow.delay


def test_open_load_waits_by_a_finer_clock_than_epolls_milliseconds(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    real = select.select

    def noted(read: list[int], write: list[int], other: list[int], wait: float) -> Any:
        waits.append(wait)
        return real(read, write, other, wait)

    monkeypatch.setattr("serve.benchmark.load.select.select", noted)
    load = drive(port, [render("/", b"{}")], connections=8, seconds=0.5, rate=130)
    assert load.failures == 0 and len(load.latencies) > 20
    assert any(wait % 0.001 for wait in waits) and max(waits) <= 1 / 130


def test_percentiles_are_in_milliseconds() -> None:
    load = Load(seconds=2.0, latencies=[0.001, 0.002, 0.003])
    assert load.percentile(50) == pytest.approx(2.0)
    assert load.rate == 1.5


def test_the_peers_batches_hold_up_to_eight_and_answers_find_their_askers() -> None:
    pytest.importorskip("starlette", reason="needs the extra `bench`")
    pytest.importorskip("uvicorn", reason="needs the extra `bench`")
    from serve.benchmark.starlette_peer import BATCH_SIZE, MicroBatcher

    class Lengths:
        labels = ["negative", "positive"]  # noqa: RUF012
        batches: list[int] = []  # noqa: RUF012

        def predict(self, texts: Sequence[str]) -> np.ndarray:
            self.batches.append(len(texts))
            return np.array([[0.0, float(len(text))] for text in texts])

    async def ask_all() -> list[list[float]]:
        batcher = MicroBatcher(Lengths())
        work = asyncio.create_task(batcher.work())
        answers = await asyncio.gather(*(batcher.ask("x" * i) for i in range(30)))
        work.cancel()
        batcher.thread.shutdown()
        return list(answers)

    assert [row[1] for row in asyncio.run(ask_all())] == list(range(30))
    assert sum(Lengths.batches) == 30 and max(Lengths.batches) == BATCH_SIZE


def test_the_table_shows_medians_and_ratios_round_by_round() -> None:
    figures = {
        ENDPOINT: {"rate": [100.0, 200.0, 400.0], "p50_ms": [1.0, 2.0, 9.0]},
        "other": {"rate": [50.0, 100.0, 100.0]},
    }
    console = Console(width=120, file=io.StringIO())
    console.print(speeds(figures))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "200" in text and "1.00" in text and "2.00" in text
    assert "0.50" in text


def test_the_table_bounds_the_rate_by_what_a_request_costs() -> None:
    """50 + 100 + 50 µs a request: two cores do 10,000 a second at most."""
    spent = {"cpu_us_front": [50.0], "cpu_us_workers": [100.0], "cpu_us_client": [50.0]}
    console = Console(width=160, file=io.StringIO())
    console.print(costs({ENDPOINT: spent}, cores=2))
    assert "10,000" in console.file.getvalue()  # type: ignore[attr-defined]


def test_processor_time_is_told_apart_by_process() -> None:
    burning = (
        # more than is asked for: the system counts in ticks of 10 ms, of user and system time apart
        "import time\nwhile time.process_time() < 0.33: pass\nprint(flush=True)\ntime.sleep(60)"
    )
    program = (
        "import subprocess, sys, time\n"
        "while time.process_time() < 0.1: pass\n"
        f"child = subprocess.Popen([sys.executable, '-c', {burning!r}])\n"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        running.stdout.readline()  # the child has burned its share
        system = System("x", 0, "/", psutil.Process(running.pid), 0.0)
        spent = system.cpu_seconds()
        for process in reversed(system.processes()):
            process.kill()
    assert spent["workers"] >= 0.3 > spent["front"] > 0


def test_the_trivial_model_is_a_bundle_that_was_proved(tmp_path: Path) -> None:
    predictor = open_predictor(make_trivial_bundle(tmp_path / "trivial"))
    probabilities = predictor.predict(TEXTS)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert len(set(probabilities[:, 1].tolist())) == len(TEXTS)  # it does read them


@pytest.mark.parametrize("given", [[], ["bundle"], ["--reviews", "x.csv"], ["bundle", "--trivial"]])
def test_a_bundle_with_reviews_or_the_trivial_model_is_wanted(
    given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(given) == 2
    assert capsys.readouterr().err.startswith("error: BUNDLE")


@pytest.mark.parametrize(
    "given", [["--rounds", "0"], ["--connections", "501"], ["--seconds", "0"], ["--seconds", "nan"],
              ["--warm-up", "-1"], ["--texts", "0"]]
)  # fmt: skip
def test_numbers_that_nothing_can_be_measured_with_are_refused(
    given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--trivial", *given]) == 2
    assert capsys.readouterr().err.startswith(f"error: {given[0]}: got {given[1]}")


def test_peers_that_are_not_installed_are_named_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(PACKAGES, "litserve", ("litserve_that_nobody_has",))
    assert main(["--trivial", "--beside", "torchserve-one-worker", "litserve"]) == 2
    said = capsys.readouterr().err
    assert "--beside: litserve cannot run here" in said and "'.[bench]'" in said
    check_installed(["torchserve-one-worker"])


def test_a_system_that_does_not_come_up_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any) -> None:
        raise ServerError("litserve did not start")

    monkeypatch.setattr("serve.benchmark.__main__.benchmark", broken)
    monkeypatch.setattr("serve.benchmark.__main__.make_trivial_bundle", lambda folder: folder)
    assert main(["--trivial", "--beside"]) == 1
    assert capsys.readouterr().err == "error: litserve did not start\n"


def test_texts_come_from_parquet_and_csv(tmp_path: Path) -> None:
    pq.write_table(pa.table({"content": ["a", " ", "b", None, "c"]}), tmp_path / "x.parquet")
    assert read_texts(tmp_path / "x.parquet", "content", 4) == ["a", "b"]
    (tmp_path / "x.csv").write_text("content\na\nb\n")
    assert read_texts(tmp_path / "x.csv", "content", 9) == ["a", "b"]
    with pytest.raises(ValueError, match="--column"):
        read_texts(tmp_path / "x.csv", "text", 9)


def test_a_mistake_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--reviews", str(tmp_path / "x.txt"), "--beside"]) == 2
    assert capsys.readouterr().err.startswith("error: --reviews")
