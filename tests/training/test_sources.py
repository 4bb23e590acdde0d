"""Where reviews come from: folders, files, the hub, the embedded generator."""

import csv
from pathlib import Path
from typing import Any

import datasets
import pytest

from training import embedded
from training.sources import Source, open_source, unique_names


def _write(path: Path, *reviews: tuple[int, str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("label", "content"), *reviews])
    return path


def _texts(source: str, split: str) -> list[str]:
    return [
        text
        for reviews in open_source(source).splits[split].read("content")
        for text in reviews.texts
    ]


def test_a_folder_has_the_hubs_layout(tmp_path: Path) -> None:
    folder = tmp_path / "books"
    _write(folder / "train-00001-of-00002.csv", (1, "second"))
    _write(folder / "train-00000-of-00002.csv", (1, "first"))
    _write(folder / "dev.csv", (0, "third"))
    _write(folder / "test.csv", (0, "fourth"))
    _write(folder / "unsupervised.csv", (-1, "ignored"))
    source = open_source(str(folder))
    assert source.name == "books" and list(source.splits) == ["train", "validation", "test"]
    assert _texts(str(folder), "train") == ["first", "second"]
    assert _texts(str(folder), "validation") == ["third"]
    assert _texts(str(folder), "test") == ["fourth"]


@pytest.mark.parametrize("name", ["valid.csv", "validation-0.csv", "val.csv", "dev_1.csv"])
def test_validation_has_several_names(tmp_path: Path, name: str) -> None:
    _write(tmp_path / name, (1, "a"))
    _write(tmp_path / "data" / "train.csv", (1, "b"))
    assert list(open_source(str(tmp_path)).splits) == ["train", "validation"]


def test_names_that_only_resemble_a_split_are_not_one(tmp_path: Path) -> None:
    _write(tmp_path / "devices.csv", (1, "a"))
    _write(tmp_path / "trainers.csv", (1, "a"))
    with pytest.raises(ValueError, match=r"no file whose name begins with train.*devices\.csv"):
        open_source(str(tmp_path))


def test_a_single_file_is_for_training_unless_it_is_called_test(tmp_path: Path) -> None:
    assert list(open_source(str(_write(tmp_path / "reviews.csv", (1, "a")))).splits) == ["train"]
    assert list(open_source(str(_write(tmp_path / "test-0.csv", (1, "a")))).splits) == ["test"]


def test_a_split_without_rows_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "reviews.csv")
    with pytest.raises(ValueError, match=r"reviews\.csv: no rows; expected at least one"):
        _texts(str(path), "train")


@pytest.mark.parametrize("given", ["nowhere", "nowhere.csv", "a/b.csv", "/no/where/at", "./a/b"])
def test_what_does_not_exist_says_what_would(given: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such file .*hub name such as fancyzhx/amazon"):
        open_source(given)


def test_a_folder_with_an_unknown_kind_of_file_names_those_that_are_known(tmp_path: Path) -> None:
    (tmp_path / "train.xlsx").write_bytes(b"")
    with pytest.raises(ValueError, match=r"train\.xlsx: unknown extension '\.xlsx'; known: \.parq"):
        open_source(str(tmp_path))


def test_a_hub_set_is_read_through_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(name: str, **options: Any) -> datasets.DatasetDict:
        asked.append((name, options))
        columns = {"label": [1, 0], "title": ["Good", "Bad"], "content": ["yes", "no"]}
        train = datasets.Dataset.from_dict(columns | {"id": [1, 2]})
        return datasets.DatasetDict({"train": train, "test": datasets.Dataset.from_dict(columns)})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    source = open_source("owner/reviews")
    assert asked == [("owner/reviews", {})]  # above all no trust_remote_code
    assert source.name == "reviews" and list(source.splits) == ["train", "test"]
    (stretch,) = source.splits["train"].read("title+content")
    assert stretch.texts == ["Good\nyes", "Bad\nno"] and stretch.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("there", "train"),
    [(["train_big", "train_small"], None), (["train", "train_small"], "train"),
     (["train_sft"], "train_sft")],
)  # fmt: skip
def test_of_several_splits_of_a_hub_set_the_exact_one_is_taken_or_none(
    there: list[str], train: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {name: datasets.Dataset.from_dict({"label": [1], "content": [name]}) for name in there}
    monkeypatch.setattr(datasets, "load_dataset", lambda name: datasets.DatasetDict(made))
    if train is None:
        with pytest.raises(ValueError, match=r"may be for train \(train_big, train_small\); save"):
            open_source("owner/reviews")
        return
    (stretch,) = open_source("owner/reviews").splits["train"].read("content")
    assert stretch.texts == [train]


def test_no_test_set_takes_the_name_of_the_validation_split() -> None:
    named = [Source("x", name, "file", {}) for name in ("validation", "a", "validation")]
    assert unique_names(named) == ["validation-2", "a", "validation-3"]


def test_a_hub_out_of_reach_gives_one_line_with_what_works_instead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load_dataset(name: str) -> None:
        raise ConnectionError(f"Couldn't reach {name!r}\non the Hub")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    said: list[str] = []
    with pytest.raises(
        ValueError, match=r"owner/reviews: not a local.*local folder.*embedded"
    ) as e:
        open_source("owner/reviews", said.append)
    assert "\n" not in str(e.value) and said == ["owner/reviews: not here; asking the hub"]


def test_embedded_reviews_are_the_generators(tmp_path: Path) -> None:
    source = open_source("embedded:2500")
    stretches = list(source.splits["train"].read("title+content"))
    expected = list(embedded.generate(2500, 0))
    assert [text for s in stretches for text in s.texts] == [
        "\n".join(part for part in (review.title, review.content) if part) for review in expected
    ]
    assert [n for s in stretches for n in s.labels] == [review.label for review in expected]
    assert source.splits["train"].rows == 2500 and source.splits["test"].rows == 250


@pytest.mark.parametrize("given", ["embedded:", "embedded:0", "embedded:many", "embedded:-3"])
def test_a_wrong_number_of_embedded_reviews_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="expected embedded:N"):
        open_source(given)


def test_an_unknown_text_mode_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "reviews.csv", (1, "a"))
    with pytest.raises(ValueError, match=r"text=body: expected one of title\+content, title"):
        list(open_source(str(path)).splits["train"].read("body"))


def test_identity_changes_with_the_file(tmp_path: Path) -> None:
    path = _write(tmp_path / "reviews.csv", (1, "a"))
    before = open_source(str(path)).splits["train"].identity
    assert open_source(str(path)).splits["train"].identity == before
    _write(path, (1, "a"), (0, "b"))
    assert open_source(str(path)).splits["train"].identity != before


def test_sources_of_one_name_are_told_apart(tmp_path: Path) -> None:
    paths = [_write(tmp_path / name / "reviews.csv", (1, "a")) for name in "abc"]
    sources = [open_source(str(path)) for path in paths]
    assert unique_names(sources) == ["reviews", "reviews-2", "reviews-3"]


def test_the_real_sets_are_read_whole(shared_data: Path) -> None:
    source = open_source(str(shared_data / "amazon_polarity"))
    sizes = {
        split: sum(len(reviews.texts) for reviews in part.read("title+content"))
        for split, part in source.splits.items()
    }
    assert sizes == {"train": 25_980, "test": 4_402}
    imdb = open_source(str(shared_data / "imdb"))
    assert list(imdb.splits) == ["train", "test"]  # unsupervised, with its label -1, is left out
