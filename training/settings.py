"""The settings of a run, each with its default and what it may be.

An experiment's YAML file and `--set` fill them (`training.config`); a value of the wrong type or
out of range, and a key that is not here, are errors.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

_STRICT = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)


@dataclass(config=_STRICT, kw_only=True)
class ModelConfig:
    """What is trained: a name of `models.registry.ARCHITECTURES` and its arguments.

    `architecture: tfidf` is the one name outside that table: scikit-learn's TF-IDF with logistic
    regression, the baseline that needs no network.
    """

    architecture: str
    arguments: dict[str, Any] = Field(default_factory=dict)


@dataclass(config=_STRICT, kw_only=True)
class DataConfig:
    """Which reviews, how they are split, and how they become token ids."""

    sources: list[str] = Field(default_factory=lambda: ["embedded"])
    """Hub name, folder, file, `embedded` or `embedded:N`; several are concatenated."""
    tests: list[str] = Field(default_factory=list)
    """Further sources of which only the test rows are used: out-of-domain tests."""
    text: Literal["title+content", "title", "content"] = "title+content"
    tokenizer: str | None = None
    """Folder or hub name; None trains a WordPiece on the training text."""
    vocabulary_size: int = Field(default=8000, ge=200, le=60000)
    """Of a WordPiece trained here; a tokenizer that is loaded brings its own."""
    max_length: int = Field(default=256, ge=3, le=512)
    """Tokens a review is cut to, [CLS] and [SEP] included."""
    validation_fraction: float = Field(default=0.05, gt=0, lt=1)
    test_fraction: float = Field(default=0.1, gt=0, lt=1)
    """Held out of a source that brings no test rows of its own."""
    limit_train: int | None = Field(default=None, ge=1)
    limit_validation: int | None = Field(default=None, ge=1)
    limit_test: int | None = Field(default=None, ge=1)
    drop_duplicates: bool = True
    """Keep the first of training rows with the same text, so that none straddles the split."""
    cache_dir: str | None = None
    seed: int = Field(default=0, ge=0)
    """Of the split and the subsets; apart from `train.seed`, so that seeds share one split."""


@dataclass(config=_STRICT, kw_only=True)
class TrainConfig:
    """How it is trained. A step is one optimiser step over `batch_size` reviews."""

    epochs: int = Field(default=1, ge=1)
    max_steps: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=512, ge=1)
    """Reviews an optimiser step, over all processes and micro-batches together."""
    micro_batch_size: int = Field(default=64, ge=1)
    """Reviews a forward pass on one process; less needs less memory and changes nothing else."""
    evaluation_batch_size: int = Field(default=128, ge=1)
    learning_rate: float = Field(default=1e-5, gt=0)
    adam_epsilon: float = Field(default=1e-8, gt=0)
    adam_betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = Field(default=0.01, ge=0)
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup_fraction: float = Field(default=0.0, ge=0, lt=1)
    """Share of all steps over which the learning rate rises from 0."""
    max_gradient_norm: float | None = Field(default=None, gt=0)
    padding: Literal["longest", "max"] = "longest"
    """To the longest review of the batch, or always to `data.max_length`."""
    bucketed: bool = True
    """Batches of reviews of like length; still shuffled, still every review once an epoch."""
    evaluations_per_epoch: int = Field(default=4, ge=1)
    patience: int | None = Field(default=None, ge=1)
    """Stop after this many validations without a better accuracy."""
    log_every: int = Field(default=10, ge=1)
    """Steps between lines of the history."""
    save_every: int = Field(default=200, ge=1)
    """Steps between states to resume from; each validation saves one too."""
    # YAML reads a bare `no` as false
    mixed_precision: Annotated[
        Literal["no", "bf16", "fp16"] | None,
        BeforeValidator(lambda given: "no" if given is False else given),
    ] = None
    """None leaves it to Accelerate's own configuration."""
    row_wise_embeddings: bool = False
    """Step only the rows of the embedding table that a batch uses; AdamW's own result
    (`training.row_wise`)."""
    compile: bool = False
    recurrence: Literal["loop", "triton"] = "loop"
    """How `custom-gru` takes its steps on a GPU: by PyTorch's operations, or all of them by one
    kernel (`models.triton_recurrence`)."""
    calibrate: bool = True
    """Scale the best checkpoint's logits by the temperature that fits the validation split."""
    loader_workers: int = Field(default=0, ge=0)
    """Processes that build batches ahead of the step; 0 builds them in the training process."""
    tracker: str = "tensorboard"
    """Any of Accelerate's trackers by name, or `none`."""
    seed: int = Field(default=0, ge=0)


@dataclass(config=_STRICT, kw_only=True)
class InitialConfig:
    """What the weights begin with."""

    deviation: float | None = Field(default=None, gt=0)
    """Standard deviation of the word vectors, positions and class token that are drawn; None leaves
    PyTorch's 1, BERT draws with 0.02."""
    embeddings: str | None = None
    """Hub name or folder of a pretrained encoder with the same vocabulary: its table of words,
    reduced to the model's width by principal components."""
    blocks: str | None = None
    """Hub name or folder of a pretrained encoder, or of a bundle of one: the words and first blocks
    of a post-norm transformer of the same shape."""


@dataclass(config=_STRICT, kw_only=True)
class DistillConfig:
    """Learn from a trained model's logits too."""

    teacher: str | None = None
    """Folder of a bundle with the same tokenizer."""
    share: float = Field(default=0.5, ge=0, le=1)
    """Of the loss on a labelled review; the label has the rest."""
    temperature: float = Field(default=2.0, gt=0)
    precision: Literal["no", "bf16"] = "no"
    """Of the teacher's forward pass."""
    unlabelled: list[str] = Field(default_factory=list)
    """Files of texts, or folders with `unsupervised*` files: the teacher alone labels them."""
    limit_unlabelled: int | None = Field(default=None, ge=1)
    """Texts drawn of each of these."""


@dataclass(config=_STRICT, kw_only=True)
class Config:
    """An experiment, whole. `number` is its place in the table of results."""

    experiment: str
    title: str
    variant: Literal["reference", "recommended", "distilled", "baseline", "custom"] = "custom"
    number: int | None = None
    model: ModelConfig
    data: DataConfig = Field(default_factory=DataConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    initial: InitialConfig = Field(default_factory=InitialConfig)
    distill: DistillConfig = Field(default_factory=DistillConfig)
