"""What is in the data: rows, labels, lengths, and what is wrong with them."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table

from training.splits import find_repeats
from training.token_table import EMPTY_TEXT, TokenTable


@dataclass(frozen=True)
class PartReport:
    """Rows of one source that serve one purpose, before duplicates are dropped and limits apply."""

    source: str
    part: str
    """train, validation or test: of the source, or held out of its training rows."""
    rows: int
    used: int
    """Rows left when duplicates are dropped, other parts held out and limits applied."""
    positive_share: float
    empty: int
    """Rows without any text."""
    duplicates: int
    """Training rows: whose text came earlier in training, or in validation. Others: earlier in
    the same rows."""
    contradicting: int
    """Texts that occur with both labels."""
    also_in_training: int | None
    """Rows whose text is also trained on; None for training rows themselves."""
    mean_tokens: float
    median_tokens: float
    p90_tokens: float
    truncated_share: float
    unknown_share: float
    """Of all tokens, those that are [UNK]."""


@dataclass
class DataReport:
    """Everything of the data that a result should say; `as_dict` is plain JSON."""

    text: str
    max_length: int
    tokenizer: str
    vocabulary_size: int
    train: int
    validation: int
    tests: dict[str, int]
    parts: list[PartReport] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Nested dictionaries and lists of plain values."""
        return asdict(self)

    def render(self) -> RenderableType:
        """Two tables for a terminal of eighty columns: rows, and tokens."""
        rows = _table("rows", "used", "positive", "empty", "repeated", "both\nlabels", "in\ntrain")
        tokens = _table("mean", "median", "90th\npercentile", "cut", "[UNK]")
        for part in self.parts:
            leaked = "" if part.also_in_training is None else f"{part.also_in_training:,}"
            counts = (part.empty, part.duplicates, part.contradicting)
            rows.add_row(
                part.source,
                part.part,
                f"{part.rows:,}",
                f"{part.used:,}",
                f"{part.positive_share:.1%}",
                *(f"{count:,}" for count in counts),
                leaked,
            )
            tokens.add_row(
                part.source,
                part.part,
                *(f"{n:.0f}" for n in (part.mean_tokens, part.median_tokens, part.p90_tokens)),
                f"{part.truncated_share:.1%}",
                f"{part.unknown_share:.2%}",
            )
        rows.title = f"{self.train:,} reviews to train on, {self.validation:,} to validate on"
        rows.caption = "used: after duplicates are dropped, other parts held out, limits applied"
        tokens.title = f"tokens a review, of {self.text}, at most {self.max_length}"
        tokens.caption = f"tokenizer: {self.tokenizer}, {self.vocabulary_size:,} tokens"
        return Group(rows, "", tokens)


def _table(*numbers: str) -> Table:
    table = Table("source", "part", box=SIMPLE_HEAD, padding=(0, 0), pad_edge=False)
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def describe_part(
    source: str,
    part: str,
    table: TokenTable,
    used: int,
    duplicates: NDArray[np.bool_] | None = None,
    contradicting: NDArray[np.bool_] | None = None,
    also_in_training: int | None = None,
) -> PartReport:
    """Count one table. `duplicates`, `contradicting` (N,): where they were found over more rows."""
    hashes = table.column("text_hash")
    if duplicates is None or contradicting is None:
        repeats = find_repeats(hashes, table.labels)
        duplicates, contradicting = ~repeats.first, repeats.contradicting
    lengths = table.lengths
    return PartReport(
        source=source,
        part=part,
        rows=len(table),
        used=used,
        positive_share=float(table.labels.mean()),
        empty=int((hashes == EMPTY_TEXT).sum()),
        duplicates=int(duplicates.sum()),
        contradicting=int(contradicting.sum()),
        also_in_training=also_in_training,
        mean_tokens=float(lengths.mean()),
        median_tokens=float(np.median(lengths)),
        p90_tokens=float(np.percentile(lengths, 90)),
        truncated_share=float(table.column("truncated").mean()),
        unknown_share=float(table.column("unknown").sum(dtype=np.int64) / max(1, lengths.sum())),
    )
