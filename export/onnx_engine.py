"""ONNX Runtime, on the device that was asked for or not at all."""

from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

PROVIDERS = {
    "cpu": ["CPUExecutionProvider"],
    "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"],
    "tensorrt": ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
}


def onnx_engine(content: bytes, filename: str, device: str, threads: int | None) -> Any:
    """The model in `content`; `threads` None leaves their number to ONNX Runtime.

    Raises:
        ValueError: not a model, or no such device here; names those that there are.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # fatal: errors are raised, the rest is asked of the session
    # Stored int8 weights that a float32 operator reads are widened once, not at every call.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(content, options, providers=PROVIDERS[device])
    except Exception as error:  # onnxruntime raises a dozen kinds of its own
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{filename}: ONNX Runtime does not load it ({reason})") from error
    # It falls back to the CPU with a log line, and lists providers whose libraries it cannot load.
    active = session.get_providers()
    if PROVIDERS[device][0] not in active:
        there = [name for name, providers in PROVIDERS.items() if providers[0] in active]
        raise ValueError(
            f"device: got {device!r}, whose {PROVIDERS[device][0]} cannot be loaded here; this "
            f"machine has {', '.join(there)}"
        )

    def run(input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> NDArray[np.float32]:
        feeds = {"input_ids": input_ids, "attention_mask": attention_mask}
        logits: NDArray[np.float32] = session.run(["logits"], feeds)[0]
        return logits

    return run
