"""Our attention and layer norm against `F.scaled_dot_product_attention` and `F.layer_norm`.

    python -m models.benchmarks.transformer_parts --output docs/benchmarks/transformer_parts.json

At the experiments' shapes, interleaved in one process, forward alone and with the backward pass.
Medians, and ratios to torch's own function (above 1: faster than it). Attention is between the
projections, heads split and merged: "apply_attention" is what the model runs, "explicit" goes by
`get_attention_weights`; over all tokens, or under a mask whose reviews are half to wholly real.
Norms are with float32 inputs, which is what they have under autocast too; "operations" is what
exports follow, "compiled" is that under `torch.compile`.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models.benchmarks.timing import Call, Key, check_device, medians, passes, write
from models.command import command
from models.normalization import layer_norm, normalized
from models.transformer import MultiHeadedAttention

BATCH_SIZE, HEADS = 64, 4
SHAPES = ((32, 128), (128, 128), (256, 128), (32, 256), (128, 256), (256, 256))
"""T steps, D model width."""


@command
def main(arguments: list[str] | None = None) -> int:
    """Time every shape, print a table, write JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m models.benchmarks.transformer_parts", description=__doc__
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[torch.get_num_threads()])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--shape", type=int, nargs=2, action="append", metavar=("T", "D"))
    parser.add_argument("--compiled", action="store_true", help="torch.compile too: needs g++")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--output", type=Path, default=Path("docs/benchmarks/transformer_parts.json")
    )
    given = parser.parse_args(arguments)
    device = check_device(parser, given.device)
    rows: list[dict[str, Any]] = []
    for threads in given.threads:
        torch.set_num_threads(threads)
        for steps, width in given.shape or SHAPES:
            calls: dict[Key, Call] = norms(steps, width, given.compiled, device)
            for dtype in (torch.float32, torch.bfloat16):
                for masked in (False, True):
                    calls |= attentions(steps, width, dtype, masked, device)
            for (part, peer, name, what), seconds, reference in _with_reference(
                medians(calls, given.rounds, device)
            ):
                rows.append(
                    {
                        "threads": threads,
                        "shape": [BATCH_SIZE, steps, width],
                        "part": part,
                        "what": what,
                        "implementation": name,
                        "seconds": seconds,
                        "ratio": reference / seconds,
                        "to": peer,
                    }
                )
    write(given.output, "transformer_parts", arguments, rows, device)
    for row in rows:
        print(
            f"{row['threads']} threads {row['shape']!s:<15} {row['part']:<26} {row['what']:<9} "
            f"{row['implementation']:<28} {1e3 * row['seconds']:8.2f} ms {row['ratio']:5.2f} x"
        )
    return 0


def _with_reference(found: dict[Key, float]) -> list[tuple[Key, float, float]]:
    return [(key, seconds, found[key[0], key[1], key[1], key[3]]) for key, seconds in found.items()]


def norms(steps: int, width: int, compiled: bool, device: torch.device) -> dict[Key, Call]:
    """Calls by part, torch's name, implementation and pass."""
    x = torch.randn(BATCH_SIZE, steps, width, device=device, requires_grad=True)
    weight = torch.ones(width, device=device, requires_grad=True)
    bias = torch.zeros(width, device=device, requires_grad=True)
    peer = "F.layer_norm"
    implementations: dict[str, Callable[..., Tensor]] = {
        peer: lambda x, w, b: F.layer_norm(x, (width,), w, b, 1e-5),
        "layer_norm": lambda x, w, b: layer_norm(x, w, b, 1e-5),
        "operations": lambda x, w, b: normalized(x, w, b, 1e-5),
    }
    if compiled:
        fused = torch.compile(normalized)
        implementations["compiled"] = lambda x, w, b: fused(x, w, b, 1e-5)
    tensors = [x, weight, bias]
    return {
        ("norm, float32", peer, name, what): call
        for name, run in implementations.items()
        for what, call in passes(run, tensors, tensors).items()
    }


def attentions(
    steps: int, width: int, dtype: torch.dtype, masked: bool, device: torch.device
) -> dict[Key, Call]:
    """Calls by part, torch's name, implementation and pass."""
    head_size = width // HEADS
    ours = MultiHeadedAttention(head_size, HEADS, steps)
    # As a projection leaves them: (B, T, D), seen as (B, heads, T, w).
    leaves = [
        torch.randn(BATCH_SIZE, steps, width, dtype=dtype, device=device, requires_grad=True)
        for _ in range(3)
    ]
    lengths = torch.linspace(steps / 2, steps, BATCH_SIZE, device=device)
    mask = (torch.arange(steps, device=device) < lengths.unsqueeze(1)).to(torch.int64)
    mask_or_none = mask if masked else None
    real = (mask != 0)[:, None, None, :] if masked else None
    peer = "F.scaled_dot_product_attention"

    def split(run: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda q, k, v: run(*(ours.split_heads(tensor) for tensor in (q, k, v)))

    def torchs(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return ours.merge_heads(F.scaled_dot_product_attention(q, k, v, attn_mask=real))

    def explicit(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return ours.merge_heads(ours.get_attention_weights(q, k, mask_or_none) @ v)

    def applied(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return ours.apply_attention(q, k, v, mask_or_none)

    part = f"attention, {str(dtype).removeprefix('torch.')}{', masked' if masked else ''}"
    implementations = {peer: torchs, "apply_attention": applied, "explicit": explicit}
    return {
        (part, peer, name, what): call
        for name, run in implementations.items()
        for what, call in passes(split(run), leaves, leaves).items()
    }


if __name__ == "__main__":
    raise SystemExit(main())
