"""The artefact in an archive -> logits, with the engine's package and numpy alone.

B texts, T tokens in the longest of them.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serve.classifier import Backend


def open_artefact(path: Path, threads: int = 1) -> Backend:
    """The backend for a `.onnx` or a `.ts` file, on the CPU with `threads` threads.

    Raises:
        ValueError: a file of another kind.
    """
    if path.suffix == ".onnx":
        return _open_onnx(path, threads)
    if path.suffix == ".ts":
        return _open_torchscript(path, threads)
    raise ValueError(f"artefact {path.name}: not served; give a .onnx or a .ts file")


def _open_onnx(path: Path, threads: int) -> Backend:
    import onnxruntime  # only the engine of the artefact is imported

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Lengths differ from batch to batch: an arena would keep the largest of everything.
    options.enable_cpu_mem_arena = False
    # Between batches a spinning thread only takes the front end's core.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> NDArray[np.float32]:
        feed = {"input_ids": input_ids, "attention_mask": attention_mask}
        logits: NDArray[np.float32] = session.run(["logits"], feed)[0]
        return logits

    return run


def _open_torchscript(path: Path, threads: int) -> Backend:
    import torch

    torch.set_num_threads(threads)
    module = torch.jit.load(str(path), map_location="cpu").eval()

    def run(input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> NDArray[np.float32]:
        with torch.inference_mode():
            logits = module(torch.from_numpy(input_ids), torch.from_numpy(attention_mask))
        result: NDArray[np.float32] = logits.numpy()
        return result

    return run
