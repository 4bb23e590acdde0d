"""The artefacts that an export can write: their names, their files, and what each has to prove.

Importing this costs nothing: neither torch nor ONNX Runtime.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Gate:
    """What an artefact has to show against the eager float32 checkpoint.

    `max_abs_difference`: of any logit, in any case; None where the arithmetic is coarser by design.
    `label_agreement`: the share of rows given the checkpoint's label. `max_accuracy_loss`: in
    percentage points of accuracy on labelled reviews; None where the other two decide.
    """

    max_abs_difference: float | None
    label_agreement: float
    max_accuracy_loss: float | None = None


@dataclass(frozen=True)
class Format:
    """One kind of artefact: its file in the bundle's folder, what it is for, its gate."""

    filename: str
    summary: str
    gate: Gate


# Float32 sums differ by the order in which kernels add; 1e-4 is hundreds of such roundings and far
# below any difference that a mistake makes.
_SAME_ARITHMETIC = Gate(max_abs_difference=1e-4, label_agreement=1.0)

FORMATS: dict[str, Format] = {
    "torchscript": Format("model.ts", "TorchScript, loads with torch alone", _SAME_ARITHMETIC),
    "onnx": Format("model.onnx", "ONNX, float32", _SAME_ARITHMETIC),
}


def of_file(filename: str) -> Format:
    """The format whose artefact has this name; `ValueError` names the known ones."""
    for entry in FORMATS.values():
        if entry.filename == filename:
            return entry
    known = ", ".join(entry.filename for entry in FORMATS.values())
    raise ValueError(f"artefact: got {filename!r}; known are {known}")
