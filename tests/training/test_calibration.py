"""Temperature scaling against a known truth and scikit-learn's one-parameter fit."""

import numpy as np
import pytest
import torch
from scipy.special import expit, log_expit
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from models.registry import build
from training.calibration import fit_temperature, fold_temperature
from training.metrics import cross_entropy, evaluate_logits


def _overconfident(n: int, factor: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `factor` times what the labels were drawn by."""
    random = np.random.default_rng(seed)
    margin = random.normal(0, 2, n)
    labels = (random.random(n) < expit(margin)).astype(np.int8)
    return np.stack([-margin / 2, margin / 2], 1) * factor, labels


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_the_temperature_is_the_factor_the_logits_are_off_by(factor: float) -> None:
    logits, labels = _overconfident(40_000, factor)
    assert fit_temperature(logits, labels) == pytest.approx(factor, rel=0.04)  # sampling error


def test_of_many_it_is_the_logistic_regression_without_intercept_on_the_margin() -> None:
    logits, labels = _overconfident(100_000, 2.5)  # so many that the prior is worth 2e-4
    margin = (logits[:, 1] - logits[:, 0])[:, None]
    slope = LogisticRegression(C=1e9, fit_intercept=False, tol=1e-10).fit(margin, labels).coef_
    assert fit_temperature(logits, labels) == pytest.approx(1 / slope[0, 0], rel=1e-3)


def test_of_few_it_is_the_highest_point_of_the_posterior() -> None:
    logits, labels = _overconfident(150, 2.5)
    log_t = np.linspace(-1, 2, 3_001)  # 1e-3 apart
    margin = (logits[:, 1] - logits[:, 0]) * (2 * labels - 1)
    likelihood = log_expit(margin * np.exp(-log_t)[:, None]).sum(1)
    highest = log_t[np.argmax(likelihood + norm.logpdf(log_t, 0, 0.5))]
    assert np.log(fit_temperature(logits, labels)) == pytest.approx(highest, abs=1e-3)


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_a_split_of_twenty_reviews_hardly_ever_makes_the_rest_worse(factor: float) -> None:
    worse = []
    for seed in range(50):
        logits, labels = _overconfident(5_020, factor, seed)
        few, rest = slice(20), slice(20, None)
        temperature = fit_temperature(logits[few], labels[few])
        raw = cross_entropy(logits[rest], labels[rest])
        worse.append(cross_entropy(logits[rest] / temperature, labels[rest]) - raw)
    # nats, of about 0.5: one draw of twenty at the 5% level may still mislead
    assert np.mean(worse) < 0.004 and np.max(worse) < 0.1


def test_twenty_reviews_that_are_all_right_do_not_make_the_model_sure_of_everything() -> None:
    logits, _ = _overconfident(20, 1.0)
    logits *= 2
    temperature = fit_temperature(logits, logits.argmax(1))
    assert temperature > 0.4
    sure = np.array([[-4.0, 4.0]] * 200)  # of such the labels reject nothing
    assert fit_temperature(sure, np.ones(200, np.int8)) == 1.0


def test_folding_divides_every_logit_and_changes_no_label() -> None:
    torch.manual_seed(0)
    model = build("gru-encoder", vocabulary_size=50, embedding_size=8, hidden_size=8).eval()
    ids, mask = torch.randint(1, 50, (6, 9)), torch.ones(6, 9, dtype=torch.int64)
    with torch.no_grad():
        before = model(ids, mask)
        fold_temperature(model, 1.7)
        torch.testing.assert_close(model(ids, mask), before / 1.7)


def test_calibration_error_falls_on_reviews_it_was_not_fitted_on() -> None:
    logits, labels = _overconfident(20_000, 3.0)
    temperature = fit_temperature(logits[:5000], labels[:5000])
    raw = evaluate_logits(logits[5000:], labels[5000:]).calibration_error
    scaled = evaluate_logits(logits[5000:] / temperature, labels[5000:]).calibration_error
    assert scaled.high < 0.02 < raw.low


def test_logits_without_any_information_stay_finite() -> None:
    assert np.isfinite(fit_temperature(np.zeros((10, 2)), np.arange(10) % 2))
