"""What a bundle's backends are held against besides eager: what a user would otherwise have.

    python -m export.benchmark BUNDLE --output DIR --peers loop plain-onnx optimum=encoder.onnx

A peer is no backend: nothing is certified, and nothing but the benchmark opens one. Each is checked
against the checkpoint before it is timed.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.backends import Backend, Engine
from export.cases import padded_batches
from export.formats import FORMATS, MAX_LENGTH, Gate
from export.onnx import quiet_exporter
from export.torch_engine import torch_engine
from models.benchmarks.gru import LoopGRU
from models.bundle import load
from models.custom_gru_encoder import CustomGRUEncoder
from models.encoder_decoder import EncoderDecoder
from models.gru import GRU
from models.pooling import pool
from models.pretrained import PretrainedEncoder
from models.ragged import lengths_of, reorder, reversal, zero_padding


@dataclass(frozen=True)
class Peer:
    """An entry of the table. `takes_file`: it is given as NAME=FILE, an ONNX file. `gate`: how like
    the checkpoint's its answers have to be, as an export's of the same arithmetic."""

    open: Callable[[Path, Path | None, int], Engine]
    takes_file: bool = False
    gate: Gate = FORMATS["onnx"].gate


def check_peers(given: list[str]) -> None:
    """`ValueError` for a name that is not in the table, a missing file, or one too many."""
    for text in given:
        name, _, file = text.partition("=")
        if name not in PEERS:
            close = difflib.get_close_matches(name, PEERS, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise ValueError(f"--peers: got {name!r}{hint}; allowed are {', '.join(PEERS)}")
        if PEERS[name].takes_file != bool(file):
            wanted = f"{name}=FILE" if PEERS[name].takes_file else name
            raise ValueError(f"--peers: got {text!r}; give it as {wanted}")
        if file and not Path(file).is_file():
            raise FileNotFoundError(f"--peers: got {text!r}, but there is no file {file}")


def open_peer(text: str, folder: Path, like: Backend, threads: int) -> Backend:
    """The peer `text` (NAME or NAME=FILE) of the bundle in `folder`, with the call of a backend
    such as `like`. `ValueError` where the peer does not fit the bundle's architecture."""
    name, _, file = text.partition("=")
    engine = PEERS[name].open(folder, Path(file) if file else None, threads)
    return Backend(name, "cpu", like.labels, like.max_length, like.vocabulary_size, engine)


def check_answers(peer: Backend, eager: Backend, rows: list[list[int]]) -> None:
    """`ValueError` where the peer does not answer as the checkpoint on these reviews (token ids):
    another model's times say nothing about this one's."""
    batches = list(padded_batches(rows, 32))
    expected = np.concatenate([eager(*batch) for batch in batches])  # (N, labels)
    found = np.concatenate([peer(*batch) for batch in batches])
    gate = PEERS[peer.name].gate
    if gate.max_abs_difference is not None:
        apart = float(np.abs(found - expected).max())
        if not apart <= gate.max_abs_difference:
            raise ValueError(
                f"--peers: a logit of {peer.name} differs from the checkpoint's by {apart:.3g}, "
                f"allowed is {gate.max_abs_difference:g}; it is another model, and was not timed"
            )
        return
    alike = float((found.argmax(axis=1) == expected.argmax(axis=1)).mean())
    if alike < gate.label_agreement or not np.isfinite(found).all():
        raise ValueError(
            f"--peers: {alike:.1%} of {peer.name}'s labels are the checkpoint's on {len(rows)} "
            f"reviews, wanted are {gate.label_agreement:.0%}; it is another model, and was not "
            "timed"
        )


def _loop(folder: Path, _: Path | None, threads: int) -> Engine:
    model = load(folder).model.float()
    if not isinstance(model.backbone, CustomGRUEncoder):
        raise ValueError(f"--peers: loop is the custom GRU's; {folder} holds no custom-gru")
    model.backbone = LoopEncoder(model.backbone)
    engine: Engine = torch_engine(model.eval(), "cpu", threads)
    return engine


class LoopEncoder(nn.Module):
    """`CustomGRUEncoder` with every direction a plain loop of its own over the steps."""

    def __init__(self, original: CustomGRUEncoder) -> None:
        super().__init__()
        self.embedding, self.pooling = original.embedding, original.pooling
        self.reads_padding, self.hidden_size = original.reads_padding, original.hidden_size
        self.forward_rnns = nn.ModuleList(_written_out(rnn) for rnn in original.forward_rnns)
        self.backward_rnns = nn.ModuleList(_written_out(rnn) for rnn in original.backward_rnns)

    def feature(self, inputs: Tensor, mask: Tensor) -> Tensor:
        """Ids (B, T), mask (B, T) -> (B, H)"""
        read = torch.ones_like(mask) if self.reads_padding else mask
        index = reversal(lengths_of(read), inputs.shape[1])
        zeros = self.embedding.weight.new_zeros(1, inputs.shape[0], self.hidden_size)
        x = self.embedding(inputs)  # (B, T, E)
        forward = backward = x
        for forward_rnn, backward_rnn in zip(self.forward_rnns, self.backward_rnns, strict=True):
            forward, _ = forward_rnn(x, zeros)  # (B, T, H)
            backward = reorder(backward_rnn(reorder(x, index), zeros)[0], index)
            x = torch.cat([forward, backward], dim=2)  # (B, T, 2H)
        return pool(zero_padding(forward + backward, read), mask, self.pooling)


def _written_out(rnn: nn.Module) -> LoopGRU:
    assert isinstance(rnn, GRU)
    made = LoopGRU(rnn.input_size, rnn.hidden_size)
    made.load_state_dict(rnn.state_dict())
    return made


def _plain_onnx(folder: Path, _: Path | None, threads: int) -> Engine:
    model = load(folder).model.float().eval()
    if isinstance(model.backbone, EncoderDecoder | CustomGRUEncoder):
        raise ValueError(
            f"--peers: torch.onnx.export alone freezes a recurrence at the example's length, so "
            f"that {folder} has no plain-onnx"
        )
    ids = torch.ones(2, 3, dtype=torch.int64)
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", min=1, max=MAX_LENGTH)}
    with quiet_exporter():
        program = torch.onnx.export(
            model,
            (ids, torch.ones_like(ids)),
            dynamo=True,
            input_names=["input_ids", "attention_mask"],
            dynamic_shapes=(sizes, sizes),
            verbose=False,
        )
    assert program is not None
    session = _session(program.model_proto.SerializeToString(), threads)

    def run(input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> NDArray[np.float32]:
        feeds = {"input_ids": input_ids, "attention_mask": attention_mask}
        logits: NDArray[np.float32] = session.run(None, feeds)[0]
        return logits

    return run


def _optimum(folder: Path, file: Path | None, threads: int) -> Engine:
    """The encoder by optimum's file, pooled and classified as the bundle does."""
    assert file is not None
    model = load(folder).model.float().eval()
    if not isinstance(model.backbone, PretrainedEncoder):
        raise ValueError(f"--peers: optimum exports pretrained encoders; {folder} holds none")
    session = _session(str(file), threads)
    inputs = {each.name for each in session.get_inputs()}
    pooling, head = model.backbone.pooling, model.head

    def run(input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> NDArray[np.float32]:
        feeds = {"input_ids": input_ids, "attention_mask": attention_mask}
        if "token_type_ids" in inputs:
            feeds["token_type_ids"] = np.zeros_like(input_ids)
        hidden = torch.from_numpy(session.run(None, feeds)[0])  # (B, T, D)
        with torch.inference_mode():
            logits: NDArray[np.float32] = head(
                pool(hidden, torch.from_numpy(attention_mask), pooling)
            ).numpy()
        return logits

    return run


def _session(model: bytes | str, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    # The one setting that is not the default: else its idle threads spin on the cores of the
    # backend whose turn is next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


PEERS: dict[str, Peer] = {
    "loop": Peer(_loop),  # the custom GRU as the published equations in a plain loop
    "plain-onnx": Peer(_plain_onnx),  # torch.onnx.export of the checkpoint as it is
    "optimum": Peer(_optimum, takes_file=True),  # the encoder as optimum exports it
    # the same, quantised by it
    "optimum-int8": Peer(_optimum, takes_file=True, gate=FORMATS["onnx-int8"].gate),
}
