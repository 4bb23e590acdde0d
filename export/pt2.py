"""`torch.export`'s archive: graph and weights, which torch loads without the model's code."""

import io

import torch
from torch.export import Dim

from export.formats import MAX_LENGTH
from export.twins import torch_export_twin
from models.bundle import Bundle


def exported_program(bundle: Bundle) -> torch.export.ExportedProgram:
    """The bundle's classifier in float32, batch and length dynamic."""
    model = torch_export_twin(bundle.model)
    input_ids = torch.ones(2, 3, dtype=torch.int64)
    dimensions = {0: Dim("batch"), 1: Dim("length", min=1, max=MAX_LENGTH)}
    return torch.export.export(
        model, (input_ids, torch.ones_like(input_ids)), dynamic_shapes=(dimensions, dimensions)
    )


def export_pt2(bundle: Bundle, metadata: dict[str, str]) -> bytes:
    """The exported program as an archive; `metadata` as extra files."""
    buffer = io.BytesIO()
    torch.export.save(exported_program(bundle), buffer, extra_files=metadata)
    return buffer.getvalue()
