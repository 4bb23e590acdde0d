"""Memory and machine: what a run took, and on what."""

import os
import platform
import resource
import statistics
import sys
from importlib import metadata
from typing import Any

import psutil
import torch

_PACKAGES = ("torch", "accelerate", "transformers", "datasets", "tokenizers", "numpy",
             "scikit-learn", "safetensors")  # fmt: skip


class MemoryMeter:
    """Memory in bytes: allocated by torch on the accelerator, or resident of the process on CPU."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def sample(self) -> int:
        """The most that was held since the last sample; on CPU, what is held now."""
        if self.device.type == "cuda":
            held = torch.cuda.max_memory_allocated(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
            return held
        return int(psutil.Process().memory_info().rss)

    def peak(self, sampled: int) -> int:
        """The peak so far, of which `sampled` is the last sample; on CPU, that of the process's
        whole life, in which the data were prepared too."""
        if self.device.type == "cuda":
            return sampled
        # ru_maxrss is in kilobytes on Linux and in bytes on macOS
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

    def describe(self, samples: list[int], peak: int) -> dict[str, Any]:
        """Steady state is the median of the later half of the samples."""
        cuda = self.device.type == "cuda"
        return {
            "device": self.device.type,
            "steady_bytes": int(statistics.median(samples[len(samples) // 2 :])),
            "peak_bytes": peak,
            "what": "allocated by torch on the accelerator"
            if cuda
            else "resident set of the process",
        }


def device_name(device: torch.device) -> str:
    """The accelerator's name, or the processor's."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def environment(
    device: torch.device, processes: int, seed: int, command: list[str]
) -> dict[str, Any]:
    """What one needs to repeat a run: versions, hardware, seed and command line.

    The interpreter is called `python` there, wherever it lies: records are published.
    """
    return {
        "command": ["python", *command[1:]],
        "seed": seed,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": device_name(device),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": processes,
        "versions": {name: metadata.version(name) for name in _PACKAGES},
    }
