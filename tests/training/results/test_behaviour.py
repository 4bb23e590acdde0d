"""Signs in histories whose course is known."""

import json

import pytest

from training.results.behaviour import diverged, drop, overfitting, sentence, signs, spike
from training.results.behaviour import underfitting as underfits
from training.results.runs import read_run


@pytest.fixture
def history(tmp_path):
    """`history(train losses, validations)`: a run with these, a validation a dictionary."""

    def make(train=(), validations=()):
        lines = [{"kind": "train", "step": k + 1, "reviews": 64 * (k + 1), "loss": loss}
                 for k, loss in enumerate(train)]  # fmt: skip
        for k, line in enumerate(validations):
            where = {"kind": "validation", "step": 100 * (k + 1), "reviews": 6400 * (k + 1)}
            lines.append({"loss": 0.5, "accuracy": 0.8, **where, **line})
        path = tmp_path / "run" / "history.jsonl"
        path.parent.mkdir()
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return read_run(path.parent)

    return make


def test_a_rising_validation_loss_under_a_falling_train_loss_is_overfitting(history):
    sign = overfitting(history(validations=[
        {"loss": 0.40, "train_loss": 0.5, "accuracy": 0.85},
        {"loss": 0.30, "train_loss": 0.3, "accuracy": 0.90},
        {"loss": 0.36, "train_loss": 0.1, "accuracy": 0.89},
    ]))  # fmt: skip
    assert sign is not None
    assert sign.evidence["rise"] == pytest.approx(0.2)
    assert sign.evidence["lowest_step"] == 200
    assert (sign.evidence["train_loss_then"], sign.evidence["train_loss_last"]) == (0.3, 0.1)
    assert "20.00% over its lowest, 0.3000 at iteration 200" in sentence(sign)


@pytest.mark.parametrize(
    ("last_loss", "last_train_loss"), [(0.303, 0.1), (0.36, 0.35)], ids=["hardly", "both rise"]
)
def test_what_is_not_overfitting(history, last_loss, last_train_loss):
    run = history(validations=[{"loss": 0.30, "train_loss": 0.3},
                               {"loss": last_loss, "train_loss": last_train_loss}])  # fmt: skip
    assert overfitting(run) is None


def test_low_training_accuracy_is_underfitting_and_its_loss_says_which(history):
    falling = [0.69 - 0.005 * k for k in range(40)]
    sign = underfits(history(falling, [{"train_loss": 0.6, "train_accuracy": 0.7}]), bar=0.9)
    assert sign is not None and sign.what == "falling"
    assert sign.evidence["lines"] == 10
    # an exact line: the fit is the line itself
    assert sign.evidence["loss_begin"] == pytest.approx(falling[-10])
    assert sign.evidence["loss_end"] == pytest.approx(falling[-1])


def test_a_flat_loss_is_called_flat(history):
    run = history([0.69, 0.68] * 20, [{"train_loss": 0.6, "train_accuracy": 0.55}])
    sign = underfits(run, bar=None)
    assert sign is not None and sign.what == "flat"
    assert sign.evidence["bar"] == 0.85


def test_a_fall_within_the_noise_is_not_called_falling(history):
    noisy = [0.70, 0.50, 0.72, 0.48, 0.70, 0.52, 0.66, 0.50]
    sign = underfits(history(noisy, [{"train_loss": 0.6, "train_accuracy": 0.55}]), bar=None)
    assert sign is not None and sign.what == "unclear"
    assert "too noisy to judge over the last 8 lines" in sentence(sign)


def test_training_accuracy_above_the_bar_is_no_underfitting(history):
    run = history([0.5] * 40, [{"train_loss": 0.2, "train_accuracy": 0.92}])
    assert underfits(run, bar=0.9) is None


def test_the_largest_spike_is_found_with_its_ratio(history):
    losses = [0.3 + 0.01 * (k % 2) for k in range(60)]
    losses[40] = 0.9
    sign = spike(history(losses))
    assert sign is not None
    assert sign.evidence["step"] == 41
    assert sign.evidence["ratio"] == pytest.approx(0.9 / 0.305)


def test_noise_is_no_spike(history):
    assert spike(history([0.3 + 0.05 * (k % 3) for k in range(60)])) is None


def test_a_fall_of_the_accuracy_between_validations_is_found(history):
    accuracies = [{"accuracy": value} for value in (0.8, 0.9, 0.85, 0.91)]
    sign = drop(history(validations=accuracies))
    assert sign is not None
    assert sign.evidence == pytest.approx({"step": 300, "before": 0.9, "after": 0.85, "fall": 0.05})


def test_a_fall_within_the_chance_of_a_small_split_is_none(write_run):
    run = read_run(write_run("a"))
    run.validation["accuracy"][-2:] = 0.9, 0.85
    assert drop(run) is not None  # of 1,000 reviews: 3.7 standard errors
    run.facts["validation"]["n"] = 100
    assert drop(run) is None


def test_a_loss_that_is_no_number_names_its_step(history):
    sign = diverged(history([0.6, 0.5, float("nan"), float("nan")]))
    assert sign is not None and sign.evidence == {"of": "train", "step": 3}


def test_a_run_that_goes_well_shows_no_sign(history):
    falling = [0.2 + 0.5 * 0.9**k for k in range(60)]
    good = [{"loss": 0.3 - 0.01 * k, "accuracy": 0.9 + 0.005 * k, "train_loss": 0.3 - 0.02 * k,
             "train_accuracy": 0.93} for k in range(4)]  # fmt: skip
    assert signs(history(falling, good), bar=0.9) == []
