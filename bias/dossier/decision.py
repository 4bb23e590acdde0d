"""From figures to a recommendation, by rules that are written on the page (`RULES`)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bias.dossier.contexts import Context, Threshold
from bias.dossier.evidence import Missing
from bias.dossier.metrics import METRICS
from bias.dossier.options import NO_BACKEND, Option
from bias.dossier.ranking import MARGIN, Yardstick, find_yardstick, ranked_accuracy, stands_in
from bias.section import Estimate

PASS, FAIL, NOT_SHOWN = "pass", "fail", "not shown"
RULES = (
    "What is judged is a model on a backend. It passes a threshold when the whole 95% interval is "
    "on the right side of it: what should be high is judged by its lower end, what should be low "
    "by its upper end. Times, memory and size have no interval and are judged as measured.",
    "It fails where the estimate itself is on the wrong side. Where the estimate is on the right "
    "side and the interval is not, or where nothing was measured, the threshold is not shown, and "
    "what is not shown never counts as passed.",
    "Accuracy in domain and calibration are the worst of the test sets in domain, accuracy out of "
    "domain the worst of those of sources that it never saw; a test whose source it learned from "
    "without labels is neither. Runs that differ in the seed alone are one candidate: figures "
    "are means over seeds, intervals cover the choice of test rows and, by Student's t, that of "
    "the seed; of bias the worst audited seed counts, and the page says of how many seeds it was "
    "measured. The bundle to ship is, of the seeds that were audited and exported, that with the "
    "best validation accuracy.",
    "Recommended is, of those that pass every threshold of a context, the best by what the context "
    "prefers. Where that is accuracy, it is the mean over the in-domain tests that most candidates "
    "share, row for row, and models that lack them are not ranked. In the place of the most "
    f"accurate a faster one is taken only where it is shown to lose no more than {100 * MARGIN:g} "
    "points: on every in-domain test that both have, the 95% interval of the difference (paired by "
    "row, with Student's t for rows and seeds) does not reach below that. Of these the one with "
    "the lowest median latency is taken. Since every test has to show it, nothing is corrected for "
    "their number; few rows make it harder to be taken, never easier.",
    "Where nothing passes, nothing is recommended, and the page says which comes nearest. Of one "
    "model's backends that is the one with the fewest thresholds not measured, of these fewest "
    "failed, fewest not shown, then the fastest, so that a backend that nobody measured never "
    "stands for it where another was; between models, fewest not passed, of these fewest not "
    "measured, fewest failed, then the fastest.",
    "Whether a model may decide at all in a context is an argument, not a figure, and no figure "
    "overrules it.",
)


@dataclass(frozen=True)
class Verdict:
    """One threshold of one option: PASS, FAIL or NOT_SHOWN, and why in a few words. `measured`:
    whether there is a figure, which may still show nothing."""

    threshold: Threshold
    outcome: str
    text: str
    command: str | None = None
    measured: bool = True


@dataclass(frozen=True)
class Judgement:
    """One option in one context."""

    option: Option
    verdicts: tuple[Verdict, ...]

    @property
    def passes(self) -> bool:
        """Whether every threshold is shown, by something that can be shipped."""
        return self.option.backend != NO_BACKEND and self.count(PASS) == len(self.verdicts)

    def count(self, outcome: str) -> int:
        """Of its verdicts."""
        return sum(verdict.outcome == outcome for verdict in self.verdicts)

    @property
    def unmeasured(self) -> int:
        """How many thresholds there is no figure for."""
        return sum(not verdict.measured for verdict in self.verdicts)


@dataclass(frozen=True)
class Recommendation:
    """`chosen` is None where nothing is recommended; `why` is a sentence or two either way."""

    context: Context
    judgements: tuple[Judgement, ...]
    chosen: Option | None
    why: str


def judge(threshold: Threshold, figure: Estimate | Missing) -> Verdict:
    """Hold one figure against its threshold."""
    metric = METRICS[threshold.metric]
    if isinstance(figure, Missing):
        return Verdict(threshold, NOT_SHOWN, figure.short, figure.command, measured=False)
    if math.isnan(figure.value):
        return Verdict(threshold, NOT_SHOWN, "not a number", measured=False)
    text = metric.text(figure)
    if not metric.meets(figure.value, threshold.limit):
        return Verdict(threshold, FAIL, text)
    if not metric.meets(metric.doubtful(figure), threshold.limit):
        known = not math.isnan(metric.doubtful(figure))
        return Verdict(threshold, NOT_SHOWN, f"{text}: {'too wide' if known else 'no interval'}")
    return Verdict(threshold, PASS, text)


def judge_all(context: Context, options: Sequence[Option]) -> tuple[Judgement, ...]:
    """Hold every option against every threshold of a context."""
    return tuple(
        Judgement(o, tuple(judge(t, o.figures[t.metric]) for t in context.thresholds))
        for o in options
    )


def recommend(
    context: Context, options: Sequence[Option], yardstick: Yardstick | None
) -> Recommendation:
    """Judge all options and choose by `RULES`."""
    judgements = judge_all(context, options)
    passing = [each.option for each in judgements if each.passes]
    if context.use == "never":
        count = f"{len(passing)} of {len(judgements)} would pass" if passing else "none would pass"
        return Recommendation(context, judgements, None, f"Not a use for such a model: {count} "
                              "the thresholds, and that would not open it.")  # fmt: skip
    if not passing:
        return Recommendation(context, judgements, None, _nearest(judgements))
    chosen, why = _best(context, passing, yardstick)
    return Recommendation(context, judgements, chosen, why)


def best_judgement(judgements: Sequence[Judgement], candidate: str) -> Judgement:
    """The candidate's backend that comes nearest: fewest not measured, of these fewest failed,
    fewest not shown, fastest. A backend that nobody measured says least of the candidate."""
    own = [each for each in judgements if each.option.candidate.name == candidate]
    return min(own, key=lambda each: (each.unmeasured, each.count(FAIL), each.count(NOT_SHOWN),
                                      _speed(each)))  # fmt: skip


def _between(judgement: Judgement) -> tuple[float, ...]:
    """Orders candidates, each on its own nearest backend. What was not measured counts as not
    passed; put first here, it would prefer who fails everything to who lacks one figure."""
    failed = judgement.count(FAIL)
    return (judgement.option.backend == NO_BACKEND, failed + judgement.count(NOT_SHOWN),
            judgement.unmeasured, failed, _speed(judgement))  # fmt: skip


def _speed(judgement: Judgement) -> float:
    latency = judgement.option.value("p50_ms")
    return math.inf if math.isnan(latency) else latency


def _nearest(judgements: Sequence[Judgement]) -> str:
    """Why nothing passes, by the option that comes nearest."""
    names = dict.fromkeys(each.option.candidate.name for each in judgements)
    near = min((best_judgement(judgements, name) for name in names), key=_between)
    if near.option.backend == NO_BACKEND:
        return "None of the runs keeps a bundle that could be shipped."
    parts = []
    for outcome, word in ((FAIL, "fails"), (NOT_SHOWN, "does not show")):
        own = [v for v in near.verdicts if v.outcome == outcome]
        if own:
            parts.append(f"{word} {', '.join(f'{v.threshold.text} ({v.text})' for v in own)}")
    return f"Nothing passes. Nearest comes {near.option.name}: it {' and '.join(parts)}."


def _best(
    context: Context, passing: Sequence[Option], yardstick: Yardstick | None
) -> tuple[Option | None, str]:
    metric = METRICS[context.prefer]
    count = len(context.thresholds)
    all_of = f"all {count} thresholds" if count > 1 else "the threshold"
    if context.prefer == "accuracy":
        return _most_accurate(passing, yardstick, all_of)
    judged = [option for option in passing if not math.isnan(option.value(context.prefer))]
    if not judged:
        names = ", ".join(option.name for option in passing)
        return None, f"{names} pass {all_of}, but none has the {metric.title} that decides."
    sign = -1 if metric.high else 1
    best = min(judged, key=lambda o: (sign * o.value(context.prefer), *_cheapness(o)))
    figure = best.figures[context.prefer]
    assert isinstance(figure, Estimate)
    most = "highest" if metric.high else "lowest"
    among = f", the {most} of the {len(passing)} that pass" if len(passing) > 1 else ""
    return best, f"Passes {all_of}; {metric.title} {metric.text(figure)}{among}."


def _most_accurate(
    passing: Sequence[Option], yardstick: Yardstick | None, all_of: str
) -> tuple[Option | None, str]:
    if len({option.candidate.name for option in passing}) == 1:
        yardstick = find_yardstick([passing[0].candidate])  # its own, whatever the others share
    ranked = [o for o in passing if yardstick and o.candidate.name in yardstick.members]
    others = [option for option in passing if option not in ranked]
    if not ranked or not yardstick:
        names = ", ".join(option.name for option in passing)
        return None, (f"{names} pass {all_of}, but were not tested on the same rows, and so cannot "
                      "be ranked.")  # fmt: skip
    metric = METRICS["accuracy"]
    # what changes no label before what may: a difference from it is then no wider than need be
    best = min(ranked, key=lambda o: (-ranked_accuracy(o, yardstick).value, o.changed,
                                      *_cheapness(o)))  # fmt: skip
    equal = [o for o in ranked if o is best or stands_in(best, o)]
    chosen = min(equal, key=_cheapness)
    figure = ranked_accuracy(chosen, yardstick)
    why = f"Passes {all_of}; accuracy on {yardstick.title} {metric.text(figure)}"
    if len(ranked) == 1:
        why += "; nothing else passes." if not others else "."
    elif chosen.candidate is best.candidate:
        why += f", the highest of the {len(ranked)} that pass" if len(equal) < len(ranked) else ""
        why += (f"; the fastest of {len(equal)} shown to be within {100 * MARGIN:g} points of it."
                if len(equal) > 1 else ".")  # fmt: skip
    else:
        why += (f", shown to be within {100 * MARGIN:g} points of {best.name}'s "
                f"{metric.number(ranked_accuracy(best, yardstick).value)} on every test, "
                f"and faster: {_latency(chosen)} against {_latency(best)}.")  # fmt: skip
    if others:
        why += f" Not ranked, for want of the same test rows: {', '.join(o.name for o in others)}."
    return chosen, why


def _latency(option: Option) -> str:
    return METRICS["p50_ms"].number(option.value("p50_ms"))


def _cheapness(option: Option) -> tuple[float | str, ...]:
    """Fastest first, then smallest, then by name, so that the choice never hangs on the order."""
    values = (option.value("p50_ms"), option.value("artefact_mb"))
    return (*(math.inf if math.isnan(v) else v for v in values), option.name)
