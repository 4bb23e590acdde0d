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


def test_another_model_is_noticed_though_no_text_is_left_to_ask(
    tmp_path: Path, additive: Any
) -> None:
    predictor = additive(0)
    Answers(tmp_path).ask(predictor, TEXTS)
    assert Answers(tmp_path).ask(predictor, TEXTS) == 0
    with pytest.raises(ValueError, match="another model answers under its name"):
        Answers(tmp_path).ask(additive(1), TEXTS)


def test_a_model_that_differs_on_later_texts_only_is_noticed(tmp_path: Path, additive: Any) -> None:
    """As the first texts of an audit are all about one group."""
    texts = [f"{'he' if i < 900 else 'she'} reads text {i}" for i in range(1000)]
    Answers(tmp_path).ask(additive(0, scale=0, quirk=0), texts[:-1])
    with pytest.raises(ValueError, match="another model answers under its name"):
        Answers(tmp_path).ask(additive(0, scale=0, quirk=0, loss=1.0), texts)


class OfItsBatch:
    """Answers that move with what shares the batch, as int8's do; `extra` is added to all."""

    def __init__(self, predictor: Any, extra: float) -> None:
        self.predictor, self.extra = predictor, extra
        self.labels = predictor.labels

    def predict(self, texts: Sequence[str]) -> NDArray[np.float64]:
        shift = self.extra + 0.01 * (len(texts) % 8) / 8
        result: NDArray[np.float64] = self.predictor.predict(texts)
        return result + np.array([-shift, shift])


def test_answers_that_depend_on_the_batch_are_one_model_up_to_that(
    tmp_path: Path, additive: Any
) -> None:
    predictor = additive(0)
    Answers(tmp_path).ask(OfItsBatch(predictor, 0.0), TEXTS)  # parts of 8, and checked 50 at once
    assert Answers(tmp_path).ask(OfItsBatch(predictor, 0.0), TEXTS) == 0
    with pytest.raises(ValueError, match="another model answers under its name"):
        Answers(tmp_path).ask(OfItsBatch(predictor, 0.02), TEXTS)


def test_two_models_by_turns_are_not_one_that_depends_on_the_batch(
    tmp_path: Path, additive: Any
) -> None:
    one, both = additive(0), additive(1)
    Answers(tmp_path).ask(one, TEXTS)
    other = both.predict
    both.predict = lambda texts: (one.predict if len(texts) == 1 else other)(texts)
    with pytest.raises(ValueError, match="another model answers under its name"):
        Answers(tmp_path).ask(both, TEXTS)


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
