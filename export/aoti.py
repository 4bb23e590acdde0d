"""AOTInductor: `torch.export`'s program compiled to machine code, in one archive with its weights.

Faster than the interpreted program and bound to the kind of processor it was compiled on: pt2 is
the format that travels. Compiling needs a C++ compiler; running does not.
https://docs.pytorch.org/docs/stable/torch.compiler_aot_inductor.html
"""

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch._inductor import aoti_compile_and_package

from export.formats import NotExportable
from export.pt2 import exported_program
from models.bundle import Bundle


def export_aoti(bundle: Bundle, metadata: dict[str, str]) -> bytes:
    """The bundle's classifier in float32, batch and length dynamic, for this machine's CPU.

    Raises:
        NotExportable: torch does not compile the architecture, or finds no compiler.
    """
    program = exported_program(bundle)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "model.pt2"
        try:
            aoti_compile_and_package(
                program,
                package_path=str(path),
                inductor_configs={
                    "aot_inductor.metadata": metadata,
                    # As many threads as whoever runs it wants, not as were set when it was made.
                    "cpp.dynamic_threads": True,
                },
            )
        except Exception as error:  # the compiler raises dozens of kinds
            reason = " ".join(str(error).split())[:200]
            raise NotExportable(
                f"model.aoti.pt2: AOTInductor does not compile {bundle.architecture} "
                f"({type(error).__name__}: {reason}); pt2 is the same, uncompiled"
            ) from error
        return path.read_bytes()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the compiler's report of a failure, which is raised too, and without what it says of
    its own use of torch."""
    talkers = [logging.getLogger(name) for name in ("torch._inductor", "torch._dynamo")]
    levels = [talker.level for talker in talkers]
    for talker in talkers:
        talker.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning)
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            yield
    finally:
        for talker, level in zip(talkers, levels, strict=True):
            talker.setLevel(level)
