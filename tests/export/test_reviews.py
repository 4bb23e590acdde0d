"""The labelled reviews that accuracy is measured on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from export import reprove
from export.__main__ import main
from export.reviews import accuracy_set, labelled_set
from models.bundle import load

SaveBundle = Callable[..., Path]


@pytest.fixture
def by_label(tmp_path: Path) -> Path:
    """Twelve reviews, the negative ones first."""
    path = tmp_path / "sorted.csv"
    rows = [f'{label},"review {i}","a {word} book"'
            for label, word in ((0, "bad"), (1, "good")) for i in range(6)]  # fmt: skip
    path.write_text("label,title,content\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("command", [main, reprove.main])
def test_reviews_of_one_label_are_refused(
    command: Callable[[list[str]], int],
    save_bundle: SaveBundle,
    by_label: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = save_bundle("ngram-bag")
    assert main([str(folder), "--format", "torchscript", "--limit", "20"]) == 0
    capsys.readouterr()
    assert command([str(folder), "--reviews", str(by_label), "--limit", "6"]) == 2
    error = capsys.readouterr().err
    assert "the first 6 of" in error and "shuffle it or raise --limit" in error
    assert error.count("\n") == 1


def test_reviews_of_both_labels_are_the_first_of_the_source(
    save_bundle: SaveBundle, by_label: Path
) -> None:
    tokenizer = load(save_bundle("ngram-bag")).tokenizer
    reviews = accuracy_set(str(by_label), tokenizer, 256, 7)
    assert reviews.labels.tolist() == [0] * 6 + [1]
    # for times, labels do not matter
    assert labelled_set(str(by_label), tokenizer, 256, 6).labels.tolist() == [0] * 6
