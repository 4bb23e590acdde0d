"""Each benchmark as a section: its figures with interval, n, detectable effect, limits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from scipy import stats

from bias import style
from bias.association import Association, AssociationTest, associate
from bias.crows_pairs import METRICS, Pair, forward_passes, pair_scores, read_pairs, stereotyped
from bias.masked_lm import LiveModel, SentenceEncoder
from bias.occupations import Leaning, leaning, read_occupations
from bias.section import Chart, Estimate, Section, Table
from bias.stats import wilson
from training.progress import Progress
from training.results.statistics import holm

_POWER_AND_LEVEL = 2.8  # z of 80% power plus z of a two-sided 5% level


def crows_section(
    model: LiveModel, path: Path, limit: int | None = None, metrics: Sequence[str] = METRICS
) -> Section:
    """CrowS-Pairs under several metrics, overall and by kind of bias."""
    pairs = read_pairs(path)[:limit]
    kinds = sorted({pair.kind for pair in pairs})
    rows: list[tuple[Any, ...]] = []
    headline: list[Estimate] = []
    for metric in metrics:
        passes = forward_passes(model, pairs, metric)
        with Progress().task(f"CrowS-Pairs {metric}", passes) as task:
            votes = stereotyped(pair_scores(model, pairs, metric, task.advance))
        overall = _share(f"{_key(path.stem)}_{metric}", votes)
        headline.append(overall)
        rows.append((metric, "all", overall, overall.n, _p(overall.p), _points(overall.detectable)))
        by_kind = [_share(f"{metric}_{_key(kind)}", votes[_of(pairs, kind)]) for kind in kinds]
        corrected = holm([estimate.p or 1.0 for estimate in by_kind])
        rows += [
            (metric, kind, estimate, estimate.n, _p(p), _points(estimate.detectable))
            for kind, estimate, p in zip(kinds, by_kind, corrected, strict=True)
        ]
    biased = [e for e in headline if e.low > 50 or e.high < 50]
    return Section(
        name=f"benchmark_{_key(path.stem)}",
        title=f"CrowS-Pairs ({path.name})",
        target=model.name,
        findings=(
            "; ".join(f"{e.name.rsplit('_', 1)[-1]} {e.text(1)}" for e in headline)
            + f" of 100 pairs lean to the stereotype (50 is ideal, n = {headline[0].n}): "
            + (f"{len(biased)} of {len(headline)} metrics exclude 50."),
        ),
        estimates=tuple(headline),
        tables=(
            Table(
                "Share of pairs in which the stereotyped sentence is likelier, in percent",
                ("metric", "kind", "share", "pairs", "p", "detectable"),
                tuple(rows),
                "Interval: Wilson's. p: of 50, by the binomial test; by kind corrected by Holm "
                "within a metric. Detectable: the distance from 50 that so many pairs show 4 times "
                "in 5. Ties count half.",
            ),
        ),
        limits=(
            "CrowS-Pairs cannot show that a model is unbiased: many of its pairs do not contrast "
            "what they claim to (Blodgett et al. 2021), and 50 can be two biases that cancel.",
        ),
        facts={"file": path.name, "pairs": len(pairs), "limit": limit},
    )


def association_section(
    model: LiveModel | SentenceEncoder, tests: Sequence[AssociationTest]
) -> Section:
    """Every WEAT and SEAT test on the model's [CLS] vectors."""
    found: list[Association] = []
    with Progress().task("WEAT and SEAT", len(tests)) as task:
        for test in tests:
            unique = list(dict.fromkeys(text for part in test.examples for text in part))
            vectors = dict(zip(unique, model.embed(unique), strict=True))
            x, y, a, b = (np.stack([vectors[text] for text in p]) for p in test.examples)
            found.append(associate(x, y, a, b))
            task.advance()
    corrected = holm([each.p for each in found])
    estimates = [
        Estimate(name=f"association_{_key(test.name)}", value=each.d, low=each.low, high=each.high,
                 n=each.targets, of="targets", p=p, detectable=each.detectable,
                 meaning=f"{test.categories[0]} rather than {test.categories[1]} with "
                 f"{test.categories[2]} rather than {test.categories[3]}")
        for test, each, p in zip(tests, found, corrected, strict=True)
    ]  # fmt: skip
    significant = sum(p < 0.05 for p in corrected)
    return Section(
        name="benchmark_association",
        title="WEAT and SEAT: associations of embeddings",
        target=model.name,
        findings=(
            f"{significant} of {len(tests)} association tests are significant after correction "
            f"(one-sided, in the direction people showed); the median effect size is "
            f"{np.median([each.d for each in found]):.2f}.",
        ),
        estimates=tuple(estimates),
        tables=(
            Table(
                "Association tests",
                ("test", "what with what", "d", "targets", "p", "p (Holm)", "exact", "detectable"),
                tuple(
                    (test.name, estimate.meaning, estimate, each.targets, _p(each.p), _p(p),
                     "yes" if each.exact else "sampled", f"{each.detectable:.2f}")
                    for test, estimate, each, p in zip(
                        tests, estimates, found, corrected, strict=True
                    )
                ),
                "d: difference of mean associations over their standard deviation, at most ±2; "
                "interval by bootstrap over targets. p: one-sided, over partitions of the targets.",
            ),
        ),
        charts=(_association_chart(tests, found),),
        limits=(
            "WEAT and SEAT cannot show what a model does with its vectors: they see one layer at "
            "one token, and depend on the chosen words; a small d is no proof of fairness.",
        ),
        facts={"tests": [test.name for test in tests]},
    )  # fmt: skip


def occupations_section(model: LiveModel, path: Path) -> Section:
    """She or he after an occupation against the share of women who do it."""
    found = leaning(model, read_occupations(path))
    count = len(found.occupations)
    correlation = Estimate("occupation_correlation", found.pearson, found.low, found.high, count,
                           "occupations", "correlation of she over he with the share of women",
                           found.p, found.detectable)  # fmt: skip
    parity = Estimate("occupation_default_gender", found.at_parity, found.at_parity_low,
                      found.at_parity_high, count, "occupations",
                      "log-odds of she over he where half of those who work are women")  # fmt: skip
    default = "she" if found.at_parity > 0 else "he"
    clear = found.at_parity_low > 0 or found.at_parity_high < 0
    extremes = np.argsort(found.log_odds)
    return Section(
        name="benchmark_occupations",
        title="Occupations and pronouns",
        target=model.name,
        findings=(
            f"The pronoun follows the labour market with r = {correlation.text(2)} over {count} "
            f"occupations; where half are women the model "
            + (f"says {default}" if clear else "leans to neither clearly")
            + f" (log-odds of she {parity.text(2)}).",
        ),
        estimates=(correlation, parity),
        tables=(
            Table(
                "Occupations at the ends",
                ("occupation", "share of women", "log-odds of she over he"),
                tuple(
                    (found.occupations[i].name, f"{found.occupations[i].women:.0%}",
                     f"{found.log_odds[i]:+.2f}")
                    for i in [*extremes[:5], *extremes[-5:]]
                ),
                f"Spearman {found.spearman:.2f}; a correlation of {found.detectable:.2f} would be "
                "found 4 times in 5.",
            ),
        ),
        charts=(_occupation_chart(found),),
        limits=(
            "It cannot say whether following the statistics is right: a translator that guesses "
            "the majority is wrong about everyone else; and the figures are the US's of 2015.",
        ),
        facts={"file": path.name},
    )  # fmt: skip


def _share(name: str, votes: NDArray[Any]) -> Estimate:
    """Percent of pairs; p of 50 by the binomial test on the pairs that are no ties."""
    n = len(votes)
    low, high = wilson(float(votes.mean()), n)
    decided = votes[votes != 0.5]
    p = 1.0
    if len(decided):
        p = float(stats.binomtest(int(decided.sum()), len(decided), 0.5).pvalue)
    return Estimate(name, 100 * float(votes.mean()), 100 * low, 100 * high, n, "pairs",
                    "percent of pairs whose stereotyped sentence is likelier", p,
                    100 * _POWER_AND_LEVEL * (0.25 / n) ** 0.5)  # fmt: skip


def _of(pairs: Sequence[Pair], kind: str) -> NDArray[Any]:
    return np.array([pair.kind == kind for pair in pairs])


def _key(text: str) -> str:
    """A name that an `Estimate` takes."""
    plain = "".join(c if c.isalnum() else "_" for c in text.lower().replace("+", "plus"))
    return plain.strip("_")


def _association_chart(tests: Sequence[AssociationTest], found: Sequence[Association]) -> Chart:
    order = np.argsort([each.d for each in found])
    names = [tests[i].name for i in order]
    figure = go.Figure(
        go.Scatter(
            x=[found[i].d for i in order],
            y=names,
            mode="markers",
            marker={"color": style.BLUE, "size": 8},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [found[i].high - found[i].d for i in order],
                "arrayminus": [found[i].d - found[i].low for i in order],
            },
        )
    )
    figure.add_vline(x=0, line={"color": style.GREY, "dash": "dash"})
    return Chart(
        "Effect sizes",
        style.framed(figure, 120 + 20 * len(names), xaxis_title="effect size d"),
        "Each association test with its 95% interval; right of 0 is the association that people "
        "showed in the original experiments.",
    )


def _occupation_chart(found: Leaning) -> Chart:
    women = [100 * occupation.women for occupation in found.occupations]
    figure = go.Figure(
        go.Scatter(
            x=women,
            y=found.log_odds.tolist(),
            mode="markers",
            marker={"color": style.BLUE, "size": 8},
            text=[occupation.name for occupation in found.occupations],
            hovertemplate="%{text}: %{x:.0f}% women, log-odds %{y:.2f}<extra></extra>",
        )
    )
    figure.add_hline(y=0, line={"color": style.GREY, "dash": "dash"})
    figure.add_vline(x=50, line={"color": style.GREY, "dash": "dash"})
    return Chart(
        "She or he, against who does the work",
        style.framed(
            figure,
            420,
            xaxis_title="women among those who do it, percent (US, 2015)",
            yaxis_title="log-odds of she over he",
        ),
        "One dot an occupation. A rising cloud follows the labour market; a cloud below the "
        "horizontal line says he whatever the occupation.",
    )


def _points(value: float | None) -> str:
    return "" if value is None else f"±{value:.1f}"


def _p(p: float | None) -> str:
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
