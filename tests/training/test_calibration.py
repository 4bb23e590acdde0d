"""Temperature scaling against a known truth and scikit-learn's one-parameter fit."""

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from models.registry import build
from training.calibration import fit_temperature, fold_temperature
from training.metrics import evaluate_logits


def _overconfident(n: int, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `factor` times what the labels were drawn by."""
    random = np.random.default_rng(0)
    margin = random.normal(0, 2, n)
    labels = (random.random(n) < expit(margin)).astype(np.int8)
    return np.stack([-margin / 2, margin / 2], 1) * factor, labels


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_the_temperature_is_the_factor_the_logits_are_off_by(factor: float) -> None:
    logits, labels = _overconfident(40_000, factor)
    assert fit_temperature(logits, labels) == pytest.approx(factor, rel=0.04)  # sampling error


def test_it_is_the_logistic_regression_without_intercept_on_the_margin() -> None:
    logits, labels = _overconfident(3_000, 2.5)
    margin = (logits[:, 1] - logits[:, 0])[:, None]
    slope = LogisticRegression(C=1e9, fit_intercept=False, tol=1e-10).fit(margin, labels).coef_
    assert fit_temperature(logits, labels) == pytest.approx(1 / slope[0, 0], rel=1e-3)


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
