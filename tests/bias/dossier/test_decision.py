"""Thresholds, verdicts, the front, and what is recommended."""

import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bias.dossier.candidates import read_candidates
from bias.dossier.contexts import Context, Threshold, load_contexts
from bias.dossier.decision import FAIL, NOT_SHOWN, PASS, Recommendation, judge, recommend
from bias.dossier.evidence import Missing
from bias.dossier.metrics import METRICS
from bias.dossier.options import options_of
from bias.dossier.ranking import accuracy_difference, find_yardstick, front_of, pareto_front
from bias.section import Estimate

MakeRun = Callable[..., Path]


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


def test_of_models_not_shown_to_differ_the_fastest_is_recommended(whole: MakeRun) -> None:
    runs = [whole("slow", accuracy=0.921), whole("fast", p50={"eager": 0.9, "onnx": 0.2})]
    found = _recommend(_context(("accuracy", 0.85)), runs)
    assert found.chosen is not None and found.chosen.name == "fast on onnx"
    assert "not shown to differ from slow" in found.why and "0.45 ms against" in found.why


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
    yardstick = find_yardstick(candidates)
    assert yardstick is not None and yardstick.test == "shop"
    found = accuracy_difference(options["a"], options["b"], yardstick)
    right = {c.name: c.answers["shop"][0].correct.astype(float) for c in candidates}
    pairs = right["b"] - right["a"]
    half = 1.959964 * pairs.std(ddof=1) / math.sqrt(2000)
    assert found is not None and found.value == pytest.approx(0.03)
    assert (found.low, found.high) == (pytest.approx(0.03 - half), pytest.approx(0.03 + half))


def test_seeds_that_disagree_make_a_difference_less_certain(whole: MakeRun) -> None:
    steady = [whole(f"a{s}", experiment="a", seed=s) for s in range(2)]
    spread = [whole(f"b{s}", experiment="b", seed=s, accuracy=0.9 + 0.06 * s) for s in range(2)]
    candidates = read_candidates([*steady, *spread])
    left, right = (options_of(candidate)[0] for candidate in candidates)
    yardstick = find_yardstick(candidates)
    assert yardstick is not None
    found = accuracy_difference(left, right, yardstick)
    # the seeds of b alone: a standard error of 0.06/√2 / √2
    assert found is not None and found.high - found.value > 1.96 * 0.03


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
