"""Known failures: the wrong answers that a model was surest of, as texts where they can be read."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import numpy as np
import yaml

from bias.dossier.candidates import Answers, Candidate
from training.config import parse
from training.data import ReviewData, load_data
from training.progress import Progress
from training.results.run_files import one_line
from training.results.runs import Run
from training.settings import Config

EXAMPLES = 5
LONGEST = 240  # characters of a quoted text
LABELS = ("negative", "positive")


@dataclass(frozen=True)
class Failure:
    """Row `row` of a test set, counted from 0. `text` is None where it was not read."""

    test: str
    row: int
    label: str
    answer: str
    confidence: float
    text: str | None


@dataclass(frozen=True)
class Failures:
    """Of one candidate's shipped run. `unread`: why texts are missing, where they are."""

    found: tuple[Failure, ...]
    wrong: dict[str, int]
    """How many answers of each test set are wrong."""
    unread: str = ""


class Texts:
    """Reads test texts again from where a run had them; each data configuration once."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._read: dict[str, ReviewData | str] = {}

    def of(self, run: Run, test: str, answers: Answers, rows: Iterable[int]) -> list[str] | str:
        """The texts of these ascending rows; or, in one line, why they cannot be had."""
        data = self._data(run)
        if isinstance(data, str):
            return data
        table = data.tests.get(test)
        if table is None or not np.array_equal(table.labels, answers.labels):
            return f"the source of {test} is no longer what it was when the run was tested"
        try:
            return list(table.select(np.array(list(rows))).texts())
        except (OSError, ValueError) as error:
            return one_line(error)

    def _data(self, run: Run) -> ReviewData | str:
        try:
            text = (run.folder / "config.yaml").read_text(encoding="utf-8")
            config: Config = parse(yaml.safe_load(text))
        except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
            return f"its configuration cannot be read: {one_line(error)}"
        key = json.dumps(asdict(config.data), sort_keys=True)
        if key not in self._read:
            self._say(
                f"reading the texts of {', '.join([*config.data.sources, *config.data.tests])}"
            )
            try:
                self._read[key] = load_data(config.data, Progress())
            except (OSError, ValueError) as error:
                self._read[key] = f"its sources cannot be read from here: {one_line(error)}"
        return self._read[key]


def find_failures(candidate: Candidate, most: int, texts: Texts | None) -> Failures:
    """The `most` surest errors of each test set; without texts where `texts` is None."""
    run, found, wrong = candidate.shipped, [], {}
    reasons: list[str] = [] if texts else ["left out as asked (--no-texts)"]
    for test, runs in candidate.answers.items():
        answers = runs[0]
        places = np.flatnonzero(~answers.correct)
        wrong[test] = len(places)
        order = np.argsort(-answers.confidence[places], kind="stable")[:most]
        rows = sorted(int(row) for row in places[order])
        quoted: list[str] | str = texts.of(run, test, answers, rows) if texts and rows else ""
        if isinstance(quoted, str) and quoted:
            reasons.append(quoted)
        for place, row in enumerate(rows):
            label = int(answers.labels[row])
            found.append(Failure(
                test, row, LABELS[label], LABELS[1 - label], float(answers.confidence[row]),
                None if isinstance(quoted, str) else shortened(quoted[place]),
            ))  # fmt: skip
    if not candidate.answers:
        reasons.append("the run kept no predictions")
    found.sort(key=lambda f: (list(wrong).index(f.test), -f.confidence, f.row))
    return Failures(tuple(found), wrong, "; ".join(dict.fromkeys(reasons)))


def shortened(text: str) -> str:
    """One line of at most LONGEST characters, cut at a word."""
    line = " ".join(text.split())
    if len(line) <= LONGEST:
        return line
    return line[: LONGEST - 1].rsplit(" ", 1)[0] + "…"
