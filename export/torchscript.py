"""TorchScript: one file that torch alone loads, here or in C++.

Deprecated upstream and still asked for; `torch.export` (the format pt2) is its successor.
"""

import copy
import io
import warnings

import torch

from models.bundle import Bundle


def export_torchscript(bundle: Bundle, metadata: dict[str, str]) -> bytes:
    """The bundle's classifier, scripted where it can be and frozen; `metadata` as extra files.

    BERT's architecture is traced: transformers' code is not TorchScript's. Its operations do not
    depend on the shapes they were traced with, which the parity cases prove.
    """
    model = copy.deepcopy(bundle.model).float().eval().requires_grad_(False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)  # of TorchScript itself
        warnings.filterwarnings("ignore", category=FutureWarning)
        if bundle.architecture == "bert":
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
                input_ids = torch.ones(2, 5, dtype=torch.int64)
                scripted = torch.jit.trace(model, (input_ids, torch.ones_like(input_ids)))
        else:
            scripted = torch.jit.script(model)
        frozen = torch.jit.freeze(scripted.eval())
        buffer = io.BytesIO()
        torch.jit.save(frozen, buffer, _extra_files=metadata)
    return buffer.getvalue()
