"""The one place where an architecture gets its name.

To add one: write its module, write its builder here, enter it in `ARCHITECTURES`. The builder's
signature is the architecture's arguments: names, types, defaults, and by `Literal` what is allowed.
"""

import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

from models.classifier import Classifier
from models.custom_gru_encoder import CustomGRUEncoder
from models.encoder_decoder import EncoderDecoder
from models.ngram_bag import NgramBag
from models.pooling import Pooling
from models.transformer import Block, Transformer


@dataclass(frozen=True)
class Architecture:
    """A named way to build a classifier.

    `example` holds the required arguments of a full-size one. `portable` turns the arguments a
    model was built with into those that rebuild it anywhere, without a network.
    """

    summary: str
    builder: Callable[..., Classifier]
    example: dict[str, Any] = field(default_factory=lambda: {"vocabulary_size": 30522})
    portable: Callable[[Classifier, dict[str, Any]], dict[str, Any]] = lambda _, given: dict(given)

    @property
    def arguments(self) -> dict[str, inspect.Parameter]:
        """Argument name -> its annotation and default (`inspect.Parameter.empty` = required)."""
        return dict(inspect.signature(self.builder).parameters)


def _gru_encoder(
    vocabulary_size: int,
    embedding_size: int = 256,
    hidden_size: int = 256,
    num_layers: int = 1,
    dropout: float = 0.0,
    pooling: Pooling = "first",
    reads_padding: bool = False,
    num_labels: int = 2,
) -> Classifier:
    backbone = EncoderDecoder(
        vocabulary_size,
        embedding_size,
        hidden_size,
        num_layers,
        dropout,
        encoder_only=True,
        pooling=pooling,
        reads_padding=reads_padding,
    )
    return Classifier(backbone, hidden_size, num_labels)


def _gru_encoder_decoder(
    vocabulary_size: int,
    embedding_size: int = 256,
    hidden_size: int = 256,
    num_layers: int = 1,
    dropout: float = 0.0,
    pooling: Pooling = "first",
    reads_padding: bool = False,
    num_labels: int = 2,
) -> Classifier:
    backbone = EncoderDecoder(
        vocabulary_size,
        embedding_size,
        hidden_size,
        num_layers,
        dropout,
        encoder_only=False,
        pooling=pooling,
        reads_padding=reads_padding,
    )
    return Classifier(backbone, hidden_size, num_labels)


def _custom_gru(
    vocabulary_size: int,
    embedding_size: int = 256,
    hidden_size: int = 256,
    num_layers: int = 1,
    dropout: float = 0.0,
    pooling: Pooling = "first",
    reads_padding: bool = False,
    num_labels: int = 2,
) -> Classifier:
    backbone = CustomGRUEncoder(
        vocabulary_size,
        embedding_size,
        hidden_size,
        num_layers,
        dropout,
        pooling=pooling,
        reads_padding=reads_padding,
    )
    return Classifier(backbone, hidden_size, num_labels)


def _transformer(
    vocabulary_size: int,
    embed_dim: int = 256,
    hidden_dim: int = 256,
    num_heads: int = 4,
    num_layers: int = 2,
    block: Block = "prenorm",
    dropout: float = 0.3,
    pooling: Pooling = "first",
    num_labels: int = 2,
) -> Classifier:
    backbone = Transformer(
        vocabulary_size,
        embed_dim,
        hidden_dim,
        num_heads,
        num_layers,
        block,
        dropout,
        pooling=pooling,
    )
    return Classifier(backbone, embed_dim, num_labels)


def _ngram_bag(
    vocabulary_size: int,
    embedding_size: int = 16,
    buckets: int = 524_288,
    max_ngram: int = 2,
    dropout: float = 0.0,
    num_labels: int = 2,
) -> Classifier:
    backbone = NgramBag(vocabulary_size, embedding_size, buckets, max_ngram, dropout)
    return Classifier(backbone, embedding_size, num_labels)


def _bert(
    backbone: str | dict[str, Any],
    frozen: bool = False,
    pooling: Pooling = "first",
    dropout: float = 0.0,
    encoder_dropout: float | None = None,
    num_labels: int = 2,
) -> Classifier:
    # Here, because importing transformers takes seconds that the other architectures need not pay.
    from models.pretrained import PretrainedEncoder

    encoder = PretrainedEncoder(backbone, frozen, pooling, dropout, encoder_dropout)
    return Classifier(encoder, encoder.feature_size, num_labels)


def _bert_portable(model: Classifier, arguments: dict[str, Any]) -> dict[str, Any]:
    """The encoder's configuration in the place of the name it was loaded by."""
    return {**arguments, "backbone": getattr(model.backbone, "config")}  # noqa: B009


ARCHITECTURES: dict[str, Architecture] = {
    "gru-encoder": Architecture("bidirectional GRU (experiment 1)", _gru_encoder),
    "gru-encoder-decoder": Architecture(
        "bidirectional GRU, soft attention and a GRU decoder (experiment 2)", _gru_encoder_decoder
    ),
    "transformer": Architecture(
        "transformer with a class token, pre-norm or post-norm (experiments 3 to 5)", _transformer
    ),
    "bert": Architecture(
        "pretrained encoder of BERT's architecture, fine-tuned or frozen (experiment 6)",
        _bert,
        example={"backbone": {"model_type": "bert"}},
        portable=_bert_portable,
    ),
    "custom-gru": Architecture("bidirectional GRU of our own, from its equations", _custom_gru),
    "ngram-bag": Architecture("bag of tokens and hashed n-grams, as fastText", _ngram_bag),
}


def build(architecture: str, **arguments: Any) -> Classifier:
    """The classifier of that name, freshly initialised. Errors as `check_arguments`'."""
    check_arguments(architecture, arguments)
    return ARCHITECTURES[architecture].builder(**arguments)


def check_arguments(architecture: str, arguments: dict[str, Any]) -> None:
    """`ValueError` for an unknown name or argument, a missing one, or a value that is not allowed;
    builds nothing."""
    if architecture not in ARCHITECTURES:
        raise ValueError(
            f"architecture: got {architecture!r}{_closest(architecture, ARCHITECTURES)}; "
            f"allowed are {', '.join(ARCHITECTURES)}"
        )
    known = ARCHITECTURES[architecture].arguments
    for name, value in arguments.items():
        if name not in known:
            raise ValueError(
                f"argument {name!r} is not one of {architecture}'s{_closest(name, known)}; "
                f"allowed are {', '.join(known)}"
            )
        _check(architecture, name, value, known[name].annotation)
    for name, parameter in known.items():
        if parameter.default is inspect.Parameter.empty and name not in arguments:
            raise ValueError(f"argument {name!r} of {architecture} is missing; give one")


def _closest(given: str, allowed: Any) -> str:
    close = difflib.get_close_matches(given, list(allowed), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _check(architecture: str, name: str, value: Any, annotation: Any) -> None:
    """`ValueError` unless `value` is one that the builder's `annotation` allows."""
    if get_origin(annotation) is Literal:
        fits, wanted = value in get_args(annotation), f"one of {', '.join(get_args(annotation))}"
    elif annotation is bool:
        fits, wanted = isinstance(value, bool), "true or false"
    elif annotation is int:
        whole = isinstance(value, int) and not isinstance(value, bool)
        fits, wanted = whole and value >= 1, "a whole number of at least 1"
    elif annotation in (float, float | None):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        unset = value is None and annotation is not float
        fits, wanted = unset or (number and 0 <= value < 1), "a number of at least 0 and below 1"
    else:
        fits, wanted = isinstance(value, str | dict), "a hub name, a folder or a configuration"
    if not fits:
        raise ValueError(f"argument {name!r} of {architecture}: got {value!r}; allowed is {wanted}")
