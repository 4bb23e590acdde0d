"""Word vectors to begin with: a pretrained encoder's table, reduced to the model's width.

V vocabulary, D the table's width, E the model's. The reduction is the projection on the E leading
principal components; what follows the embedding in every architecture is a learned linear map, so
that the model goes on learning which directions count.
"""

from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from training.hub import fetch

_WORDS, _POSITIONS = "embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight"


def initialise_embeddings(model: nn.Module, source: str) -> None:
    """Fill `model`'s word embedding (V, E), and learned positions where it has them.

    Raises:
        ValueError: no table there, of another vocabulary, or narrower than the model.
    """
    embedding = _word_embedding(model)
    words, positions = _read(source)  # (V, D), (P, D)
    rows, width = embedding.weight.shape
    if words.shape[0] != rows or words.shape[1] < width:
        raise ValueError(
            f"initial.embeddings={source}: its table is {words.shape[0]} x {words.shape[1]}, the "
            f"model wants {rows} rows and at most {words.shape[1]} columns (it has {width}); use "
            "the encoder's own tokenizer, or a narrower model"
        )
    center, axes = principal_axes(words, width)  # (D,), (D, E)
    reduced = (words - center) @ axes  # (V, E)
    scale = reduced.std()
    with torch.no_grad():
        embedding.weight.copy_(reduced / scale)
        if embedding.padding_idx is not None:
            embedding.weight[embedding.padding_idx] = 0.0
        own = getattr(getattr(model, "backbone", model), "pos_embedding", None)
        if own is not None:
            # Relative to the words as in the source: with a deviation of 1 each, as drawn, the
            # place of a word would speak as loud as the word.
            count = min(own.shape[1] - 1, len(positions))
            own.zero_()
            own[0, 1 : count + 1] = (positions[:count] - positions.mean(0)) @ axes / scale


def principal_axes(table: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Mean (D,) of the rows of `table` (V, D), and the `width` directions (D, width) in which they
    vary most, orthonormal, the largest first."""
    center = table.mean(0)
    centered = (table - center).double()
    _, vectors = torch.linalg.eigh(centered.T @ centered)  # ascending
    return center, vectors.flip(1)[:, :width].to(table.dtype)


def _word_embedding(model: nn.Module) -> nn.Embedding:
    for module in model.modules():
        if isinstance(module, nn.Embedding) and module.padding_idx == 0:
            return module
    raise ValueError(
        "initial.embeddings: this architecture has no word embedding to fill; leave it out"
    )


def _read(source: str) -> tuple[Tensor, Tensor]:
    path = Path(source).expanduser() / "model.safetensors"
    if not path.is_file():
        path = fetch(source, "model.safetensors",
                     f"initial.embeddings={source}: no folder with model.safetensors",
                     "give a folder")  # fmt: skip
    with safe_open(path, framework="pt") as file:
        # with a prefix, such as `bert.`, where a whole model was saved
        found = {name: full for full in file.keys() for name in (_WORDS, _POSITIONS)  # noqa: SIM118
                 if full.endswith(name)}  # fmt: skip
        if len(found) < 2:
            raise ValueError(
                f"initial.embeddings={source}: no table {_WORDS} in it; give an encoder of BERT's "
                "architecture"
            )
        words, positions = (file.get_tensor(found[name]).float() for name in (_WORDS, _POSITIONS))
    return words, positions
