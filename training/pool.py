"""Rows of several sources in one pool, and the draws that decide what each row serves."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from training.data_report import PartReport, describe_part
from training.settings import DataConfig
from training.sources import Source, Split, unique_names
from training.splits import Repeats, find_repeats, occurs_in, stratified
from training.token_table import TokenFile, TokenTable

# One stream of random numbers each, so that a limit does not change the split
_TEST_DRAW, _VALIDATION_DRAW, _LIMIT_DRAW = 1, 2, 3

Load = Callable[[Split], TokenFile]


class Pool:
    """The training and validation rows of all sources, and which of them serve what.

    `table` holds the training rows of all sources, then the validation rows of those that have
    them; `origin` (N,) is the number of each row's source.
    """

    def __init__(self, sources: list[Source], load: Load, config: DataConfig) -> None:
        self.sources, self.config = sources, config
        owners = [(k, part) for part in ("train", "validation")
                  for k, source in enumerate(sources) if part in source.splits]  # fmt: skip
        files = [load(sources[k].splits[part]) for k, part in owners]
        self.table = TokenTable(files)
        self.origin = np.repeat(np.array([k for k, _ in owners], np.int16), [len(f) for f in files])
        self.given = np.repeat([p == "validation" for _, p in owners], [len(f) for f in files])
        self.repeats = self._find_repeats()
        self._draw()

    def _find_repeats(self) -> Repeats:
        """Validation rows go first: a training row that repeats one of them is the one dropped."""
        order = np.argsort(~self.given, kind="stable")
        hashes, labels = self.table.column("text_hash"), self.table.labels
        ordered = find_repeats(hashes[order], labels[order])
        first, contradicting = np.empty_like(self.given), np.empty_like(self.given)
        first[order], contradicting[order] = ordered.first, ordered.contradicting
        return Repeats(first, contradicting)

    def _draw(self) -> None:
        """Hold out tests and validation, then apply the limits."""
        config, labels = self.config, self.table.labels
        free = ~self.given & (self.repeats.first if config.drop_duplicates else True)
        self.tests = self._hold_out_tests(free)
        self.held = self._hold_out_validation(free)
        strata = self._strata()
        train = np.flatnonzero(free)
        _refuse_empty(train, "the training split", len(labels))
        validation = np.concatenate([self.held, np.flatnonzero(self.given)])
        self.train = limited(
            self.table.select(train), strata[train], config.limit_train, config.seed
        )
        _refuse_one_label(self.train.labels)
        self.validation = limited(
            self.table.select(validation), strata[validation], config.limit_validation, config.seed
        )

    def _strata(self) -> NDArray[np.int16]:
        """A number for each pair of source and label, (N,)."""
        strata: NDArray[np.int16] = self.origin * np.int16(2) + self.table.labels
        return strata

    def _hold_out_tests(self, free: NDArray[np.bool_]) -> dict[int, TokenTable]:
        """Of each source without test rows, a share of its free rows, which are free no longer."""
        config, tests = self.config, {}
        for k, source in enumerate(self.sources):
            if "test" in source.splits:
                continue
            own = np.flatnonzero(free & (self.origin == k))
            labels = self.table.labels[own]
            rows = own[_fraction(labels, config.test_fraction, config.seed, _TEST_DRAW, k)]
            _refuse_empty(rows, f"data.test_fraction={config.test_fraction}", len(own))
            tests[k] = self.table.select(rows)
            free[rows] = False
        return tests

    def _hold_out_validation(self, free: NDArray[np.bool_]) -> NDArray[np.int64]:
        """A share of the free rows of all sources without validation rows, free no longer."""
        fraction, seed = self.config.validation_fraction, self.config.seed
        lacking = [k for k, source in enumerate(self.sources) if "validation" not in source.splits]
        own = np.flatnonzero(free & np.isin(self.origin, lacking))
        rows = own[_fraction(self._strata()[own], fraction, seed, _VALIDATION_DRAW)]
        if lacking:
            _refuse_empty(rows, f"data.validation_fraction={fraction}", len(own))
        free[rows] = False
        return rows

    def reports(self, train_hashes: NDArray[np.uint64]) -> list[PartReport]:
        """A line for each source's training rows, and for validation rows, given or held out."""
        parts = []
        used_train = np.bincount(self.origin[self.train.rows], minlength=len(self.sources))
        names = unique_names(self.sources)
        for k, name in enumerate(names):
            rows = np.flatnonzero(~self.given & (self.origin == k))
            duplicates, both = ~self.repeats.first[rows], self.repeats.contradicting[rows]
            table = self.table.select(rows)
            parts.append(describe_part(name, "train", table, int(used_train[k]), duplicates, both))
        chosen = {
            name: np.flatnonzero(self.given & (self.origin == k))
            for k, name in enumerate(names)
            if "validation" in self.sources[k].splits
        }
        if len(self.held):
            chosen["(held out)"] = self.held
        for name, rows in chosen.items():
            table, used = self.table.select(rows), int(np.isin(rows, self.validation.rows).sum())
            leaked = int(occurs_in(table.column("text_hash"), train_hashes).sum())
            parts.append(describe_part(name, "validation", table, used, also_in_training=leaked))
        return parts


def _fraction(strata: NDArray[np.integer], fraction: float, *seed: int) -> NDArray[np.bool_]:
    return stratified(strata, round(fraction * len(strata)), *seed)


def limited(
    table: TokenTable, strata: NDArray[np.integer], limit: int | None, seed: int
) -> TokenTable:
    """A stratified draw of at most `limit` rows, in their order; `strata` (N,)."""
    if limit is None or limit >= len(table):
        return table
    return table.select(np.flatnonzero(stratified(strata, limit, seed, _LIMIT_DRAW)))


def _refuse_one_label(labels: NDArray[np.int8]) -> None:
    found = np.unique(labels)
    if len(found) == 1:
        name = ("negative", "positive")[int(found[0])]
        raise ValueError(
            f"data.sources: all {len(labels)} training reviews are labelled {name}, from which "
            "nothing can be learned; give reviews of both kinds, or look at what labels them"
        )


def _refuse_empty(rows: NDArray[np.integer], where: str, of: int) -> None:
    if not len(rows):
        raise ValueError(f"{where}: nothing is left of {of} rows; give more reviews, or change it")
