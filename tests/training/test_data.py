"""Sources to tables: tokenised once, split with a seed, counted; nothing lost on the way."""

import csv
import json
import multiprocessing
import os
import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from training.benchmarks import data_memory
from training.data import ReviewData, load_data, main
from training.progress import Progress
from training.settings import DataConfig
from training.token_table import TokenTable
from training.tokenization import train_wordpiece

Rows = list[tuple[int, str, str]]
Load = Callable[..., ReviewData]


def _write(path: Path, rows: Rows) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("label", "title", "content"), *rows])
    return str(path)


def _rows(count: int, start: int = 0) -> Rows:
    words = ("good", "bad", "a fine book", "broken on arrival", "would buy again")
    return [(int(i % 3 == 0), f"no {i}", f"{words[i % 5]} {i} " * (1 + i % 7))
            for i in range(start, start + count)]  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tokenizer")
    rows = _rows(200)
    trained = train_wordpiece(lambda: [[f"{title} {content}" for _, title, content in rows]], 200)
    trained.save(str(folder / "tokenizer.json"))
    return str(folder)


@pytest.fixture
def load(tmp_path: Path, tokenizer: str) -> Load:
    def call(*sources: str, **settings: Any) -> ReviewData:
        defaults = {"tokenizer": tokenizer, "cache_dir": str(tmp_path / "cache"), "max_length": 24}
        return load_data(DataConfig(sources=list(sources), **(defaults | settings)))

    return call


def _texts(table: TokenTable) -> list[str]:
    return list(table.texts())


def test_the_ids_are_those_transformers_gives(tmp_path: Path, tokenizer: str, load: Load) -> None:
    data = load(_write(tmp_path / "reviews.csv", _rows(60)))
    theirs = PreTrainedTokenizerFast(tokenizer_file=f"{tokenizer}/tokenizer.json")
    for table in (data.train, data.validation, data.tests["reviews"]):
        expected = theirs(_texts(table), truncation=True, max_length=24)["input_ids"]
        assert [table.ids(i).tolist() for i in range(len(table))] == expected
        assert table.lengths.tolist() == [len(ids) for ids in expected]
        assert table.ids(0).dtype == np.uint16
        assert (table.lengths.dtype, table.labels.dtype) == (np.int32, np.int8)


def test_every_row_serves_once_and_keeps_its_label(tmp_path: Path, load: Load) -> None:
    rows = _rows(400)
    data = load(_write(tmp_path / "reviews.csv", rows), validation_fraction=0.1, test_fraction=0.2)
    label_of = {f"{title}\n{content}": label for label, title, content in rows}
    tables = [data.train, data.validation, data.tests["reviews"]]
    served = [text for table in tables for text in _texts(table)]
    assert Counter(served) == Counter(label_of.keys())
    assert [len(table) for table in tables] == [288, 32, 80]
    for table in tables:
        assert table.labels.tolist() == [label_of[text] for text in _texts(table)]
        assert abs(table.labels.mean() - np.mean(list(label_of.values()))) < 1 / len(table)


def test_the_split_is_a_function_of_the_seed(tmp_path: Path, load: Load) -> None:
    source = _write(tmp_path / "reviews.csv", _rows(300))
    first, again, other = (_texts(load(source, seed=seed).validation) for seed in (1, 1, 2))
    assert first == again != other


def test_given_splits_are_kept_and_tests_have_their_sources_names(
    tmp_path: Path, load: Load
) -> None:
    books, toys = tmp_path / "books", tmp_path / "toys"
    _write(books / "train.csv", _rows(50))
    _write(books / "dev.csv", _rows(20, 50))
    _write(books / "test.csv", _rows(10, 70))
    _write(toys / "train.csv", _rows(100, 100))
    _write(toys / "test.csv", _rows(30, 200))
    films = _write(tmp_path / "films.csv", _rows(40, 300))
    data = load(str(books), str(toys), tests=[films], validation_fraction=0.1)
    assert {name: len(table) for name, table in data.tests.items()} == {
        "books": 10,
        "toys": 30,
        "films": 40,
    }
    # toys brings no validation rows: a tenth of its training rows joins those of books
    validation = Counter(text.split()[1] for text in _texts(data.validation))
    assert sum(50 <= int(n) < 70 for n in validation) == 20
    assert sum(100 <= int(n) < 200 for n in validation) == 10
    assert len(data.train) == 50 + 90


def test_limits_are_stratified_and_do_not_move_the_split(tmp_path: Path, load: Load) -> None:
    source = _write(tmp_path / "reviews.csv", _rows(300))
    whole = load(source)
    some = load(source, limit_train=60, limit_validation=9, limit_test=12)
    assert (len(some.train), len(some.validation), len(some.tests["reviews"])) == (60, 9, 12)
    assert some.train.labels.sum() == 20
    for part, full in ((some.train, whole.train), (some.validation, whole.validation)):
        assert set(_texts(part)) < set(_texts(full))


NOISY: Rows = [
    (1, "", "same"), (0, "", "once"), (1, "", "same"), (0, "", "same "), (1, "", ""), (0, "", " "),
]  # fmt: skip


def test_repeated_empty_and_contradicting_rows_are_counted(tmp_path: Path, load: Load) -> None:
    folder = tmp_path / "noisy"
    _write(folder / "train.csv", NOISY + _rows(60))
    _write(folder / "dev.csv", [(1, "", "once"), (1, "", "twice"), (1, "", "twice")])
    _write(folder / "test.csv", [(1, "", "same"), (0, "", "new"), (0, "", "")])
    data = load(str(folder))
    train, validation, test = data.report.parts
    assert (train.source, train.part, train.rows, train.used) == ("noisy", "train", 66, 62)
    # same, same, the second empty one, and once, which validation has; twice is not training's
    assert (train.empty, train.duplicates, train.contradicting) == (2, 4, 2)
    assert (validation.rows, validation.duplicates, validation.also_in_training) == (3, 1, 0)
    assert (test.rows, test.empty, test.duplicates, test.also_in_training) == (3, 1, 0, 2)
    texts = _texts(data.train)
    assert "once" not in texts and texts.count("same") == 1
    assert data.train.labels[texts.index("same")] == 1  # the first of them
    kept = load(str(folder), drop_duplicates=False)
    assert len(kept.train) == 66 and kept.report.parts[0].duplicates == 4
    json.dumps(data.report.as_dict())


def test_no_text_straddles_training_validation_and_test(tmp_path: Path, load: Load) -> None:
    source = _write(tmp_path / "reviews.csv", _rows(100) * 3)
    data = load(source, validation_fraction=0.3, test_fraction=0.3)
    parts = [set(_texts(t)) for t in (data.train, data.validation, data.tests["reviews"])]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 100
    assert all(part.also_in_training in (None, 0) for part in data.report.parts)


def test_the_statistics_are_those_of_the_tokens(tmp_path: Path, tokenizer: str, load: Load) -> None:
    rows = [*_rows(97), (1, "", "中 中"), (0, "", "good"), (0, "", "bad")]
    data = load(_write(tmp_path / "train.csv", rows))
    theirs = PreTrainedTokenizerFast(tokenizer_file=f"{tokenizer}/tokenizer.json")
    texts = ["\n".join(part for part in row[1:] if part) for row in rows]
    whole = theirs(texts)["input_ids"]
    cut = [ids[:24] for ids in whole]  # as many and as unknown, though [SEP] would come last
    train = data.report.parts[0]
    lengths = [len(ids) for ids in cut]
    assert train.mean_tokens == pytest.approx(np.mean(lengths))
    assert (train.median_tokens, train.p90_tokens) == (
        np.median(lengths), np.percentile(lengths, 90))  # fmt: skip
    assert train.truncated_share == np.mean([len(ids) > 24 for ids in whole])
    assert train.unknown_share == pytest.approx(2 / sum(lengths))
    assert train.positive_share == np.mean([row[0] for row in rows])


def test_a_second_load_reads_the_cache_alone(
    tmp_path: Path, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = _write(tmp_path / "reviews.csv", _rows(50))
    before = load(source, tokenizer=None, vocabulary_size=200)

    def refuse(*arguments: Any) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr("training.sources.read_file", refuse)
    after = load(source, tokenizer=None, vocabulary_size=200)
    assert after.tokenizer.to_str() == before.tokenizer.to_str()
    assert [after.train.ids(i).tolist() for i in range(3)] == [
        before.train.ids(i).tolist() for i in range(3)]  # fmt: skip


def test_what_decides_the_ids_decides_the_cache(tmp_path: Path, load: Load) -> None:
    source = tmp_path / "reviews.csv"
    _write(source, _rows(50))
    load(str(source))
    for changed in ({"text": "title"}, {"max_length": 5}, {"tokenizer": None}):
        assert load(str(source), **changed).train.lengths.sum() > 0
    assert len(list((tmp_path / "cache").glob("*.arrow"))) == 4
    _write(source, _rows(51))
    assert len(load(str(source), validation_fraction=0.1, test_fraction=0.1).train) == 41


def test_what_a_killed_build_leaves_is_replaced(tmp_path: Path, load: Load) -> None:
    source = _write(tmp_path / "reviews.csv", _rows(50))
    expected = load(source).train.lengths.tolist()
    (file,) = (tmp_path / "cache").glob("*.arrow")
    whole = file.read_bytes()
    file.unlink()
    file.with_suffix(".partial").write_bytes(whole[:500])
    assert load(source).train.lengths.tolist() == expected
    file.write_bytes(whole[: len(whole) // 2])  # as a machine that lost power may leave it
    assert load(source).train.lengths.tolist() == expected
    assert not list((tmp_path / "cache").glob("*.partial"))


def _load_elsewhere(config: DataConfig, start: Any, found: Any) -> None:
    start.wait()
    table = load_data(config).train
    found.put((os.getpid(), [table.ids(i).tolist() for i in range(len(table))]))


def test_processes_that_start_together_share_one_build(tmp_path: Path, tokenizer: str) -> None:
    source = _write(tmp_path / "reviews.csv", _rows(3000))
    cache = tmp_path / "cache"
    config = DataConfig(sources=[source], tokenizer=tokenizer, cache_dir=str(cache))
    spawn = multiprocessing.get_context("spawn")
    start, found = spawn.Barrier(2), spawn.Queue()
    workers = [spawn.Process(target=_load_elsewhere, args=(config, start, found)) for _ in "ab"]
    for worker in workers:
        worker.start()
    (one, ids), (other, same_ids) = found.get(timeout=120), found.get(timeout=120)
    for worker in workers:
        worker.join()
    assert one != other and ids == same_ids and len(ids) > 2000
    assert len(list(cache.glob("*.arrow"))) == 1 and not list(cache.glob("*.partial"))


def test_a_table_travels_to_a_worker_as_paths_not_as_ids(tmp_path: Path, load: Load) -> None:
    table = load(_write(tmp_path / "reviews.csv", _rows(50))).train.select(np.array([3, 1, 2]))
    copy = pickle.loads(pickle.dumps(table))
    assert [copy.ids(i).tolist() for i in range(3)] == [table.ids(i).tolist() for i in range(3)]
    assert copy.labels.tolist() == table.labels.tolist()
    with pytest.raises(ValueError, match="in the order of their sources"):
        _texts(copy)


def test_ids_are_views_of_the_file(tmp_path: Path, load: Load) -> None:
    ids = load(_write(tmp_path / "reviews.csv", _rows(50))).train.ids(7)
    assert not ids.flags.owndata and not ids.flags.writeable


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no titles": ({"text": "title"}, "all reviews are empty"),
    "no validation": (
        {"validation_fraction": 0.001},
        r"validation_fraction=0\.001: nothing is lef",
    ),
    "no test": ({"test_fraction": 0.001}, r"test_fraction=0\.001: nothing is left of 30"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_settings_that_leave_nothing_are_refused(tmp_path: Path, load: Load, name: str) -> None:
    settings, message = MISTAKES[name]
    rows = [(label, "", content) for label, _, content in _rows(30)]
    with pytest.raises(ValueError, match=message):
        load(_write(tmp_path / "reviews.csv", rows), **settings)


def test_reviews_of_one_label_are_refused(tmp_path: Path, load: Load) -> None:
    rows = [(1, title, content) for _, title, content in _rows(40)]
    with pytest.raises(ValueError, match=r"all \d+ training reviews are labelled positive"):
        load(_write(tmp_path / "shop.csv", rows))


def test_sources_that_do_not_fit_their_purpose_are_refused(tmp_path: Path, load: Load) -> None:
    train, test = _write(tmp_path / "a.csv", _rows(30)), _write(tmp_path / "test.csv", _rows(30))
    with pytest.raises(ValueError, match=r"test\.csv has no training rows \(found: test\)"):
        load(test)
    with pytest.raises(ValueError, match=r"a\.csv is given twice"):
        load(train, tests=[train])
    with pytest.raises(ValueError, match=r"data\.sources: none given"):
        load()
    _write(tmp_path / "folder" / "train.csv", _rows(30))
    with pytest.raises(ValueError, match=r"folder has no test rows \(found: train\)"):
        load(train, tests=[str(tmp_path / "folder")])


def test_the_command_shows_what_is_in_the_data(
    tmp_path: Path, tokenizer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = _write(tmp_path / "reviews.csv", _rows(50))
    flags = ["--tokenizer", tokenizer, "--cache-dir", str(tmp_path / "cache")]
    assert main([source, *flags]) == 0
    shown = capsys.readouterr().out
    assert "43 reviews to train on, 2 to validate on" in shown and "(held out)" in shown
    assert main([source, *flags, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["train"] == 43
    assert main([source, *flags, "--max-length", "1"]) == 2
    assert main([str(tmp_path / "none.csv"), *flags]) == 2
    errors = capsys.readouterr().err.strip().splitlines()[-2:]
    assert errors[0].startswith("error: --max-length 1:") and "no such file" in errors[1]


def test_a_bad_row_is_found_before_anything_is_tokenised(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = _write(tmp_path / "reviews.csv", [*_rows(5000), (9, "", "")])
    config = DataConfig(sources=[source], cache_dir=str(tmp_path / "cache"))
    with pytest.raises(ValueError, match="row 5001, column label"):
        load_data(config, Progress())
    assert "training a WordPiece" not in capsys.readouterr().err
    assert not list((tmp_path / "cache").glob("*.arrow"))


def test_the_memory_benchmark_measures_every_size(tmp_path: Path) -> None:
    output = tmp_path / "memory.json"
    assert data_memory.main(["--reviews", "300", "--output", str(output)]) == 0
    (size,) = json.loads(output.read_text())["sizes"]
    assert size["reviews"] == 300 and size["tokens"] > 300
    assert size["peak_resident_bytes"] >= size["start_bytes"] > size["cache_bytes"] > 0
    assert output.with_suffix(".png").stat().st_size > 10_000
