"""The artefacts that an export can write: their names, their files, and what each has to prove.

Importing this costs nothing: neither torch nor ONNX Runtime.
"""

from dataclasses import dataclass

MAX_LENGTH = 256  # tokens: no artefact is proved beyond it


@dataclass(frozen=True)
class Gate:
    """What an artefact has to show against the eager float32 checkpoint.

    `max_abs_difference`: of any logit of any input; None where the arithmetic is coarser by design.
    `label_agreement`: the share of inputs given the checkpoint's label: of all of them, or, where
    the arithmetic is coarser, of the labelled reviews. `max_accuracy_loss`: in percentage points,
    on the labelled reviews. `max_mean_difference`: the mean |Δlogit| as a share of the standard
    deviation of the checkpoint's logits, over the cases: coarse arithmetic may move a decision that
    was close, a mistake moves all.
    """

    max_abs_difference: float | None
    label_agreement: float
    max_accuracy_loss: float | None = None
    max_mean_difference: float | None = None


@dataclass(frozen=True)
class Format:
    """One kind of artefact: its file in the bundle's folder, what it is for, its gate. Without
    `by_default` it is written only where it is named."""

    filename: str
    summary: str
    gate: Gate
    by_default: bool = True


# Float32 sums differ by the order in which kernels add; 1e-4 is hundreds of such roundings and far
# below any difference that a mistake makes.
_SAME_ARITHMETIC = Gate(max_abs_difference=1e-4, label_agreement=1.0)
_HALF = Gate(max_abs_difference=None, label_agreement=0.999, max_mean_difference=0.02)
_INT8 = Gate(None, label_agreement=0.99, max_accuracy_loss=0.3, max_mean_difference=0.2)

FORMATS: dict[str, Format] = {
    "torchscript": Format("model.ts", "TorchScript: loads with torch alone", _SAME_ARITHMETIC),
    "pt2": Format("model.pt2", "torch.export: TorchScript's successor", _SAME_ARITHMETIC),
    # Bound to the machine, slow to make, and not for every architecture.
    "aoti": Format(
        "model.aoti.pt2",
        "AOTInductor: torch.export's program compiled for this kind of CPU (only when named)",
        _SAME_ARITHMETIC,
        by_default=False,
    ),
    "onnx": Format("model.onnx", "ONNX in float32", _SAME_ARITHMETIC),
    "onnx-fp16": Format("model.fp16.onnx", "ONNX in float16, for GPUs", _HALF),
    "onnx-int8": Format("model.int8.onnx", "ONNX with int8 weights, for CPUs", _INT8),
}


class NotExportable(ValueError):
    """This architecture, or this machine, has no such export: one line that says why."""


def of_file(filename: str) -> str:
    """The format whose artefact has this name; `ValueError` names the known ones."""
    for name, entry in FORMATS.items():
        if entry.filename == filename:
            return name
    known = ", ".join(entry.filename for entry in FORMATS.values())
    raise ValueError(f"artefact: got {filename!r}; known are {known}")
