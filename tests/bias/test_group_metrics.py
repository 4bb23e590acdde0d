"""Errors by group against scikit-learn and fairlearn, and by hand."""

import numpy as np
import pytest
from fairlearn.metrics import equalized_odds_difference
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from bias.counterfactual import Scored
from bias.errors_section import errors_section
from bias.group_metrics import Texts, auc_interval, counterfactual_texts, errors
from bias.pairs import CONTROL, TEMPLATES, Pair


def texts(seed: int, shift: float = 0.0, count: int = 60) -> Texts:
    """Two groups speak the same sentences; `shift` is taken from the answers about "women"."""
    generator = np.random.default_rng(seed)
    labels = np.tile(generator.integers(0, 2, count), 2)
    base = np.tile(generator.normal(0, 1, count), 2) + 2 * labels - 1
    groups = ["women"] * count + ["men"] * count
    noise = generator.normal(0, 0.2, 2 * count)
    logits = base + noise - shift * np.array([group == "women" for group in groups])
    clusters = [str(i) for i in range(count)] * 2
    return Texts(groups, clusters, labels, 1 / (1 + np.exp(-logits)))


def test_an_auc_is_scikit_learns_and_lies_in_its_interval() -> None:
    made = texts(0)
    positive, negative = made.labels == 1, made.labels == 0
    clusters = ([c for c, k in zip(made.clusters, positive, strict=True) if k],
                [c for c, k in zip(made.clusters, negative, strict=True) if k])  # fmt: skip
    found = auc_interval(made.positive[positive], made.positive[negative], clusters, "auc", "")
    assert found is not None
    assert found.value == pytest.approx(roc_auc_score(made.labels, made.positive))
    assert found.low < found.value < found.high


def test_ties_count_half() -> None:
    found = auc_interval(np.array([0.5, 0.5]), np.array([0.5]), (["a", "b"], ["c"]), "auc", "")
    assert found is not None and found.value == 0.5


def test_equalised_odds_are_fairlearns_and_grow_with_the_bias() -> None:
    values = []
    for shift in (0.0, 2.0):
        made = texts(1, shift)
        found = errors("reviews", "gender", made, "men").equalized_odds
        predicted = (made.positive >= 0.5).astype(int)
        theirs = equalized_odds_difference(made.labels, predicted, sensitive_features=made.groups)
        assert found.value == pytest.approx(theirs)
        assert found.low <= found.value <= found.high
        values.append(found.value)
    assert values[1] > values[0] + 0.2


@pytest.mark.parametrize("count", [4, 20, 300])
def test_no_difference_on_few_sentences_shows_little(count: int) -> None:
    made = texts(1, count=count)
    right = Texts(made.groups, made.clusters, made.labels, made.labels.astype(float))
    found = errors("reviews", "gender", right, "men").equalized_odds
    fewest = int(min((made.labels == 0).sum(), (made.labels == 1).sum()) / 2)
    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx(binomtest(0, fewest).proportion_ci(method="wilson").high)


def test_the_worst_axis_is_bounded_by_that_of_which_least_is_known() -> None:
    """Of 31 templates a small difference; on another axis a smaller one, of 6."""
    made, left, right = [], [], []
    for axis, clusters, wrong in (("gender", 60, 6), ("age", 6, 0)):
        for i in range(clusters):
            for label in (0, 1):
                made.append(Pair(TEMPLATES, "a", axis, "g", "r", "x", "y", f"{axis}{i} {label}",
                                 label, f"{axis}g{i} {label}", f"{axis}r{i} {label}"))  # fmt: skip
                right.append(float(label))
                left.append(float(label if i >= wrong else 1 - label))
    scored = Scored(made, np.array(left), np.array(right))
    (found,) = errors_section("x", scored).headline
    of_age = errors("templates", "age", counterfactual_texts(scored)[TEMPLATES, "age", "r"], "r")
    assert found.value == pytest.approx(0.1) and found.low > 0
    assert found.high == of_age.equalized_odds.high > 0.3


def test_a_group_read_as_too_negative_has_a_low_bnsp_auc_and_a_whole_subgroup_auc() -> None:
    """Its order within is untouched by a shift; against the background its positives sink."""
    fair, biased = (
        next(g for g in errors("r", "gender", texts(2, shift), "men").groups if g.group == "women")
        for shift in (0.0, 2.0)
    )
    assert biased.subgroup_auc is not None and fair.subgroup_auc is not None
    assert biased.subgroup_auc.value == pytest.approx(fair.subgroup_auc.value)
    assert biased.bnsp_auc is not None and fair.bnsp_auc is not None
    assert biased.bnsp_auc.value < fair.bnsp_auc.value - 0.1
    assert biased.bpsn_auc is not None and fair.bpsn_auc is not None
    assert biased.bpsn_auc.value > fair.bpsn_auc.value
    assert biased.false_negative_rate is not None and fair.false_negative_rate is not None
    assert biased.false_negative_rate.value > fair.false_negative_rate.value


def test_rates_are_counted_by_hand() -> None:
    made = Texts(["a", "a", "a", "b", "b"], list("12345"), np.array([1, 0, 0, 1, 0]),
                 np.array([0.9, 0.8, 0.1, 0.2, 0.3]))  # fmt: skip
    first, second = errors("r", "x", made, "a").groups
    assert (first.group, first.accuracy.value) == ("a", pytest.approx(2 / 3))
    assert first.false_positive_rate is not None and first.false_positive_rate.value == 0.5
    assert second.false_negative_rate is not None and second.false_negative_rate.value == 1.0


def test_a_group_without_a_class_has_no_rate_of_it() -> None:
    made = Texts(["a", "a", "b", "b"], list("1234"), np.array([1, 0, 1, 1]),
                 np.array([0.9, 0.2, 0.7, 0.3]))  # fmt: skip
    second = errors("r", "x", made, "a").groups[1]
    assert second.false_positive_rate is None
    assert second.subgroup_auc is None


def test_one_group_alone_is_refused() -> None:
    made = Texts(["a", "a"], list("12"), np.array([1, 0]), np.array([0.9, 0.2]))
    with pytest.raises(ValueError, match="texts of one group only, a"):
        errors("r", "gender", made, None)


def test_counterfactual_texts_hold_each_text_once_without_controls() -> None:
    pairs = [
        Pair("reviews", "names", "a", "g1", "r", "x", "y", "c", 1, "x1", "y1"),
        Pair("reviews", "names", "a", "g2", "r", "z", "y", "c", 1, "z1", "y1"),
        Pair("reviews", "names", "a", "g2", "r", "z", "y", "d", None, "z2", "y2"),
        Pair("reviews", "names", CONTROL, "n", "n", "z", "y", "d", 1, "z3", "y3"),
    ]
    made = counterfactual_texts(Scored(pairs, np.full(4, 0.6), np.full(4, 0.4)))
    (key,) = made
    assert key == ("reviews", "a", "r")
    assert sorted(made[key].groups) == ["g1", "g2", "r"]
