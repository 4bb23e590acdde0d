"""Reading run folders: what is taken, and what is refused with which words."""

import json

import numpy as np
import pytest

from training.results.comparisons import read_answers
from training.results.runs import read_run, read_runs


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_run_is_read_with_its_history(write_run):
    run = read_run(write_run("a", batch=50, reviews=1000, epochs=1))
    assert run.finished and run.experiment == "1-gru" and run.batch_size == 50
    assert list(run.train["reviews"]) == [250, 500, 750, 1000]
    assert run.validation["accuracy"][-1] == run.facts["best"]["accuracy"]


def test_an_unfinished_run_takes_its_name_from_its_configuration(write_run):
    run = read_run(write_run("a", experiment="3-transformer", number=3, finished=False))
    assert not run.finished
    assert (run.experiment, run.number, run.batch_size) == ("3-transformer", 3, 64)


def test_a_folder_without_configuration_is_named_after_itself(write_run):
    folder = write_run("mine", finished=False)
    (folder / "config.yaml").unlink()
    assert read_run(folder).label == "mine"


def test_runs_are_sorted_by_number_then_variant_with_baselines_last(every_run):
    assert [run.label for run in read_runs(every_run)] == [
        "1-gru", "1-gru-reference", "2-gru-attention", "2-gru-attention-reference",
        "3-transformer", "3-transformer-reference", "4-transformer-deep",
        "4-transformer-deep-reference", "5-transformer-postnorm",
        "5-transformer-postnorm-reference", "6-bert-finetuned", "6-bert-frozen",
        "6-bert-finetuned-reference", "6-bert-frozen-reference", "custom-gru",
        "baseline-fasttext", "baseline-tfidf",
    ]  # fmt: skip


def test_runs_of_one_experiment_get_labels_of_their_own(write_run):
    runs = read_runs([write_run("seed-0"), write_run("seed-1", seed=1)])
    assert [run.label for run in runs] == ["1-gru in seed-0", "1-gru in seed-1"]


def test_a_damaged_line_of_the_history_is_named(write_run):
    history = write_run("a") / "history.jsonl"
    lines = history.read_text().splitlines()
    lines[6] = lines[6][:20]
    history.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"history\.jsonl, line 7: not JSON: "):
        read_run(history.parent)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[1]", r"line 1: expected a JSON object, got \[1\]"),
        ('{"kind": "test"}', 'line 1: "kind" is \'test\', expected "train" or "validation"'),
        ('{"kind": "train", "step": 1, "reviews": 2, "loss": "x"}',
         "line 1: \"loss\" is 'x', expected a number"),
    ],
)  # fmt: skip
def test_a_line_of_another_shape_is_named(write_run, line, message):
    folder = write_run("a")
    (folder / "history.jsonl").write_text(line + "\n")
    with pytest.raises(ValueError, match=message):
        read_run(folder)


def test_a_loss_that_is_no_number_is_read_as_one(write_run):
    folder = write_run("a")
    line = '{"kind": "train", "step": 1, "reviews": 2, "loss": NaN}\n'
    (folder / "history.jsonl").write_text(line)
    assert np.isnan(read_run(folder).train["loss"]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.update(schema_version=2), "schema_version is 2, expected 1"),
        (lambda r: r["best"].pop("step"), '"best.step" is None, expected a number'),
        (lambda r: r["tests"]["imdb"]["f1"].update(low="x"),
         "\"tests.imdb.f1.low\" is 'x', expected a number"),
        (lambda r: r.update(tests=[]), r'"tests" is \[\], expected one entry a test set'),
    ],
)  # fmt: skip
def test_a_result_of_another_shape_names_the_key(write_run, change, message):
    folder = write_run("a")
    edit(folder / "result.json", change)
    with pytest.raises(ValueError, match=rf"result\.json: {message}"):
        read_run(folder)


def test_predictions_that_are_not_those_of_the_result_are_refused(write_run):
    folder = write_run("a")
    edit(folder / "result.json", lambda r: r["tests"]["imdb"]["accuracy"].update(value=0.5))
    with pytest.raises(ValueError, match=r"imdb\.parquet: 2000 rows with accuracy 0\.8600"):
        read_answers(read_run(folder), "imdb")


def test_predictions_that_are_not_parquet_are_refused(write_run):
    folder = write_run("a")
    (folder / "predictions" / "imdb.parquet").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not readable as predictions"):
        read_answers(read_run(folder), "imdb")


def test_a_folder_of_runs_is_no_run_and_says_so(write_run):
    with pytest.raises(ValueError, match=r"it holds run folders: give .*/\*"):
        read_run(write_run("a").parent)


def test_the_same_folder_twice_is_refused(write_run):
    folder = write_run("a")
    with pytest.raises(ValueError, match="given twice"):
        read_runs([folder, folder])
