"""The questions that runs answer, and which run is held against which."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import PurePosixPath
from typing import Any

from training.results.runs import Run

EXPERIMENTS = {
    "1": "1-gru",
    "2": "2-gru-attention",
    "3": "3-transformer",
    "4": "4-transformer-deep",
    "5": "5-transformer-postnorm",
    "6-frozen": "6-bert-frozen",
    "6-finetuned": "6-bert-finetuned",
    "custom-gru": "custom-gru",
    "tfidf": "baseline-tfidf",
    "ngram-bag": "baseline-fasttext",
}
"""A role and the experiment that plays it, for the command that makes a missing run."""

IN_DOMAIN, SEEN, OUT_OF_DOMAIN = "in domain", "seen without labels", "out of domain"
BASELINES = ("tfidf", "ngram-bag")
_SCRATCH = ("1", "2", "3", "4", "5")
_PRETRAINED = ("6-frozen", "6-finetuned")


@dataclass(frozen=True)
class Question:
    """Pairs of roles, left to right: a difference is the right one's accuracy less the left's."""

    key: str
    heading: str
    pairs: tuple[tuple[str, str], ...]


QUESTIONS = (
    Question("attention", "What attention changed (1 against 2)", (("1", "2"),)),
    Question("depth", "Depth (3 against 4)", (("3", "4"),)),
    Question("norm", "Norm placement (3 against 5)", (("3", "5"),)),
    Question("pretraining", "BERT (6) against all, and frozen against fine-tuned",
             (*product(_SCRATCH, _PRETRAINED), _PRETRAINED)),
    Question("custom", "The custom GRU against torch's (1)", (("1", "custom-gru"),)),
    Question("baselines", "Against what a user would take instead",
             tuple(product(BASELINES, (*_SCRATCH, *_PRETRAINED, "custom-gru")))),
)  # fmt: skip
SETTINGS = Question("settings", "The reference's settings against the recommended ones", ())


def comparable(left: Run, right: Run) -> bool:
    """Whether both learned from the same reviews, as far as sources and their number tell."""
    return data_key(left) == data_key(right)


def data_key(run: Run) -> tuple[tuple[str, ...], int]:
    """What has to agree before two finished runs are compared."""
    data = run.facts["data"]
    return tuple(source_name(source) for source in data.get("sources", ())), data["train_reviews"]


def source_name(source: str) -> str:
    """The last part of a path or a hub name, without endings: what a test set is called after."""
    name = PurePosixPath(source.rstrip("/")).name or source
    return name.split(".")[0] if "/" in source or "." in source else name


def in_domain(run: Run, test: str) -> bool:
    """Whether a test set comes from a source that the run was trained on.

    The data's report names its sources as it names its test sets; without one, the sources' last
    parts stand in for their names.
    """
    data = run.facts["data"]
    parts = (data.get("report") or {}).get("parts") or ()
    names = {part["source"] for part in parts if part["part"] == "train"}
    names = names or {set_name(source) for source in data.get("sources", ())}
    return test in names


def seen_without_labels(run: Run, test: str) -> bool:
    """Whether texts of a test set's source were learned from, and no label of them: such a test is
    neither in domain nor out of it. Where only the source's name is the same it counts as seen."""
    if in_domain(run, test):
        return False
    names = {set_name(given) for given in run.unlabelled}
    names |= {set_name(other) for other in run.tests
              if any(_one_place(other, given) for given in run.unlabelled)}  # fmt: skip
    return any(test == name or re.fullmatch(rf"{re.escape(name)}-\d+", test) for name in names)


def domain(run: Run, test: str) -> str:
    """`in domain`, `seen without labels` or `out of domain`."""
    if in_domain(run, test):
        return IN_DOMAIN
    return SEEN if seen_without_labels(run, test) else OUT_OF_DOMAIN


def set_name(given: str) -> str:
    """What its test set is called, apart from the number behind it where two share a name."""
    return source_name(given).split(":")[0]


def _one_place(test: str, unlabelled: str) -> bool:
    """Whether one is the other or lies in it, such as `unsupervised.parquet` beside the tests."""
    a, b = PurePosixPath(test), PurePosixPath(unlabelled)
    return a.is_relative_to(b) or b.is_relative_to(a)


@dataclass(frozen=True)
class Difference:
    """A setting that two runs do not share."""

    setting: str
    left: Any
    right: Any

    def __str__(self) -> str:
        return f"{self.setting} {_plain(self.left)} / {_plain(self.right)}"


def differing_settings(left: Run, right: Run, arguments: bool = False) -> list[Difference]:
    """What of the training differs besides the model: it may be the reason of a difference.

    `arguments`: also the model's own, which for two different models are no news.
    """

    def settings(run: Run) -> dict[str, Any]:
        training, data = run.facts["training"], run.facts["data"]
        names = ("epochs", "batch_size", "learning_rate", "max_length", "padding",
                 "mixed_precision", "seed")  # fmt: skip
        chosen = {name.replace("_", " "): training.get(name) for name in names}
        epochs = training["epochs"]  # where a run stopped early is an outcome, not a setting
        chosen["epochs"] = epochs if training["stopped"] == "finished" else "stopped early"
        chosen |= {"text": data.get("text"), "device": run.facts["memory"]["device"]}
        return chosen | (run.facts.get("arguments", {}) if arguments else {})

    a, b = settings(left), settings(right)
    found = [Difference(name, a.get(name), b.get(name)) for name in dict.fromkeys([*a, *b])]
    # a setting that one of the two does not have, such as TF-IDF's learning rate, is no difference
    return [d for d in found
            if d.left != d.right and (arguments or None not in (d.left, d.right))]  # fmt: skip


def command(role: str, runs: Sequence[Run]) -> str:
    """The command that makes a missing run on the data of the runs that are there."""
    name = EXPERIMENTS[role]
    parts = ["python", "-m", "training", "--experiment", name]
    settings: tuple[str, ...] = ()
    finished = [run for run in runs if run.finished]
    if finished:
        example = finished[0]
        parts += ["--data", *example.facts["data"].get("sources", ())]
        parts += ["--test", *example.tests] if example.tests else []
        settings = example.data_settings
        if role in _PRETRAINED:
            backbones = [run.facts["arguments"].get("backbone") for run in finished
                         if run.role in _PRETRAINED]  # fmt: skip
            settings += tuple(f"model.arguments.backbone={name}" for name in backbones[:1])
    parts += ["--output", f"runs/{name}"]
    return shlex.join([*parts, "--set", *settings] if settings else parts)


def pairs_of(runs: Sequence[Run], left_role: str, right_role: str) -> Iterator[tuple[Run, Run]]:
    """For each right run the left one nearest in settings: 3 seeds against 3 seeds make 3 pairs."""
    for right in runs:
        lefts = [run for run in runs if run.role == left_role and _same_variant(run, right)]
        if right.role == right_role and lefts:
            yield _nearest(lefts, right), right


def _same_variant(left: Run, right: Run) -> bool:
    """A baseline is held against every variant; a run of its own counts as recommended."""

    def variant(run: Run) -> str:
        return "recommended" if run.variant == "custom" else run.variant

    return left.variant == "baseline" or variant(left) == variant(right)


def _nearest(candidates: Sequence[Run], run: Run) -> Run:
    """Trained on the same data first, then with the fewest settings that differ."""
    return min(
        candidates,
        key=lambda other: (not comparable(other, run), len(differing_settings(other, run))),
    )


def settings_pairs(runs: Sequence[Run]) -> Iterator[tuple[Run, Run]]:
    for right in runs:
        lefts = [run for run in runs if run.variant == "reference" and run.role == right.role]
        if right.variant == "recommended" and right.role is not None and lefts:
            yield _nearest(lefts, right), right


def unnamed_pairs(runs: Sequence[Run]) -> Iterator[tuple[Run, Run]]:
    """A user's own experiment plays no role; it still stands against the baselines."""
    for baseline in BASELINES:
        lefts = [run for run in runs if run.role == baseline]
        for right in runs:
            if lefts and right.role not in EXPERIMENTS:
                yield _nearest(lefts, right), right


def _plain(value: object) -> str:
    if value is None:
        return "unset"
    return f"{value:g}" if isinstance(value, float) else str(value)
