"""Torch in a worker: not loaded until it is used, then whole."""

import shutil
import subprocess
import sys
from pathlib import Path

from serve import lazy_torch

PROGRAM = """
import sys
import torch                               # as TorchServe's protocol does
import ts.protocol.otf_message_handler as protocol
from serve.lazy_torch import LazyTorch

assert type(torch) is LazyTorch and "torch._C" not in sys.modules
answer = [b'{"label": "positive"}']
assert answer[0] in protocol.create_predict_response(answer, {0: "id"}, "", 200)
assert "torch._C" not in sys.modules       # bytes are no tensor, and nobody asked

assert torch.tensor([1, 2]).sum().item() == 3
assert "torch._C" in sys.modules
import torch.nn
assert type(torch).__name__ == "module" and protocol.torch.Tensor is torch.Tensor
"""


def test_torch_loads_when_it_is_used_and_not_before(tmp_path: Path) -> None:
    shutil.copy(lazy_torch.__file__, tmp_path / "sitecustomize.py")
    program = PROGRAM.replace("from serve.lazy_torch", "from sitecustomize")
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(tmp_path)}, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")
