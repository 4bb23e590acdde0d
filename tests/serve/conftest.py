"""A tiny bundle whose answers are known, and its ONNX artefact, made by hand; a scripted endpoint.

The model is a bag of word vectors in the plane: "good" leans to positive, "bad" to negative.
"""

import hashlib
import http.server
import importlib.metadata
import json
import threading
import venv
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from models.bundle import Bundle, save
from models.registry import build

with warnings.catch_warnings():
    warnings.simplefilter("ignore", ResourceWarning)  # TorchServe leaves its version's file open
    import ts  # noqa: F401

WORDS = ["[PAD]", "[UNK]", "good", "bad", "book", "the", "a", "is", "not", "very"]
LEANING = {"good": 2.0, "bad": -2.0, "very": 0.25, "not": -0.5}
MAX_LENGTH = 16


def make_tokenizer() -> Tokenizer:
    vocabulary = {word: index for index, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def word_logits(words: list[str]) -> np.ndarray:
    """What the model must say of these words, by arithmetic: (2,) logits."""
    leaning = np.mean([LEANING.get(word.lower(), 0.0) for word in words])
    return np.array([-leaning, leaning])


def make_bundle(folder: Path) -> Path:
    model = build("ngram-bag", vocabulary_size=len(WORDS), embedding_size=2, max_ngram=1)
    table = torch.zeros(len(WORDS), 2)
    for word, leaning in LEANING.items():
        table[WORDS.index(word)] = torch.tensor([-leaning, leaning])
    with torch.no_grad():
        model.backbone.embedding.weight.copy_(table)
        model.head.weight.copy_(torch.eye(2))
        model.head.bias.zero_()
    save(
        Bundle(
            model=model.eval(),
            tokenizer=make_tokenizer(),
            architecture="ngram-bag",
            arguments={"vocabulary_size": len(WORDS), "embedding_size": 2, "max_ngram": 1},
            labels=["negative", "positive"],
            max_length=MAX_LENGTH,
        ),
        folder,
    )
    write_onnx(folder / "model.onnx", table.numpy())
    certify(folder, "model.onnx")
    write_torchscript(folder / "model.ts", model)
    certify(folder, "model.ts")
    return folder


def write_torchscript(path: Path, model: torch.nn.Module) -> None:
    example = torch.ones(2, 3, dtype=torch.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that TorchScript is deprecated, and traced constants
        torch.jit.trace(model, (example, example)).save(str(path))


def write_onnx(path: Path, table: np.ndarray) -> None:
    """The mean of the rows of `table` that the mask leaves, as logits."""
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["vectors"]),  # (B, T, 2)
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["weights"]),  # (B, T, 1)
        helper.make_node("Mul", ["vectors", "weights"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "steps"], ["total"], keepdims=0),  # (B, 2)
        helper.make_node("ReduceSum", ["mask", "steps"], ["found"], keepdims=1),  # (B, 1)
        helper.make_node("Max", ["found", "one"], ["count"]),
        helper.make_node("Div", ["total", "count"], ["logits"]),
    ]
    constants = [
        numpy_helper.from_array(table.astype(np.float32), "table"),
        numpy_helper.from_array(np.array([2]), "last"),
        numpy_helper.from_array(np.array([1]), "steps"),
        numpy_helper.from_array(np.array([1], np.float32), "one"),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
        for name in ("input_ids", "attention_mask")
    ]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])]
    graph = helper.make_graph(nodes, "bag", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def certify(folder: Path, artefact: str, passed: bool = True) -> None:
    """Writes the artefact's certificate as `export` does."""
    digest = hashlib.sha256((folder / artefact).read_bytes()).hexdigest()
    path = folder / "parity.json"
    certificate = {"schema_version": 1, "artefacts": {}}
    if path.exists():
        certificate = json.loads(path.read_text())
    certificate["artefacts"][artefact] = {
        "sha256": digest,
        "weights_sha256": json.loads((folder / "config.json").read_text())["weights_sha256"],
        "passed": passed,
    }
    path.write_text(json.dumps(certificate))


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle's folder, which tests must leave as it is."""
    return make_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture
def own_bundle(tmp_path: Path) -> Path:
    """A bundle's folder that a test may change."""
    return make_bundle(tmp_path / "tiny")


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python whose environment has torchserve, torch, an ONNX Runtime and tokenizers, with what
    they require, and nothing else: not this project, above all."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    wanted = ["torchserve", "torch", "pyyaml", "tokenizers", "numpy"]
    wanted += [name for name in ("onnxruntime-gpu", "onnxruntime") if is_installed(name)]
    for name in required_by(wanted):
        distribution = importlib.metadata.distribution(name)
        tops = {file.parts[0] for file in distribution.files or [] if file.parts[0] != ".."}
        for top in tops - {"__pycache__"}:
            link = site / top
            if not link.exists():
                link.symlink_to(str(distribution.locate_file(top)))
    return folder / "bin" / "python"


def is_installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def required_by(names: list[str]) -> set[str]:
    """These distributions and, again and again, those that they require here."""
    found: set[str] = set()
    while names:
        name = canonicalize_name(names.pop())
        if name in found or not is_installed(name):
            continue
        found.add(name)
        for line in importlib.metadata.requires(name) or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                names.append(requirement.name)
    return found


@pytest.fixture(name="certify")
def _certify() -> Callable[..., None]:
    return certify


@pytest.fixture(name="word_logits")
def _word_logits() -> Callable[[list[str]], np.ndarray]:
    return word_logits


Script = Callable[[str, dict[str, Any], str], tuple[int, Any] | None]


class Endpoint:
    """Answers as its script says: (path, question, token) -> status and JSON; None hangs up."""

    def __init__(self, script: Script) -> None:
        endpoint = self
        self.asked: list[tuple[str, dict[str, Any], str]] = []
        self.connections = 0
        self.received: list[int] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                endpoint.connections += 1
                super().setup()

            def do_GET(self) -> None:
                self.do_POST()

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                endpoint.received.append(length)
                question = json.loads(self.rfile.read(length) or b"{}")
                token = self.headers.get("Authorization", "").removeprefix("Bearer ")
                endpoint.asked.append((self.path, question, token))
                outcome = script(self.path, question, token)
                if outcome is None:
                    self.close_connection = True
                    return
                status, answer = outcome
                body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/predictions/tiny"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Script], Endpoint]]:
    """Makes scripted endpoints, which end with the test; the client asks them again at once."""
    monkeypatch.setattr("serve.client.FIRST_PAUSE", 0.001)
    made: list[Endpoint] = []

    def make(script: Script) -> Endpoint:
        made.append(Endpoint(script))
        return made[-1]

    yield make
    for each in made:
        each.server.shutdown()
        each.server.server_close()
