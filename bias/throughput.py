"""What the audit adds to the backend's own time: `python -m bias.throughput BUNDLE[@BACKEND]`.

Both are given the same texts, those of 10,000 counterfactual pairs. The bare backend gets token ids
made beforehand, in batches of like length; the audit gets texts, and tokenises, asks, stores and
looks up. The two run in turn, and the medians are compared. Give it a quiet machine.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bias import identities, probes
from bias.answers import Answers
from bias.counterfactual import score
from bias.pairs import Pair, texts_of
from bias.targets import BUNDLE, parse
from serve.classifier import TextClassifier

PAIRS = 10_000


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; a user's mistake gives one line and exit status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m bias.throughput", description="The audit's speed beside its backend's."
    )
    parser.add_argument("bundle", metavar="BUNDLE", help="a bundle's folder, @BACKEND after it")
    parser.add_argument("--reviews", default="embedded:20000", metavar="SOURCE")
    parser.add_argument("--rounds", type=int, default=5, help="of each (default: %(default)s)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="JSON of what was measured")
    given = parser.parse_args(arguments)
    try:
        result = measure(given.bundle, given.reviews, given.rounds)
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if given.output is not None:
        given.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(
        f"{result['pairs']:,} pairs, {result['texts']:,} different texts: bare backend "
        f"{result['bare_seconds']:.2f} s, audit {result['audit_seconds']:.2f} s, "
        f"{result['share_of_bare']:.0%} of the bare throughput"
    )
    return 0


def measure(bundle: str, reviews: str, rounds: int) -> dict[str, float | int | str | list[float]]:
    """Seconds of both, and the audit's throughput as a share of the bare backend's.

    Raises:
        ValueError, FileNotFoundError: the bundle or the reviews do not fit.
    """
    (target,) = parse([bundle], lambda line: print(line, file=sys.stderr))
    if target.kind != BUNDLE:
        raise ValueError(f"BUNDLE {bundle}: give a bundle's folder; a {target.kind} has no backend")
    predictor = target.open(threads=None, token_file=None)
    assert isinstance(predictor, TextClassifier)
    made = probes.make(identities.load(), reviews, "title+content", 1000, 0)
    # reviews first: templates alone would be shorter than what an audit asks
    pairs = sorted(made.pairs, key=lambda pair: pair.source)[:PAIRS]
    texts = list(dict.fromkeys(texts_of(pairs)))
    rows = [predictor.token_ids(text)[0] for text in texts]
    bare: list[float] = []
    audit: list[float] = []
    predictor.probabilities_of(rows[:64])  # the first call allocates
    for _ in range(rounds):
        bare.append(_seconds(lambda: predictor.probabilities_of(rows)))
        audit.append(_seconds(lambda: _audit(predictor, pairs)))
    before, after = statistics.median(bare), statistics.median(audit)
    return {
        "target": target.name, "reviews": reviews, "pairs": len(pairs), "texts": len(texts),
        "tokens": sum(map(len, rows)), "bare_seconds": before, "audit_seconds": after,
        "share_of_bare": before / after, "bare_rounds": bare, "audit_rounds": audit,
    }  # fmt: skip


def _audit(predictor: TextClassifier, pairs: list[Pair]) -> None:
    """From pairs to scored pairs, with the answers stored on disk."""
    with tempfile.TemporaryDirectory() as folder:
        answers = Answers(Path(folder))
        answers.ask(predictor, texts_of(pairs))
        score(pairs, answers.of)


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


if __name__ == "__main__":
    raise SystemExit(main())
