"""Where a model may serve and where not: the dossier's judgements, and what they rest on."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from bias.dossier.decision import RULES
from bias.written_report.audit_tables import Json, bulleted, drawn
from bias.written_report.inputs import DOSSIER, Inputs, absent
from training.results.wording import duration, number, percent

PAGE = "dossier/dossier.md"
PICTURE = "dossier/pareto_front.png"
USES = {
    "alone": "A model may decide by itself where it shows every threshold.",
    "assist": "A model may order or mark for a person, who decides, whatever it shows.",
    "never": "No model, whatever it shows.",
}
ARGUED = (
    "Whether a biased model may be used is no question of its accuracy alone. It turns on what a "
    "wrong answer does to whom, whether somebody can see and mend it, and whether the difference "
    "between groups is itself what is asked. Each use below is argued first, and then held against "
    "what was measured: a threshold is passed where the whole interval is on the right side of it, "
    "and what was not shown does not count as passed."
)


class Shown(NamedTuple):
    """How a figure of the dossier is written, and whether more of it is better."""

    heading: str
    write: Callable[[float], str]
    high: bool = False

    def limit(self, value: float) -> str:
        """A threshold: a round number, in percent where the figure is."""
        text = f"{100 * value:g}%" if self.write is percent else f"{value:g}"
        return f"{'≥' if self.high else '≤'} {text}"


FIGURES = {
    "accuracy": Shown("accuracy in domain", percent, True),
    "out_of_domain_accuracy": Shown("accuracy out of domain", percent, True),
    "calibration_error": Shown("calibration error", percent),
    "p50_ms": Shown("latency, median (ms)", lambda value: f"{value:.2f}"),
    "p99_ms": Shown("latency, p99 (ms)", lambda value: f"{value:.2f}"),
    "reviews_per_second": Shown("reviews/s", number, True),
    "memory_mb": Shown("memory (MB)", number),
    "artefact_mb": Shown("size (MB)", lambda value: f"{value:.1f}"),
    "flip_rate": Shown("flip rate", percent),
    "group_gap": Shown("group gap", percent),
    "equalized_odds_difference": Shown("equalised odds difference", percent),
}

OUTDATED = (
    "The dossier was written by rules that have changed since: what it recommends may no longer be "
    "recommended. [dossier.md](dossier.md) says how the rules are now; write the dossier anew."
)


def short_answers(inputs: Inputs) -> list[str]:
    """What may be used where, a line a use."""
    dossier = inputs.get(DOSSIER)
    if dossier is None:
        return [f"**Where it may be used.** {absent(DOSSIER)}"]
    lines = [f"**{each['title']}.** {_decided(each)}" for each in dossier["contexts"]]
    return lines if _by_the_rules_of_now(dossier) else [f"**Uses.** {OUTDATED}", *lines]


def _by_the_rules_of_now(dossier: Json) -> bool:
    """Whether the dossier was written by the rules that would write it today."""
    return tuple(dossier["rules"]) == RULES


def production_part(inputs: Inputs) -> list[str]:
    """The uses, argued and held against the figures; then the figures side by side."""
    parts = ["## In production: where such a model may be used, and where not", ARGUED]
    dossier = inputs.get(DOSSIER)
    if dossier is None:
        return [*parts, absent(DOSSIER)]
    if not _by_the_rules_of_now(dossier):
        parts.append(f"**Note.** {OUTDATED}")
    for context in dossier["contexts"]:
        parts += _context(context)
    parts += ["### Accuracy, speed, memory, cost and bias side by side"]
    if inputs.has(PICTURE):
        parts.append(f"![Accuracy, latency and bias]({PICTURE})")
    parts += [_options(dossier), "Times, memory and size are those of one machine's CPU, without "
              "intervals; the figures of bias are defined in [bias.md](bias.md)."]  # fmt: skip
    if inputs.has(PAGE):
        parts.append(f"Everything behind it, with known failures and certificates: [the dossier]"
                     f"({PAGE}).")  # fmt: skip
    return parts


def _context(context: Json) -> list[str]:
    passing = sum(each["passes"] for each in context["judgements"])
    held = [_threshold(each) for each in context["thresholds"]]
    count = f"{passing} of {len(context['judgements'])} models on a backend pass all of these."
    return [f"### {context['title']}", f"**{USES.get(context['use'], context['use'])}** "
            f"{context['argument']}", bulleted(held), f"{count} {_decided(context)}"]  # fmt: skip


def _threshold(given: Json) -> str:
    shown = FIGURES.get(given["metric"])
    if shown is None:
        return f"{given['metric']} {given['limit']:g}: {given['why']}"
    return f"{shown.heading} {shown.limit(given['limit'])}: {given['why']}"


def _decided(context: Json) -> str:
    """The recommendation and its reason."""
    chosen = context["recommended"]
    return f"Recommended: `{chosen}`. {context['why']}" if chosen else str(context["why"])


def _chosen(dossier: Json) -> list[Json]:
    """What is recommended anywhere or beaten by nothing, and of each other candidate the first."""
    recommended = {context["recommended"] for context in dossier["contexts"]}
    chosen = [o for o in dossier["options"] if o["on_front"] or o["name"] in recommended]
    there = {option["candidate"] for option in chosen}
    first = {o["candidate"]: o for o in reversed(dossier["options"]) if o["candidate"] not in there}
    return [o for o in dossier["options"] if o in chosen or o is first.get(o["candidate"])]


def _options(dossier: Json) -> str:
    seconds = {each["name"]: each["training_seconds"] for each in dossier["candidates"]}
    names = [name for name in FIGURES if any(name in o["figures"] for o in dossier["options"])]
    rows = [
        [f"`{option['name']}`", *(_figure(option["figures"].get(name), name) for name in names),
         _cost(seconds.get(option["candidate"], ()))]
        for option in _chosen(dossier)
    ]  # fmt: skip
    heading = ["model on backend", *(FIGURES[name].heading for name in names), "training"]
    return drawn(heading, rows, first_right=1)


def _figure(figure: Any, name: str) -> str:
    if not figure or figure.get("value") is None:
        return "–"
    write = FIGURES[name].write
    text = write(figure["value"])
    if figure.get("low") is None or figure.get("high") is None:
        return text
    return f"{text} ({write(figure['low'])} to {write(figure['high'])})"


def _cost(seconds: Sequence[float]) -> str:
    """Of a seed's run, on the mean."""
    return duration(sum(seconds) / len(seconds)) if seconds else "–"
