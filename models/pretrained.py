"""A pretrained encoder of BERT's architecture (Devlin et al. 2019,
https://arxiv.org/abs/1810.04805) as a backbone; the one file that imports transformers.

B batch, T steps, D the encoder's hidden size.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn as nn
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import Tensor
from transformers import MODEL_MAPPING, AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging

from models.dropout import Dropout
from models.pooling import check_pooling, pool

# of weights that are cut off or that git kept elsewhere, and of a field of another type
_DAMAGED = (SafetensorError, StrictDataclassError)


class PretrainedEncoder(nn.Module):
    """A BERT-architecture encoder, its weights in float32, and one pooled vector a review.

    `backbone` is a hub name or a folder (weights are loaded, safetensors only, no remote code), or
    a configuration as a dictionary (weights are drawn; for a bundle, which brings its own).
    `frozen` keeps the encoder in evaluation mode and without gradients. `dropout` is on the
    feature; `encoder_dropout`, where given, is that inside the encoder, in the place of its
    configuration's.
    """

    def __init__(
        self,
        backbone: str | dict[str, Any],
        frozen: bool = False,
        pooling: str = "first",
        dropout: float = 0.0,
        encoder_dropout: float | None = None,
    ) -> None:
        super().__init__()
        self.encoder: PreTrainedModel
        self.frozen = frozen
        self.pooling = check_pooling(pooling)
        if isinstance(backbone, str):
            self.encoder = _load(backbone, encoder_dropout)
        else:
            self.encoder = _create(backbone, encoder_dropout)
        self.dropout = Dropout(dropout)
        if frozen:
            self.encoder.requires_grad_(False).eval()

    @property
    def feature_size(self) -> int:
        """D"""
        return int(self.encoder.config.hidden_size)

    @property
    def config(self) -> dict[str, Any]:
        """The encoder's configuration, from which an encoder of the same shape can be made."""
        config = self.encoder.config.to_dict()
        config.pop("_name_or_path", None)
        return config

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def forward(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """Token ids (B, T), mask (B, T) -> feature (B, D).

        `ValueError` for more tokens than the encoder has positions for.
        """
        positions = int(self.encoder.config.max_position_embeddings)
        if not torch.jit.is_tracing() and inputs.shape[1] > positions:
            raise ValueError(
                f"input_ids: got {inputs.shape[1]} tokens, of which the pretrained encoder has "
                f"positions for {positions}; cut the reviews to {positions} tokens"
            )
        if mask is None:
            mask = torch.ones_like(inputs)
        # The first step always counts as real: attention over nothing is 0/0. Only in a review of
        # length zero does this change anything.
        first = torch.arange(inputs.shape[1], device=inputs.device) == 0  # (T,)
        seen = ((mask != 0) | first).to(torch.int64)  # (B, T)
        with torch.no_grad() if self.frozen else nullcontext():
            outputs = self.encoder(input_ids=inputs, attention_mask=seen).last_hidden_state
        return self.dropout(pool(outputs, mask, self.pooling))  # (B, T, D) -> (B, D)

    def feature(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """What a classifier reads: `forward` itself."""
        return self.forward(inputs, mask)


def _load(name_or_path: str, dropout: float | None) -> PreTrainedModel:
    config = backbone_config(name_or_path, dropout)
    try:
        with _quiet():  # its report on the pooler's weights, which are left out on purpose
            model, report = AutoModel.from_pretrained(
                name_or_path,
                config=config,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                **_options(config, name_or_path),
            )
    # OSError: not there, not reachable, no safetensors; ValueError: an unknown architecture.
    except (OSError, ValueError, *_DAMAGED) as error:
        raise _cannot_load(name_or_path, error) from error
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise ValueError(
            f"backbone: got {name_or_path!r}, whose weights lack {len(missing)} tensors of its "
            f"configuration ({missing[0]}, ...); give a folder whose two files belong together"
        )
    return model


def backbone_config(name_or_path: str, dropout: float | None = None) -> PreTrainedConfig:
    """The configuration alone of what `PretrainedEncoder` loads, with this dropout.

    Raises:
        ValueError: it cannot be loaded, or is of no encoder that can stand here.
    """
    try:
        # A file would be read as a pickle whatever its name.
        if Path(name_or_path).is_file():
            raise OSError("it is a file")
        config: PreTrainedConfig = AutoConfig.from_pretrained(name_or_path, trust_remote_code=False)
    except (OSError, ValueError, *_DAMAGED) as error:
        raise _cannot_load(name_or_path, error) from error
    _set_dropout(config, dropout)
    _options(config, name_or_path)
    return config


def _cannot_load(name_or_path: str, error: Exception) -> ValueError:
    reason = " ".join(str(error).split()).split(". ")[0].rstrip(".")
    return ValueError(
        f"backbone: got {name_or_path!r}, which cannot be loaded ({reason}); give a folder "
        "with config.json and model.safetensors, or a hub name where the network is reachable"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Only errors from transformers, and its verbosity as it was afterwards."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _create(config: dict[str, Any], dropout: float | None) -> PreTrainedModel:
    settings = dict(config)
    model_type = settings.pop("model_type", None)
    try:
        made = AutoConfig.for_model(model_type, **settings)
    except StrictDataclassError as error:
        raise ValueError(f"backbone: got a configuration with {' '.join(str(error).split())}"
                         ) from error  # fmt: skip
    except ValueError as error:
        raise ValueError(
            f"backbone: got a configuration with model_type = {model_type!r}, which this "
            "transformers does not know; give one of BERT's architecture, such as 'bert'"
        ) from error
    _set_dropout(made, dropout)
    return AutoModel.from_config(made, trust_remote_code=False, **_options(made, model_type))


def _set_dropout(config: PreTrainedConfig, dropout: float | None) -> None:
    """All of the encoder's dropouts at once, by the names that BERT's configurations have."""
    if dropout is not None:
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            if not hasattr(config, name):
                raise ValueError(
                    f"encoder_dropout: a configuration of {config.model_type} has no {name}; "
                    "leave encoder_dropout out"
                )
            setattr(config, name, dropout)


def _options(config: PreTrainedConfig, name: str) -> dict[str, Any]:
    """How to build an encoder of `config`, after checking that it can be a backbone."""
    model_class: Any = MODEL_MAPPING.get(type(config), None)
    one_encoder = inspect.isclass(model_class) and not config.is_encoder_decoder
    if not one_encoder or not hasattr(config, "max_position_embeddings"):
        raise ValueError(
            f"backbone: got {name!r} ({config.model_type}), which is not an encoder of BERT's "
            "architecture; give one, such as bert-base-uncased"
        )
    if config.pad_token_id != 0:
        raise ValueError(
            f"backbone: got {name!r}, whose padding token is {config.pad_token_id}; reviews are "
            "padded with 0 here, as BERT's are; give an encoder with pad_token_id = 0"
        )
    options: dict[str, Any] = {"dtype": torch.float32}
    if getattr(model_class, "_supports_sdpa", False):
        options["attn_implementation"] = "sdpa"
    # The pooler is a layer on [CLS] that the feature does not pass through.
    if "add_pooling_layer" in inspect.signature(model_class).parameters:
        options["add_pooling_layer"] = False
    return options
