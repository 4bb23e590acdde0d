"""A teacher's logits are the bundle's own, asked once; texts without labels join the training."""

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from accelerate import Accelerator

from models import bundle
from models.registry import build
from training import distillation
from training import run as run_module
from training.config import parse
from training.data import load_data
from training.distillation import teacher_logits, with_unlabelled
from training.progress import Progress


@pytest.fixture
def taught(cache, tmp_path):
    """Configuration, data and a teacher that reads the same ids."""
    (tmp_path / "texts.txt").write_text("a fine thing\na fine thing\nit broke\nnever again\n")
    raw = {"experiment": "x", "title": "x", "model": {"architecture": "gru-encoder"},
           "data": {"sources": ["embedded:120"], "vocabulary_size": 400, "max_length": 32,
                    "cache_dir": str(cache)},
           "train": {"tracker": "none", "mixed_precision": "no"},
           "distill": {"teacher": str(tmp_path / "teacher"),
                       "unlabelled": [str(tmp_path / "texts.txt")]}}  # fmt: skip
    config = parse(raw)
    data = load_data(config.data)
    torch.manual_seed(0)
    size = data.tokenizer.get_vocab_size()
    arguments = {"vocabulary_size": size, "embedding_size": 8, "hidden_size": 8}
    teacher = bundle.Bundle(build("gru-encoder", **arguments), data.tokenizer, "gru-encoder",
                            arguments, ["negative", "positive"], 32)  # fmt: skip
    bundle.save(teacher, tmp_path / "teacher")
    return config, data


def _logits(config, data, table) -> np.ndarray:
    accelerator = Accelerator(cpu=True, mixed_precision="no")
    return teacher_logits(config, data, table, accelerator, Progress(False))


def test_texts_without_labels_come_after_the_reviews_each_once(taught) -> None:
    config, data = taught
    table = with_unlabelled(config, data, None)
    assert len(table) == len(data.train) + 3  # of four texts two are the same
    assert (table.labels[: len(data.train)] == data.train.labels).all()
    assert (table.labels[len(data.train) :] == -1).all()
    for i in (0, len(data.train) - 1):
        np.testing.assert_array_equal(table.ids(i), data.train.ids(i))


def test_a_text_that_is_trained_validated_or_tested_on_is_not_joined(taught, tmp_path) -> None:
    config, data = taught
    known = [text for table in (data.train, data.validation, data.tests["embedded"])
             for text in table.texts()]  # fmt: skip
    path = tmp_path / "unsupervised.parquet"
    pq.write_table(pa.table({"content": [*known, "something else"]}), path)
    config.distill.unlabelled = [str(path)]
    table = with_unlabelled(config, data, None)
    wanted = data.tokenizer.encode("something else").ids
    assert len(table) == len(data.train) + 1
    assert table.ids(len(table) - 1).tolist() == wanted


def test_held_out_reviews_are_known_in_a_labelled_text_file_too(taught, tmp_path) -> None:
    config, _ = taught
    path = tmp_path / "train.txt"
    path.write_text("".join(f"__label__{1 + i % 2} review number {i}\n" for i in range(60)))
    config.data.sources = [str(path)]
    config.distill.unlabelled = [str(path)]
    data = load_data(config.data)
    assert len(data.validation) and len(with_unlabelled(config, data, None)) == len(data.train)


def test_logits_are_the_bundles_own_in_the_tables_order(taught) -> None:
    config, data = taught
    table = with_unlabelled(config, data, None)
    got = _logits(config, data, table)
    model = bundle.load(config.distill.teacher).model
    for i in (0, 7, len(table) - 1):
        ids = torch.from_numpy(table.ids(i).astype(np.int64))[None]
        with torch.no_grad():
            wanted = model(ids, torch.ones_like(ids))[0].numpy()
        np.testing.assert_allclose(got[i], wanted, atol=1e-5)  # float32, padded in a batch


def test_the_teacher_is_asked_once_for_each_review(taught, tmp_path, monkeypatch) -> None:
    config, data = taught
    asked = []
    monkeypatch.setattr(
        distillation, "predict",
        lambda model, table, *_: asked.append(len(table)) or np.ones((len(table), 2), np.float32),
    )  # fmt: skip
    config.data.cache_dir = str(tmp_path / "cache")  # other tests have asked this teacher
    data = load_data(config.data)
    few = data.train.select(np.array([5, 2, 9]))
    assert (_logits(config, data, few) == 1).all()
    _logits(config, data, data.train)
    assert asked == [3, len(data.train) - 3]  # the three are not asked again
    _logits(config, data, data.train)
    assert len(asked) == 2
    _logits(config, data, with_unlabelled(config, data, None))
    os.utime(config.distill.unlabelled[0], (1, 1))  # copied: another date, the same texts
    _logits(config, data, with_unlabelled(config, data, None))
    assert asked[2:] == [3]


def test_a_teacher_that_reads_other_ids_or_shorter_reviews_is_refused(taught) -> None:
    config, data = taught
    config.data.max_length = 40
    with pytest.raises(ValueError, match=r"data\.max_length=32"):
        _logits(config, data, data.train)
    config.data.max_length = 32
    other = bundle.load(config.distill.teacher)
    settings = json.loads(other.tokenizer.to_str())
    settings["normalizer"]["lowercase"] = False
    other.tokenizer = type(other.tokenizer).from_str(json.dumps(settings))
    bundle.save(other, config.distill.teacher)
    with pytest.raises(ValueError, match="its tokenizer is another one"):
        _logits(config, data, data.train)


def test_a_teacher_of_other_labels_is_refused_before_the_data_are_prepared(
    taught, tmp_path, monkeypatch
) -> None:
    config, _ = taught
    other = bundle.load(config.distill.teacher)
    other.labels = ["positive", "negative"]
    bundle.save(other, config.distill.teacher)
    monkeypatch.setattr(run_module, "load_data", lambda *_: pytest.fail("the data were prepared"))
    with pytest.raises(
        ValueError, match=r"its labels are positive, negative, .*negative, positive"
    ):
        run_module.run(config, tmp_path / "run")


def test_texts_without_labels_need_a_teacher() -> None:
    raw = {"experiment": "x", "title": "x", "model": {"architecture": "gru-encoder"},
           "distill": {"unlabelled": ["x.txt"]}}  # fmt: skip
    with pytest.raises(ValueError, match=r"distill.unlabelled.*distill.teacher"):
        parse(raw)


@pytest.mark.parametrize("kept", [True, False])
def test_a_distilled_run_is_calibrated_and_says_so(taught, train, cache, tmp_path, kept) -> None:
    del taught  # the teacher is there; the run reads it by itself
    settings = [f"distill.teacher={tmp_path / 'teacher'}", "data.vocabulary_size=400",
                f"distill.unlabelled=[{tmp_path / 'texts.txt'}]", "data.max_length=32",
                f"train.calibrate={str(kept).lower()}"]  # fmt: skip
    run = tmp_path / "run"
    train(run, *settings, data="embedded:120")
    result = json.loads((run / "result.json").read_text())
    assert result["time"]["teacher_seconds"] > 0
    stored = bundle.load(run / "best")
    if kept:
        assert stored.metrics["temperature"] == result["calibration"]["temperature"]
    else:
        assert "calibration" not in result and "temperature" not in stored.metrics
