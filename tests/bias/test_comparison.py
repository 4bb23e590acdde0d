"""Two targets held together: one model is one model, a worse one is worse for the right group."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from bias import identities
from bias.comparison import Contender, comparison_section, group_changes
from bias.counterfactual import Scored, comparisons, score
from bias.pairs import Pair
from bias.seeds import same_but_seed, seeds_section
from bias.targets import BUNDLE, Target
from bias.templates import template_pairs
from training.config import as_dict, load_experiment


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    axes = [axis for axis in identities.load() if axis.name in ("gender", "names", "religion")]
    return template_pairs(axes)


def test_a_group_that_another_target_treats_worse_is_named(
    pairs: list[Pair], additive: Any
) -> None:
    base = score(pairs, additive(0).positive)
    worse = score(pairs, additive(0, loss=0.5).positive)
    changes = {each.group: each for each in group_changes(base, worse)}
    women = changes["women"].difference
    expected = (worse.differences - base.differences)[[p.group == "women" for p in pairs]]
    assert women.value == pytest.approx(expected.mean())
    assert women.p is not None and women.p < 0.05 and women.high < 0
    assert changes["women"].errors is not None
    assert all(abs(changes[g].difference.value) < 1e-12 for g in changes if "names" in g)
    section = comparison_section([Contender("plain", base), Contender("int8", worse)])
    assert any("Δp of women changes by -" in line for line in section.findings)


def test_what_is_served_is_what_was_audited_only_if_the_answers_are_alike(
    pairs: list[Pair], additive: Any
) -> None:
    base = score(pairs, additive(0).positive)
    rounded = Scored(pairs, np.round(base.left, 6), np.round(base.right, 6))
    served = comparison_section([Contender("onnx", base), Contender("url", rounded, True)])
    assert "url serves is what was audited as onnx" in served.findings[0]
    other = score(pairs, additive(1).positive)
    section = comparison_section([Contender("onnx", base), Contender("url", other, True)])
    assert "serves is NOT what was audited" in section.findings[0]
    (disagreement,) = section.headline
    assert disagreement.value > 0.05


@pytest.mark.parametrize("endpoint_first", [False, True])
def test_an_endpoint_of_int8_may_differ_by_what_its_batches_do(
    pairs: list[Pair], additive: Any, endpoint_first: bool
) -> None:
    base = score(pairs, additive(0).positive)
    shift = np.random.default_rng(0).uniform(-0.01, 0.01, len(pairs))
    moved = Scored(pairs, np.clip(base.left + shift, 0, 1), base.right)
    audited, served = Contender("x@onnx-int8", base, False, True), Contender("url", moved, True)
    order = [served, audited] if endpoint_first else [audited, served]
    said = comparison_section(order).findings[0]
    assert "What url serves may well be what was audited as x@onnx-int8; answers in int8" in said
    other = Contender("url", score(pairs, additive(1).positive), True)
    assert "url serves is NOT what" in comparison_section([audited, other]).findings[0]
    exact = Contender("x@onnx", base)
    assert "url serves is NOT what" in comparison_section([exact, served]).findings[0]


def test_labels_that_differ_are_worth_their_templates_and_not_every_text_by_itself() -> None:
    """20 texts of each of 10 templates; in two templates all are labelled otherwise."""
    made = [
        Pair("templates", "names", "a", "g", "r", "x", "y", f"template {i}", None,
             f"group {i} {k}", f"reference {i} {k}")
        for i in range(10) for k in range(10)
    ]  # fmt: skip
    base = Scored(made, np.full(100, 0.9), np.full(100, 0.9))
    wrong = np.repeat([0.1, 0.1, *[0.9] * 8], 10)
    section = comparison_section(
        [Contender("plain", base), Contender("int8", Scored(made, wrong, wrong))]
    )
    (disagreeing,) = section.estimates
    assert (disagreeing.value, disagreeing.n) == (pytest.approx(0.2), 200)
    # texts of a template agree entirely: 200 are worth no more than the 10 templates
    expected = binomtest(2, 10).proportion_ci(method="wilson")
    assert disagreeing.low == pytest.approx(expected.low, abs=0.02)
    assert disagreeing.high == pytest.approx(expected.high, abs=0.02)
    assert disagreeing.of == "texts from 10 clusters"
    (none,) = comparison_section([Contender("a", base), Contender("b", base)]).estimates
    assert none.high == pytest.approx(binomtest(0, 10).proportion_ci(method="wilson").high)


def config(seed: int, epochs: int = 2) -> dict[str, Any]:
    return {"experiment": "1-gru", "train": {"seed": seed, "epochs": epochs}}


def test_runs_that_differ_in_the_seed_alone_belong_together() -> None:
    assert same_but_seed([config(0), config(1, 3), None, config(2), config(4)]) == [[0, 3, 4]]
    assert same_but_seed([config(0), None]) == []


def test_a_run_older_than_a_setting_belongs_with_those_that_left_it_alone() -> None:
    unset = "initial.deviation=null"
    old = load_experiment("demo", ["train.seed=0", unset])
    new = load_experiment("demo", ["train.seed=1", unset])
    other = load_experiment("demo", ["train.seed=2", "train.epochs=9", unset])
    configs = [as_dict(each) for each in (old, new, other)]
    del configs[0]["initial"], configs[0]["train"]["calibrate"]
    bundles = [
        Target(str(seed), BUNDLE, str(seed), "onnx", {"provenance": {"config": each}})
        for seed, each in enumerate(configs)
    ]
    assert same_but_seed([target.training for target in bundles]) == [[0, 1]]


def test_over_seeds_a_bias_of_the_method_stays_and_a_runs_quirk_does_not(
    pairs: list[Pair], additive: Any
) -> None:
    runs = [comparisons(score(pairs, additive(s, loss=1.5).positive)) for s in range(4)]
    section = seeds_section(list("abcd"), range(4), runs)
    assert "women (gender, templates)" in section.findings[0]
    rows = {row[2]: row for row in section.tables[0].rows}
    assert rows["women"][5] == "4 of 4"
    over = rows["women"][3]
    values = [next(c for c in run if c.group == "women").probability.value for run in runs]
    assert not isinstance(over, str | int | float | None)
    assert over.value == pytest.approx(np.mean(values))
