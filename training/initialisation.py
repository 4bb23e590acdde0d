"""Weights to begin with: a pretrained encoder's table of words, or its first blocks too.

V vocabulary, D the encoder's width, E the model's, P positions. A table is reduced to E by the
projection on the E leading principal components; what follows the embedding in every architecture
is a learned linear map, so that the model goes on learning which directions count.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from models.transformer import PostNormAttentionBlock, Transformer
from training.hub import fetch

_WORDS, _POSITIONS = "embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight"
_TYPES = "embeddings.token_type_embeddings.weight"
_NORM = ("embeddings.LayerNorm.weight", "embeddings.LayerNorm.bias")
_BLOCK = {  # a post-norm block's layers, as BERT's checkpoints name them
    "attn.query": "attention.self.query",
    "attn.key": "attention.self.key",
    "attn.value": "attention.self.value",
    "attn.output": "attention.output.dense",
    "layer_norm_1": "attention.output.LayerNorm",
    "linear.0": "intermediate.dense",
    "linear.3": "output.dense",
    "layer_norm_2": "output.LayerNorm",
}


def scale_drawn(model: nn.Module, deviation: float) -> None:
    """Give what PyTorch draws with a standard deviation of 1 another one: word vectors, and a
    transformer's positions and class token.

    From 1, a step of Adam hardly moves a word, and the place of a word speaks as loud as the word;
    from a small deviation what is learned soon outweighs what was drawn.

    Raises:
        ValueError: an architecture that draws its vectors otherwise.
    """
    drawn = [_word_embedding(model, "initial.deviation").weight]
    backbone = getattr(model, "backbone", model)
    if isinstance(backbone, Transformer):
        drawn += [backbone.pos_embedding, backbone.cls_token]
    with torch.no_grad():
        for parameter in drawn:
            parameter.mul_(deviation)


def initialise_embeddings(model: nn.Module, source: str) -> None:
    """Fill `model`'s word embedding (V, E), and learned positions where it has them.

    Raises:
        ValueError: no table there, of another vocabulary, or narrower than the model.
    """
    embedding = _word_embedding(model, "initial.embeddings")
    words, positions = _read(source, "initial.embeddings", [_WORDS, _POSITIONS])  # (V, D), (P, D)
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


def initialise_blocks(model: nn.Module, source: str) -> None:
    """Fill a post-norm transformer with an encoder's first blocks, words and positions.

    BERT normalises the sum of word, position and type before its first block, which the transformer
    does not. Its words are those of the table normalised at an average position, its positions
    what then is to be added on average: near BERT's own input, and training does the rest.

    Raises:
        ValueError: another architecture or shape, or no such encoder there.
    """
    transformer = getattr(model, "backbone", model)
    if not isinstance(transformer, Transformer) or not all(
        isinstance(block, PostNormAttentionBlock) for block in transformer.blocks
    ):
        raise ValueError(
            "initial.blocks: only a post-norm transformer takes an encoder's blocks; set "
            "model.architecture=transformer model.arguments.block=postnorm, or leave it out"
        )
    targets = {
        f"encoder.layer.{index}.{theirs}.{kind}": getattr(block.get_submodule(ours), kind)
        for index, block in enumerate(transformer.blocks)
        for ours, theirs in _BLOCK.items()
        for kind in ("weight", "bias")
    }
    tables = [_WORDS, _POSITIONS, _TYPES, *_NORM]
    read = _read(source, "initial.blocks", [*tables, *targets])
    words, positions, types, weight, bias = read[: len(tables)]
    with torch.no_grad():
        summed = words + positions.mean(0) + types[0]  # (V, D)
        normed = F.layer_norm(summed, summed.shape[1:], weight, bias)
        _copy(transformer.embedding.weight, normed, source, _WORDS)
        transformer.embedding.weight[0] = 0.0  # padding
        transformer.cls_token.copy_(bias.expand_as(transformer.cls_token))
        scale = weight / summed.std(dim=1, correction=0).mean()  # (D,)
        count = min(transformer.pos_embedding.shape[1] - 1, len(positions))
        transformer.pos_embedding.zero_()
        transformer.pos_embedding[0, 1 : count + 1] = (
            positions[:count] - positions.mean(0)
        ) * scale
        for (name, parameter), tensor in zip(targets.items(), read[len(tables) :], strict=True):
            _copy(parameter, tensor, source, name)


def _copy(parameter: Tensor, tensor: Tensor, source: str, name: str) -> None:
    if parameter.shape != tensor.shape:
        raise ValueError(
            f"initial.blocks={source}: {name} is {' x '.join(map(str, tensor.shape))}, the model "
            f"wants {' x '.join(map(str, parameter.shape))}; give the model the encoder's "
            "vocabulary, embed_dim and hidden_dim"
        )
    parameter.copy_(tensor)


def principal_axes(table: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Mean (D,) of the rows of `table` (V, D), and the `width` directions (D, width) in which they
    vary most, orthonormal, the largest first."""
    center = table.mean(0)
    centered = (table - center).double()
    _, vectors = torch.linalg.eigh(centered.T @ centered)  # ascending
    return center, vectors.flip(1)[:, :width].to(table.dtype)


def _word_embedding(model: nn.Module, key: str) -> nn.Embedding:
    for module in model.modules():
        if isinstance(module, nn.Embedding) and module.padding_idx == 0:
            return module
    raise ValueError(
        f"{key}: this architecture has no word embedding of the usual kind; leave it out"
    )


def _read(source: str, key: str, wanted: list[str]) -> list[Tensor]:
    """The tensors that end in `wanted`, in float32."""
    path = Path(source).expanduser() / "model.safetensors"
    if not path.is_file():
        path = fetch(source, "model.safetensors",
                     f"{key}={source}: no folder with model.safetensors",
                     "give a folder")  # fmt: skip
    try:
        with safe_open(path, framework="pt") as file:
            # with a prefix, such as `bert.`, where a whole model was saved
            full = {name: next((k for k in file.keys() if f".{k}".endswith(f".{name}")), None)  # noqa: SIM118
                    for name in wanted}  # fmt: skip
            absent = [name for name, there in full.items() if there is None]
            if absent:
                raise ValueError(
                    f"{key}={source}: no {absent[0]} in it; give an encoder of BERT's "
                    "architecture, with as many blocks as the model has at least"
                )
            return [file.get_tensor(full[name]).float() for name in wanted]
    except SafetensorError as error:  # such as what git leaves where its large files are not there
        raise ValueError(f"{key}={source}: {path} is no whole safetensors file ({error})") from None
