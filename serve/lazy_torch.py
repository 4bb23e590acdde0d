"""Leaves torch unloaded in a worker that never uses it.

TorchServe's worker imports torch only to ask whether an answer is a tensor, which costs an ONNX
worker seconds of its start and most of its memory. A copy of this file, as `sitecustomize.py` on
the workers' path, puts a stand-in in torch's place, which loads torch at the first attribute that
is asked of it. (`importlib.util.LazyLoader` does so already at the second `import torch`.)
"""

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any


class LazyTorch(ModuleType):
    """Stands for torch until something of it is wanted; `import torch.nn` before is refused."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what importing asks of a module
            raise AttributeError(name)
        if sys.modules.get("torch") is self:
            del sys.modules["torch"]
        return getattr(importlib.import_module("torch"), name)


def install() -> None:
    """Puts the stand-in among the modules, where torch is installed and not imported yet."""
    if "torch" not in sys.modules and importlib.util.find_spec("torch") is not None:
        sys.modules["torch"] = LazyTorch("torch")


if __name__ == "sitecustomize":
    install()
