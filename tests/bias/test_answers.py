"""Answers: asked once, kept whole, found again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bias import answers
from bias.answers import Answers

TEXTS = [f"{'long ' * (i % 7)}text {i}" for i in range(50)]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "PART", 8)


class Failing:
    """Answers so many calls and then goes away."""

    def __init__(self, predictor: Any, calls: int) -> None:
        self.predictor, self.calls = predictor, calls
        self.labels = predictor.labels

    def predict(self, texts: Sequence[str]) -> NDArray[np.float64]:
        self.calls -= 1
        if self.calls < 0:
            raise ConnectionError("gone")
        result: NDArray[np.float64] = self.predictor.predict(texts)
        return result


def test_every_text_is_asked_once_and_answered_in_order(tmp_path: Path, additive: Any) -> None:
    predictor = additive(0)
    store = Answers(tmp_path)
    assert store.ask(predictor, TEXTS + TEXTS[::-1]) == 50
    asked = [text for call in predictor.asked for text in call]
    assert sorted(asked) == sorted(TEXTS)
    assert store.of(TEXTS).tolist() == predictor.positive(TEXTS).tolist()


def test_parts_hold_texts_of_like_length(tmp_path: Path, additive: Any) -> None:
    predictor = additive(0)
    Answers(tmp_path).ask(predictor, TEXTS)
    lengths = [len(text) for call in predictor.asked for text in call]
    assert lengths == sorted(lengths, reverse=True)


def test_an_interrupted_audit_goes_on_where_it_stopped(tmp_path: Path, additive: Any) -> None:
    predictor = additive(0)
    with pytest.raises(ConnectionError):
        Answers(tmp_path).ask(Failing(predictor, 3), TEXTS)
    resumed = Answers(tmp_path)
    assert len(resumed.missing(TEXTS)) == 50 - 3 * 8
    moved: list[int] = []
    assert resumed.ask(predictor, TEXTS, moved.append) == 26
    assert sum(moved) == 26
    assert resumed.of(TEXTS).tolist() == predictor.positive(TEXTS).tolist()
    assert Answers(tmp_path).missing(TEXTS) == []


def test_a_part_that_was_being_written_is_not_there(tmp_path: Path, additive: Any) -> None:
    (tmp_path / "0123.partial").write_bytes(b"half")
    store = Answers(tmp_path)
    assert store.missing(TEXTS) == TEXTS


def test_another_model_behind_the_name_is_noticed(tmp_path: Path, additive: Any) -> None:
    with pytest.raises(ConnectionError):
        Answers(tmp_path).ask(Failing(additive(0), 3), TEXTS)
    with pytest.raises(ValueError, match="another model answers under its name"):
        Answers(tmp_path).ask(additive(1), TEXTS)


def test_no_text_is_stored(tmp_path: Path, additive: Any) -> None:
    Answers(tmp_path).ask(additive(0), ["a secret sentence"])
    assert all(b"secret" not in file.read_bytes() for file in tmp_path.iterdir())


def test_the_positive_column_is_found_by_its_name(additive: Any) -> None:
    predictor = additive(0)
    assert answers.positive_column(predictor) == 1
    predictor.labels = ["POSITIVE", "NEGATIVE"]
    assert answers.positive_column(predictor) == 0
    predictor.labels = ["a", "b", "c"]
    with pytest.raises(ValueError, match="has labels"):
        answers.positive_column(predictor)
