"""Seeds as one candidate, their intervals, and the bins of the calibration error."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import stats
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score

from bias.dossier.candidates import Answers, read_candidates, reliability
from training.config import dump, parse

MakeRun = Callable[..., Path]


def test_runs_that_differ_in_the_seed_alone_are_one_candidate(make_run: MakeRun) -> None:
    runs = [make_run(f"gru-{s}", experiment="gru", seed=s, validation=0.9 + 0.01 * s)
            for s in range(3)]  # fmt: skip
    other = make_run("gru-fast", experiment="gru", seed=1, rate=1e-2)
    baseline = make_run("tfidf", bundle=False)
    found = read_candidates([*runs, other, baseline])
    assert sorted(len(each.runs) for each in found) == [1, 1, 3]
    three = next(each for each in found if len(each.runs) == 3)
    assert three.shipped.facts["training"]["seed"] == 2  # the best on validation
    assert len({each.name for each in found}) == 3


def test_a_run_older_than_a_setting_is_of_the_same_candidate(make_run: MakeRun) -> None:
    runs = [make_run(f"gru-{s}", experiment="gru", seed=s) for s in range(2)]
    path = runs[1] / "config.yaml"
    path.write_text(dump(parse(yaml.safe_load(path.read_text()))))  # every default written out
    assert [len(each.runs) for each in read_candidates(runs)] == [2]


def test_the_same_seed_twice_is_no_second_draw(make_run: MakeRun) -> None:
    runs = [make_run("a", experiment="gru"), make_run("b", experiment="gru")]
    assert [len(each.runs) for each in read_candidates(runs)] == [1, 1]


def test_the_mean_over_seeds_has_the_wider_of_both_intervals(make_run: MakeRun) -> None:
    accuracies = [0.90, 0.94, 0.92]
    runs = [make_run(f"r{s}", experiment="gru", seed=s, accuracy=a, tests={"shop": 0.0})
            for s, a in enumerate(accuracies)]  # fmt: skip
    found = read_candidates(runs)[0].figure("shop", "accuracy")
    low, high = stats.t.interval(0.95, 2, np.mean(accuracies), stats.sem(accuracies))
    assert found.value == pytest.approx(0.92)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_seeds_that_agree_leave_the_interval_of_the_test_rows(make_run: MakeRun) -> None:
    runs = [make_run(f"r{s}", experiment="gru", seed=s, tests={"shop": 0.0}) for s in range(3)]
    found = read_candidates(runs)[0].figure("shop", "accuracy")
    wilson = stats.binomtest(1840, 2000).proportion_ci(method="wilson")
    assert (found.low, found.high) == (pytest.approx(wilson.low), pytest.approx(wilson.high))


def test_accuracy_is_scikit_learns(make_run: MakeRun) -> None:
    candidate = read_candidates([make_run("gru", accuracy=0.8765)])[0]
    answers = candidate.answers["films"][0]
    wanted = accuracy_score(answers.labels, answers.logits.argmax(1))
    assert candidate.figure("films", "accuracy").value == pytest.approx(wanted)


def test_reliability_bins_are_scikit_learns_and_sum_to_the_calibration_error(
    make_run: MakeRun,
) -> None:
    candidate = read_candidates([make_run("gru")])[0]
    answers = candidate.answers["shop"][0]
    bins = [each for each in reliability([answers]) if each.count]
    share, confidence = calibration_curve(answers.correct, answers.confidence, n_bins=15)
    assert [each.accuracy for each in bins] == pytest.approx(list(share))
    assert [each.confidence for each in bins] == pytest.approx(list(confidence))
    error = sum(b.count * abs(b.accuracy - b.confidence) for b in bins) / 2000
    # predictions are kept in float32, the metric was made of float64
    assert error == pytest.approx(candidate.figure("shop", "calibration_error").value, abs=1e-6)


def test_confidence_is_the_probability_of_the_chosen_label() -> None:
    answers = Answers(np.array([1, 0], np.int8), np.array([[0.0, 2.0], [0.0, 2.0]]))
    assert answers.confidence == pytest.approx([0.8807971] * 2)
    assert answers.correct.tolist() == [True, False]


def test_runs_of_a_candidate_on_different_rows_stop(make_run: MakeRun) -> None:
    labels = np.tile(np.array([0, 0, 1, 1], np.int8), 500)
    logits = np.stack([1.0 - labels, 1.0 * labels], axis=1)
    runs = [
        make_run("a", experiment="gru"),
        make_run("b", experiment="gru", seed=1, answers={"shop": (labels, logits)}),
    ]
    with pytest.raises(ValueError, match="tested on different rows of shop"):
        read_candidates(runs)


def test_an_unfinished_run_and_a_folder_without_one_stop_in_one_line(make_run: MakeRun) -> None:
    run = make_run("gru")
    (run / "history.jsonl").write_text("")
    (run / "result.json").unlink()
    with pytest.raises(ValueError, match=r"gru: unfinished, it has no result\.json"):
        read_candidates([run])
    shutil.rmtree(run)
    run.mkdir()
    with pytest.raises(ValueError, match="not a run"):
        read_candidates([run])
