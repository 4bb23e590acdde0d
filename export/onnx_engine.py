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
    # Its threads otherwise spin on after a call, on cores that others in the process want.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if threads is not None:
        options.intra_op_num_threads = threads
    session = _session(content, options, device, filename)
    if session is None:
        there = [other for other in PROVIDERS if _session(content, options, other, filename)]
        raise ValueError(
            f"device: got {device!r}, whose {PROVIDERS[device][0]} cannot be loaded here; this "
            f"machine has {', '.join(there)}"
        )

    def run(input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> NDArray[np.float32]:
        feeds = {"input_ids": input_ids, "attention_mask": attention_mask}
        logits: NDArray[np.float32] = session.run(["logits"], feeds)[0]
        return logits

    return run


def _session(content: bytes, options: Any, device: str, filename: str) -> Any:
    """A session on `device`; None where that cannot be loaded here. `ValueError` for no model."""
    onnxruntime.set_default_logger_severity(4)  # it prints pages about libraries it does not find
    try:
        session = onnxruntime.InferenceSession(
            content,
            options,
            providers=PROVIDERS[device],
            enable_fallback=0,
            # On CPUs its one kernel took longer than the addition and the norm that it fuses, for
            # MiniLM in float32 on one thread.
            disabled_optimizers=["SkipLayerNormFusion"] if device == "cpu" else None,
        )
    except Exception as error:  # onnxruntime raises a dozen kinds of its own
        if device != "cpu":
            return None
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{filename}: ONNX Runtime does not load it ({reason})") from error
    finally:
        onnxruntime.set_default_logger_severity(2)  # warnings, its own default
    # It lists providers that it cannot load, and goes on without them.
    return session if PROVIDERS[device][0] in session.get_providers() else None
