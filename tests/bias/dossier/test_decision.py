"""Thresholds, verdicts, the front, and what is recommended."""

import itertools
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bias.dossier.candidates import read_candidates
from bias.dossier.contexts import Context, Threshold, load_contexts
from bias.dossier.decision import (
    FAIL,
    NOT_SHOWN,
    PASS,
    Recommendation,
    best_judgement,
    judge,
    recommend,
)
from bias.dossier.evidence import Missing
from bias.dossier.metrics import METRICS
from bias.dossier.options import options_of
from bias.dossier.ranking import (
    accuracy_difference,
    find_yardstick,
    front_of,
    pareto_front,
    ranked_accuracy,
)
from bias.section import Estimate

MakeRun = Callable[..., Path]
BIAS = {"flip_rate": (0.01, 0.005, 0.02), "group_gap": (0.05, 0.03, 0.08),
        "equalized_odds_difference": (0.1, 0.0, 0.3)}  # fmt: skip


def _context(
    *thresholds: tuple[str, float], prefer: str = "accuracy", use: str = "alone"
) -> Context:
    return Context(
        "c",
        "A use",
        "something",
        use,
        "An argument.",
        prefer,
        tuple(Threshold(metric, limit, "why") for metric, limit in thresholds),
    )


def _recommend(context: Context, runs: Sequence[Path]) -> Recommendation:
    candidates = read_candidates(runs)
    options = [option for each in candidates for option in options_of(each)]
    return recommend(context, options, find_yardstick(candidates))


@pytest.mark.parametrize(
    ("metric", "figure", "outcome"),
    [
        ("accuracy", (0.92, 0.91, 0.93), PASS),
        ("accuracy", (0.92, 0.899, 0.94), NOT_SHOWN),  # its interval crosses 90%
        ("accuracy", (0.89, 0.88, 0.91), FAIL),
        ("flip_rate", (0.01, 0.005, 0.02), PASS),
        ("flip_rate", (0.02, 0.01, 0.03), NOT_SHOWN),
        ("flip_rate", (0.03, 0.02, 0.04), FAIL),
        ("flip_rate", (0.01, math.nan, math.nan), NOT_SHOWN),  # of too few sentences
        ("accuracy", (0.92, math.nan, math.nan), NOT_SHOWN),
        ("p50_ms", (9.0, math.nan, math.nan), PASS),
        ("p50_ms", (11.0, math.nan, math.nan), FAIL),
    ],
)
def test_the_doubtful_end_of_the_interval_decides(
    metric: str, figure: tuple[float, float, float], outcome: str
) -> None:
    limit = {"accuracy": 0.9, "flip_rate": 0.02, "p50_ms": 10.0}[metric]
    verdict = judge(Threshold(metric, limit, ""), Estimate(metric, *figure, 10, "things"))
    assert verdict.outcome == outcome


def test_what_was_not_measured_is_not_shown_and_never_passes(make_run: MakeRun) -> None:
    verdict = judge(Threshold("flip_rate", 1.0, ""), Missing("not audited", "why", "command"))
    assert (verdict.outcome, verdict.command) == (NOT_SHOWN, "command")
    found = _recommend(_context(("accuracy", 0.5), ("flip_rate", 1.0)), [make_run("gru")])
    assert found.chosen is None and "does not show flip rate ≤ 100% (not audited)" in found.why


def test_the_most_accurate_of_those_that_pass_is_recommended(whole: MakeRun) -> None:
    runs = [whole("good", accuracy=0.96), whole("fair", accuracy=0.91),
            whole("best", accuracy=0.99, p50={"eager": 90.0, "onnx": 80.0})]  # fmt: skip
    found = _recommend(_context(("accuracy", 0.85), ("p50_ms", 20)), runs)
    assert found.chosen is not None and found.chosen.name == "good on onnx"
    by_option = {each.option.name: each for each in found.judgements}
    assert [v.outcome for v in by_option["best on onnx"].verdicts] == [PASS, FAIL]
    assert by_option["fair on onnx"].passes


QUICK = {"eager": 0.9, "onnx": 0.2}


def _answers(rows: int, wrong: range) -> Any:
    """Labels (N,) and logits (N, 2) that are wrong on these rows alone."""
    labels = (np.arange(rows) % 2).astype(np.int8)
    positive = np.where(labels == 1, 1.0, -1.0)
    positive[wrong] *= -1
    return labels, np.stack([-positive, positive], axis=1)


def _pair(whole: MakeRun, rows: int, more: int = 0) -> list[Path]:
    """Of the slow one's answers a twentieth are wrong, and `more` of the fast one's."""
    slow, fast = _answers(rows, range(rows // 20)), _answers(rows, range(rows // 20 + more))
    return [whole("slow", tests={"shop": 0.0}, answers={"shop": slow}),
            whole("fast", tests={"shop": 0.0}, answers={"shop": fast}, p50=QUICK)]  # fmt: skip


def test_the_fastest_is_recommended_of_those_shown_to_lose_no_more_than_the_margin(
    whole: MakeRun,
) -> None:
    found = _recommend(_context(("accuracy", 0.85)), _pair(whole, rows=8000, more=8))
    assert found.chosen is not None and found.chosen.name == "fast on onnx"
    assert "shown to be within 0.5 points of slow" in found.why and "0.45 ms against" in found.why


def test_what_is_merely_not_shown_to_differ_is_not_taken_for_equal(whole: MakeRun) -> None:
    """Few rows, or none kept, leave open whether the fast one is worse."""
    runs = [whole("slower", accuracy=0.921), whole("fast", p50=QUICK)]
    found = _recommend(_context(("accuracy", 0.85)), runs)
    assert found.chosen is not None and found.chosen.name == "slower on onnx"
    for run in runs:
        (run / "predictions" / "shop.parquet").unlink()
    found = _recommend(_context(("accuracy", 0.85)), runs)
    assert found.chosen is not None and found.chosen.name == "slower on onnx"


@pytest.mark.parametrize("rows", [400, 8000])
def test_fewer_rows_never_make_a_stand_in(whole: MakeRun, rows: int) -> None:
    """1 of 400 rows and 20 of 8,000 are the same quarter of a point."""
    found = _recommend(_context(("accuracy", 0.85)), _pair(whole, rows, more=rows // 400))
    assert found.chosen is not None
    assert found.chosen.name == ("fast on onnx" if rows == 8000 else "slow on onnx")


def test_a_loss_on_any_shared_test_keeps_a_model_from_standing_in(whole: MakeRun) -> None:
    """Alike on the one test, 2.5 points worse on the other, in whatever order they are given."""
    good, worse = _answers(8000, range(400)), _answers(8000, range(600))
    for order in itertools.permutations(("a", "b")):
        tests, name = dict.fromkeys(order, 0.0), "-".join(order)
        report = {"parts": [{"source": test, "part": "train"} for test in order]}
        runs = [
            whole(f"slow-{name}", tests=tests, answers={"a": good, "b": good}),
            whole(f"fast-{name}", tests=tests, answers={"a": good, "b": worse}, p50=QUICK),
        ]
        for run in runs:
            result = json.loads((run / "result.json").read_text())
            result["data"]["report"] = report
            (run / "result.json").write_text(json.dumps(result))
        found = _recommend(_context(("accuracy", 0.85)), runs)
        assert found.chosen is not None and found.chosen.name == f"slow-{name} on onnx"
        yardstick = find_yardstick(read_candidates(runs))
        assert yardstick is not None and yardstick.tests == ("a", "b")
        slow = next(j.option for j in found.judgements if j.option.name == f"slow-{name} on onnx")
        wilson = stats.binomtest(7600, 8000).proportion_ci(method="wilson")
        figure = ranked_accuracy(slow, yardstick)  # the mean of two tests of one accuracy
        assert figure.value == pytest.approx(0.95)
        assert 0.95 - figure.low == pytest.approx((0.95 - wilson.low) / math.sqrt(2))
        assert figure.high - 0.95 == pytest.approx((wilson.high - 0.95) / math.sqrt(2))


def test_which_tests_rank_does_not_hang_on_the_order_of_sources(whole: MakeRun) -> None:
    """Two groups of candidates, each with a test of its own: as many, and as large."""
    found = set()
    for k, order in enumerate(itertools.permutations(("a", "b"))):
        runs = [whole(f"{test}{n}-{k}", experiment=f"{test}{n}", tests={test: 0.0})
                for test in order for n in range(2)]  # fmt: skip
        for run in runs:
            path = run / "result.json"
            result = json.loads(path.read_text())
            result["data"]["report"] = {"parts": [{"source": t, "part": "train"} for t in order]}
            path.write_text(json.dumps(result))
        yardstick = find_yardstick(read_candidates(runs))
        assert yardstick is not None
        found.add((yardstick.tests, yardstick.members))
    assert len(found) == 1


def test_what_a_coarser_backend_gained_by_chance_does_not_put_it_first(whole: MakeRun) -> None:
    """Its certificate says 90.4% against the checkpoint's 90.0%; it may change 0.7% of labels."""
    run = whole("gru", certified=("onnx", "onnx-int8"), changed=0.004,
                audits={"onnx": BIAS, "onnx-int8": BIAS}, accuracy=0.95,
                p50={"eager": 4.0, "onnx": 1.0, "onnx-int8": 2.0})  # fmt: skip
    path = run / "best" / "parity.json"
    path.write_text(path.read_text().replace('"accuracy": 0.9,', '"accuracy": 0.904,'))
    found = _recommend(_context(("accuracy", 0.85)), [run])
    assert "0.904" in path.read_text()
    assert found.chosen is not None and found.chosen.name == "gru on onnx"


def test_what_a_context_prefers_decides_between_those_that_pass(whole: MakeRun) -> None:
    runs = [whole("accurate", accuracy=0.97), whole("small", megabytes={"onnx": 0.001})]
    found = _recommend(_context(("accuracy", 0.85), prefer="artefact_mb"), runs)
    assert found.chosen is not None and found.chosen.name == "small on onnx"


def test_models_that_share_no_test_rows_are_not_ranked(whole: MakeRun) -> None:
    runs = [whole("many", rows=2000), whole("few", rows=1000, accuracy=0.95)]
    found = _recommend(_context(("accuracy", 0.85)), runs)
    assert "Not ranked, for want of the same test rows" in found.why


def test_the_recommendation_does_not_hang_on_the_order_of_runs(whole: MakeRun) -> None:
    runs = [whole("a"), whole("b", accuracy=0.93), whole("c", accuracy=0.91)]
    context = _context(("accuracy", 0.85), ("flip_rate", 0.05))
    chosen = {_recommend(context, order).chosen.name  # type: ignore[union-attr]
              for order in itertools.permutations(runs)}  # fmt: skip
    assert len(chosen) == 1


def test_a_use_that_is_refused_stays_refused_whatever_passes(whole: MakeRun) -> None:
    found = _recommend(_context(("accuracy", 0.5), use="never"), [whole("gru")])
    assert found.chosen is None and "Not a use for such a model" in found.why
    assert all(each.passes for each in found.judgements)


def test_a_baseline_without_a_bundle_is_never_recommended(
    make_run: MakeRun, whole: MakeRun
) -> None:
    runs = [make_run("tfidf", bundle=False, accuracy=0.99), whole("gru")]
    found = _recommend(_context(("accuracy", 0.85)), runs)
    assert found.chosen is not None and found.chosen.candidate.name == "gru"
    assert _recommend(_context(("accuracy", 0.85)), runs[:1]).chosen is None


def test_the_paired_difference_is_that_of_a_paired_sample(whole: MakeRun) -> None:
    candidates = read_candidates([whole("a", accuracy=0.9), whole("b", accuracy=0.93)])
    options = {c.name: options_of(c)[0] for c in candidates}
    found = accuracy_difference(options["a"], options["b"], "shop")
    right = {c.name: c.answers["shop"][0].correct.astype(float) for c in candidates}
    pairs = right["b"] - right["a"]
    half = stats.t.ppf(0.975, 1999) * pairs.std(ddof=1) / math.sqrt(2000)
    assert found is not None and found.value == pytest.approx(0.03)
    assert (found.low, found.high) == (pytest.approx(0.03 - half), pytest.approx(0.03 + half))


def test_seeds_that_disagree_make_a_difference_less_certain(whole: MakeRun) -> None:
    steady = [whole(f"a{s}", experiment="a", seed=s) for s in range(2)]
    spread = [whole(f"b{s}", experiment="b", seed=s, accuracy=0.9 + 0.06 * s) for s in range(2)]
    candidates = read_candidates([*steady, *spread])
    left, right = (options_of(candidate)[0] for candidate in candidates)
    found = accuracy_difference(left, right, "shop")
    # the seeds of b alone: a standard error of 0.06/√2 / √2 with one degree of freedom, to which
    # the rows add little; the normal distribution would give 1.96 of them in the place of 12.7
    assert found is not None and found.high - found.value > 10 * 0.03


def test_rows_and_seeds_have_the_degrees_of_freedom_of_welch_and_satterthwaite(
    whole: MakeRun,
) -> None:
    rows = 2000
    wrong = {"a": (40, 60, 50), "b": (100, 180, 140)}
    runs = [whole(f"{name}{s}", experiment=name, seed=s, tests={"shop": 0.0},
                  answers={"shop": _answers(rows, range(count))})
            for name, counts in wrong.items() for s, count in enumerate(counts)]  # fmt: skip
    candidates = {each.name: each for each in read_candidates(runs)}
    found = accuracy_difference(*(options_of(candidates[name])[0] for name in "ab"), "shop")
    right = {name: [1 - count / rows for count in counts] for name, counts in wrong.items()}
    b, a = (np.mean([each.correct for each in candidates[name].answers["shop"]], axis=0)
            for name in "ba")  # fmt: skip
    pairs = b - a
    parts = [(pairs.var(ddof=1) / rows, rows - 1),
             *((stats.sem(right[name]) ** 2, 2) for name in "ab")]  # fmt: skip
    total = sum(part for part, _ in parts)
    freedom = total**2 / sum(part**2 / degrees for part, degrees in parts)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(total)
    assert found is not None and found.high - found.value == pytest.approx(half)
    welch = stats.ttest_ind(right["b"], right["a"], equal_var=False)
    assert freedom > welch.df  # the rows' variance is known well, and adds to the freedom


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=12))
def test_the_front_is_that_of_brute_force(rows: list[tuple[int, int, int]]) -> None:
    wanted = [
        not any(all(a <= b for a, b in zip(other, row, strict=True)) and other != row
                for other in rows)
        for row in rows
    ]  # fmt: skip
    assert pareto_front(np.array(rows, float)).tolist() == wanted


def test_the_front_trades_accuracy_latency_and_bias(whole: MakeRun, make_run: MakeRun) -> None:
    biased = {"onnx": {"flip_rate": (0.09, 0.05, 0.1)}}
    runs = [
        whole("accurate", accuracy=0.96, p50={"eager": 40.0, "onnx": 20.0}),
        whole("fast", accuracy=0.90, p50={"eager": 4.0, "onnx": 0.5}),
        whole("worse", accuracy=0.89, p50={"eager": 5.0, "onnx": 2.0}, audits=biased),
        make_run("unaudited", p50={"eager": 1.0}),
    ]  # fmt: skip
    candidates = read_candidates(runs)
    options = [option for each in candidates for option in options_of(each)]
    front = front_of(options, find_yardstick(candidates))
    assert {name for name, on in front.items() if on} == {"accurate on onnx", "fast on onnx"}
    assert "unaudited on eager" not in front and front["worse on onnx"] is False


@pytest.mark.parametrize("limit", [0.05, 0.001])
def test_a_measured_failure_comes_nearer_than_what_nobody_measured(
    whole: MakeRun, limit: float
) -> None:
    """int8 is faster and was not audited; the checkpoint's flip rate passes, or fails."""
    run = whole("gru", certified=("onnx", "onnx-int8"),
                p50={"eager": 4.0, "onnx": 2.0, "onnx-int8": 0.5})  # fmt: skip
    context = _context(("accuracy", 0.99), ("p50_ms", 1), ("flip_rate", limit))
    found = _recommend(context, [run])
    near = best_judgement(found.judgements, "gru")
    assert near.option.name == "gru on onnx" and near.unmeasured == 0
    by_name = {each.option.name: each for each in found.judgements}
    assert by_name["gru on onnx-int8"].unmeasured == 1
    assert "Nearest comes gru on onnx:" in found.why and "not audited" not in found.why


def test_between_models_the_one_that_lacks_least_comes_nearest_and_measured_before_unmeasured(
    whole: MakeRun, make_run: MakeRun
) -> None:
    lacking = make_run("lacking", p50={"eager": 4.0, "onnx": 1.0})
    failing = whole("failing", accuracy=0.8, p50={"eager": 40.0, "onnx": 30.0})
    context = _context(("accuracy", 0.85), ("p50_ms", 20), ("flip_rate", 0.001))
    assert "Nearest comes lacking on onnx" in _recommend(context, [failing, lacking]).why
    context = _context(("p50_ms", 50), ("flip_rate", 0.001))  # either lacks the flip rate alone
    assert "Nearest comes failing on onnx" in _recommend(context, [lacking, failing]).why


def test_our_contexts_name_at_least_six_uses_each_argued() -> None:
    contexts = load_contexts()
    assert {"ranking", "analytics", "triage", "moderation", "screening", "on_device"} <= {
        context.name for context in contexts
    }
    for context in contexts:
        assert len(context.argument) > 150 and all(t.why for t in context.thresholds)
    assert {c.name: c.use for c in contexts}["moderation"] == "assist"
    assert {c.name: c.use for c in contexts}["screening"] == "never"
    assert {t.metric for c in contexts for t in c.thresholds} == set(METRICS)


OWN = """
schema_version: 1
contexts:
  mine: {title: Mine, decides: x, use: alone, argument: because, prefer: accuracy,
         thresholds: {accuracy: {at_least: 0.9, why: w}}}
"""


def test_contexts_of_ones_own_are_read(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(OWN)
    (context,) = load_contexts(path)
    assert (context.name, context.thresholds) == ("mine", (Threshold("accuracy", 0.9, "w"),))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "{accuracy: {at",
            "{acuracy: {at",
            "unknown threshold 'acuracy' (did you mean 'accuracy'?)",
        ),
        ("prefer: accuracy", "prefer: speed", "contexts.mine.prefer: unknown threshold 'speed'"),
        ("use: alone", "use: always", "got 'always'; allowed are alone, assist, never"),
        ("at_least", "at_most", "wanted is {at_least: NUMBER, why: TEXT}, a share from 0 to 1"),
        ("0.9", "90", "a share is from 0 to 1"),
        ("title: Mine", "titel: Mine", "unknown field (did you mean 'title'?)"),
        ("version: 1", "version: 3", "schema_version is 3"),
        ("argument: because", "argument: ''", "contexts.mine.argument: is ''"),
    ],
)
def test_a_mistaken_context_is_one_line_that_names_it(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(OWN.replace(old, new))
    with pytest.raises(ValueError) as error:
        load_contexts(path)
    assert (
        said in str(error.value)
        and "\n" not in str(error.value)
        and "--contexts" in str(error.value)
    )
    path.write_text("a: [")
    with pytest.raises(ValueError, match="not YAML"):
        load_contexts(path)
    with pytest.raises(ValueError, match="No such file"):
        load_contexts(tmp_path / "none.yaml")
    assert yaml.safe_load(OWN)  # the mistakes are those that were put in
