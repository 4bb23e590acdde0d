"""The engines that are torch: eager, compiled, TorchScript, torch.export, AOTInductor.

Archives carry this file (see `serve.archive`): the checkpoint's own modules are imported only where
a checkpoint is opened.
"""

import io
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export.passes import move_to_device_pass


def eager(folder: Path, device: str, threads: int | None) -> Any:
    """The checkpoint in `folder`, in float32."""
    return torch_engine(_checkpoint(folder, device), device, threads)


def compiled(folder: Path, device: str, threads: int | None) -> Any:
    """The checkpoint under `torch.compile`, which compiles at the first calls."""
    model = torch.compile(_checkpoint(folder, device), dynamic=True)
    return torch_engine(model, device, threads)


def _checkpoint(folder: Path, device: str) -> torch.nn.Module:
    from models.bundle import load

    check_device(device)
    return load(folder).model.float().to(device)


def torchscript(content: bytes, filename: str, device: str, threads: int | None) -> Any:
    """A TorchScript file's content."""
    check_device(device)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)  # of TorchScript itself
        module = torch.jit.load(io.BytesIO(content), map_location=device)
    return torch_engine(module, device, threads)


def pt2(content: bytes, filename: str, device: str, threads: int | None) -> Any:
    """A `torch.export` file's content."""
    check_device(device)
    return torch_engine(exported_module(content, device), device, threads)


def exported_module(content: bytes, device: str) -> torch.nn.Module:
    """The module of a `torch.export` file's content, on `device`."""
    program = torch.export.load(io.BytesIO(content))
    if device != "cpu":
        # Not `module.to`, which moves weights alone: a tensor that the graph makes itself, such as
        # the recurrence's steps, would stay on the device of the export.
        program = move_to_device_pass(program, device)
    return program.module()


def aoti(content: bytes, filename: str, device: str, threads: int | None) -> Any:
    """An AOTInductor archive's content. Its code is that of the processor it was made on."""
    from torch._inductor import aoti_load_package  # takes a second to import

    with tempfile.NamedTemporaryFile(suffix=".pt2") as file:  # its loader wants a file
        file.write(content)
        file.flush()
        module = aoti_load_package(file.name)
    return torch_engine(module, device, threads)


def torch_engine(module: Any, device: str, threads: int | None) -> Any:
    """Any torch module that is on `device` already."""
    if threads is not None:
        torch.set_num_threads(threads)

    def run(input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> NDArray[np.float32]:
        with torch.inference_mode():
            ids = torch.from_numpy(input_ids).to(device)
            logits = module(ids, torch.from_numpy(attention_mask).to(device))
        answer: NDArray[np.float32] = logits.float().cpu().numpy()
        return answer

    return run


def check_device(device: str) -> None:
    """`ValueError` where torch has no such device here."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device: got 'cuda', but torch finds no CUDA device; this machine has cpu")
