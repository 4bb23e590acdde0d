"""Attention, learning curves and what the runs say: from `results.json` alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bias.written_report.inputs import RESULTS, Inputs, absent
from bias.written_report.run_summary import CAPTION, run_table
from training.results.concepts import ATTENTION
from training.results.wording import listed

BULLETS_SHOWN = 12
"""More of them are folded away."""


@dataclass(frozen=True)
class Asked:
    """A question, the findings that answer it, and what one would expect, which no run changes."""

    heading: str
    topic: str
    expectation: str


QUESTIONS = (
    Asked(
        "What attention changed (1 against 2)",
        "attention",
        "A recurrent encoder hands on what it still remembers at the end; attention lets the model "
        "weigh every step again. One would expect it to help where what decides lies far from the "
        "end, and less where the encoder alone already pools over all steps, as the recommended "
        "settings do. The decoder's second GRU is paid for in time either way.",
    ),
    Asked(
        "Depth (3 against 4)",
        "depth",
        "More layers can combine more words in more ways, and need more reviews to learn it from. "
        "A review's polarity is often said outright, so that one would expect depth to matter "
        "less here than in tasks where a sentence has to be worked out.",
    ),
    Asked(
        "Norm placement (3 against 5)",
        "norm",
        "Post-norm has large gradients near its output at the start and wants a warm-up, pre-norm "
        "does without (Xiong et al. 2020). Under a schedule that warms up, and with few layers, "
        "one would expect little between them in the end.",
    ),
    Asked(
        "BERT (6) against the rest: does it do what one would expect?",
        "pretraining",
        "A pretrained encoder has read far more text than these reviews. Fine-tuned, it should "
        "pass everything that starts from nothing, the more so where labelled reviews are few; "
        "frozen, it can only offer features that were made for another task.",
    ),
    Asked(
        "The GRU from its equations against torch's",
        "custom",
        "The equations are the same, so that only rounding and the course of one training can tell "
        "the two apart. A difference in accuracy would point to a mistake.",
    ),
    Asked(
        "Against what a user would take instead",
        "baselines",
        "On long texts whose words speak for themselves a bag of n-grams is hard to beat, and it "
        "trains in seconds. A model that does not pass it has to have another reason to be "
        "shipped.",
    ),
    Asked(
        "The reference's settings against the recommended ones",
        "settings",
        "The reference's learning rate and batch are meant for millions of reviews in one epoch. "
        "On tens of thousands the same settings take too few and too small steps.",
    ),
)
PAIRED = ("attention", "depth", "norm", "custom")
TRADE = (
    "Wall-clock time and generalisation ask for different models as soon as the faster one is the "
    "worse. What is worth its time is what no other run beats in both."
)
MEMORY = (
    "In training, memory holds the parameters, for each of them a gradient and the optimiser's two "
    "moments, and the activations that the backward pass needs, which grow with batch, length and "
    "layers, those of self-attention with the square of the length. Where the embedding table has "
    "most of the parameters, models of unlike design need much the same."
)
BEHAVIOUR = (
    "**Overfitting**: the validation loss rises while the train loss falls; the model learns its "
    "reviews by heart. **Underfitting**: even the training reviews are not learned. "
    "**Instability**: the loss leaps or is no number any more, or accuracy falls from one "
    "validation to the next. Each is judged by thresholds that `results.json` states "
    "(`method.thresholds`), and the advice of a practitioner stands behind each sign."
)


def short_answers(inputs: Inputs) -> list[str]:
    """What someone who signs off reads first: a line a question."""
    results = inputs.get(RESULTS)
    if results is None:
        return [absent(RESULTS)]
    lines = [("Generalisation", text) for text in _texts(results, "generalisation")]
    lines += [("Wall-clock time", text) for text in _texts(results, "speed")]
    lines += [(asked.heading, verdict(results, asked.topic)) for asked in QUESTIONS
              if asked.topic in PAIRED]  # fmt: skip
    # Of these two topics only the sentences that sum up the others.
    for name, topic, key in (("BERT", "pretraining", "worse"),
                             ("Baselines", "baselines", "shown_better")):  # fmt: skip
        lines += [(name, finding["text"]) for finding in results["findings"]
                  if finding["topic"] == topic and key in finding["evidence"]]  # fmt: skip
    lines += [("Memory", text) for text in _texts(results, "memory")]
    lines.append(("Over- and underfitting, instability", _counted(results)))
    return [f"**{name}.** {text}" for name, text in lines if text]


def results_part(inputs: Inputs) -> list[str]:
    """Paragraphs of Markdown."""
    parts = ["## What attention is", ATTENTION.rstrip()]
    results = inputs.get(RESULTS)
    if results is None:
        return [*parts, "## The learning curves", absent(RESULTS)]
    parts += ["## The learning curves", *_picture(inputs, results, "learning_curves.png")]
    parts += [f"> **Note.** {warning}" for warning in results["warnings"]]
    parts += ["## The runs", run_table(results), f"*{CAPTION} Every run by itself, with F1, loss "
              "and throughput: [results.md](results.md).*"]  # fmt: skip
    parts += ["## What the runs say"]
    for asked in QUESTIONS:
        parts += _answer(results, asked)
    parts += ["### Wall-clock time against generalisation", TRADE,
              *_bullets(_texts(results, "speed") + _texts(results, "generalisation")),
              *_picture(inputs, results, "accuracy_and_cost.png")]  # fmt: skip
    parts += ["### Memory", MEMORY, *_bullets(_texts(results, "memory"))]
    parts += ["### Over- and underfitting, instability, and what to do about each", BEHAVIOUR,
              _counted(results), *_bullets(_texts(results, "behaviour"))]  # fmt: skip
    return parts


def _answer(results: dict[str, Any], asked: Asked) -> list[str]:
    topic = asked.topic
    found = _texts(results, topic)
    parts = [f"### {asked.heading}", f"*Expected.* {asked.expectation}"]
    if found:
        answer = verdict(results, topic) if topic in PAIRED else ""
        return [*parts, *([f"**Answer.** {answer}"] if answer else []), *_bullets(found)]
    missing = [m for m in results["not_made"] if m["question"] == topic]
    commands = list(dict.fromkeys(c for m in missing for c in m["commands"]))
    why = "; ".join(dict.fromkeys(m["why"] for m in missing)) or "no runs that could answer it"
    parts.append(f"*Not answered: {why}.*")
    return [*parts, "```sh\n" + "\n".join(commands) + "\n```"] if commands else parts


SUBJECTS = {
    "attention": "Attention",
    "depth": "More depth",
    "norm": "Post-norm in the place of pre-norm",
    "custom": "The GRU from its equations",
}


def verdict(results: dict[str, Any], topic: str) -> str:
    """One sentence on a pair of models, from how often each was shown better; empty without any.

    A question may have several pairs, one a seed; they count alike.
    """
    made = [c for c in results["comparisons"] if c["question"] == topic]
    if not made:
        return ""
    counts = {kind: sum(c["verdict"] == kind for c in made) for kind in ("better", "worse")}
    tests = list(dict.fromkeys(c["test"] for c in made))
    subject = SUBJECTS[topic]
    if not counts["better"] and not counts["worse"]:
        said = f"{subject} made no difference that was shown"
    elif not counts["worse"]:
        said = f"{subject} did better"
    elif not counts["better"]:
        said = f"{subject} did worse"
    else:
        said = f"{subject} cut both ways"
    costs = [f["evidence"]["cost"] for f in results["findings"]
             if f["topic"] == topic and "cost" in f["evidence"]]  # fmt: skip
    time = ""
    if costs:
        ratio = sum(cost["time_ratio"] for cost in costs) / len(costs)
        processor = all(cost.get("clock") == "processor" for cost in costs)
        time = f", at {ratio:.2f} times the {'processor' if processor else 'training'} time"
    return (
        f"{said}: of {len(made)} comparisons, on {listed(tests)}, {counts['better']} show it "
        f"better and {counts['worse']} worse{time}."
    )


def _counted(results: dict[str, Any]) -> str:
    """How many of each sign, so that a long list has its sum before it."""
    signs = [f["evidence"] for f in results["findings"]
             if f["topic"] == "behaviour" and "kind" in f["evidence"]]  # fmt: skip
    counted = [
        f"{kind}: {sum(sign['kind'] == kind for sign in signs)}"
        for kind in ("overfitting", "underfitting", "instability")
    ]
    return f"Signs found in {results['counts']['runs']} runs: {', '.join(counted)}."


def _texts(results: dict[str, Any], topic: str) -> list[str]:
    return [finding["text"] for finding in results["findings"] if finding["topic"] == topic]


def _bullets(texts: Sequence[str]) -> list[str]:
    """A list; what is beyond a page of it is folded."""
    if not texts:
        return ["*Nothing found.*"]
    shown = "\n".join(f"- {text}" for text in texts[:BULLETS_SHOWN])
    rest = texts[BULLETS_SHOWN:]
    if not rest:
        return [shown]
    folded = "\n".join(f"- {text}" for text in rest)
    return [shown, f"<details>\n<summary>{len(rest)} more</summary>", folded, "</details>"]


def _picture(inputs: Inputs, results: dict[str, Any], name: str) -> list[str]:
    if not inputs.has(name):
        return [f"*The picture `{name}` is not there.*"]
    title = name.removesuffix(".png").replace("_", " ").capitalize()
    return [f"![{title}]({name})", f"*{results['captions'].get(name, title)}*"]
