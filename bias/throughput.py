"""What the audit adds to the backend's own time: `python -m bias.throughput BUNDLE[@BACKEND]`.

All are given the same texts, those of 10,000 counterfactual pairs. The bare backend gets token ids
made beforehand, in batches of like length; the predictor gets texts and tokenises them; the audit
gets pairs, and tokenises, asks, stores and looks up. They run in turn, and the medians of their
processor seconds are compared, which other work on the machine disturbs less than the clock; those
of the clock are given too.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from bias import identities, probes
from bias.answers import Answers
from bias.counterfactual import score
from bias.pairs import Pair, texts_of
from bias.shared_words import sharing_words
from bias.targets import BUNDLE, parse
from models.command import command
from models.files import write_whole
from serve.classifier import TextClassifier
from serve.predictor import Predictor, open_predictor
from training.measure import device_name

PAIRS = 10_000


class Spent(NamedTuple):
    """Seconds of the clock and of all processors."""

    clock: float
    processor: float


@command
def main(arguments: list[str] | None = None) -> int:
    """Measure and print; a user's mistake gives one line and exit status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m bias.throughput", description="The audit's speed beside its backend's."
    )
    parser.add_argument("bundle", metavar="BUNDLE", help="a bundle's folder, @BACKEND after it")
    parser.add_argument("--reviews", default="embedded:20000", metavar="SOURCE")
    parser.add_argument("--rounds", type=int, default=5, help="of each (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of the engine (default: 1)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="JSON of what was measured")
    given = parser.parse_args(arguments)
    result = measure(given.bundle, given.reviews, given.rounds, given.threads)
    if given.output is not None:
        write_whole(given.output, json.dumps(result, indent=1) + "\n")
    print(
        f"{result['pairs']:,} pairs, {result['texts']:,} different texts: bare backend "
        f"{result['bare']['processor']:.2f} s of processor, audit "
        f"{result['audit']['processor']:.2f} s: {result['share_of_bare']:.0%} of the bare "
        f"throughput, {result['share_of_predictor']:.0%} of the predictor's, which tokenises too"
    )
    return 0


def measure(bundle: str, reviews: str, rounds: int, threads: int) -> dict[str, Any]:
    """Seconds of both, and the audit's throughput as a share of the bare backend's.

    Raises:
        ValueError, FileNotFoundError: the bundle or the reviews do not fit.
    """
    (target,) = parse([bundle], lambda line: print(line, file=sys.stderr))
    if target.kind != BUNDLE:
        raise ValueError(f"BUNDLE {bundle}: give a bundle's folder; a {target.kind} has no backend")
    predictor = open_predictor(target.folder, backend=target.backend, threads=threads)
    assert isinstance(predictor, TextClassifier)
    made = probes.make(identities.load(), reviews, "title+content", 1000, 0)
    # reviews first: templates alone would be shorter than what an audit asks
    pairs = sorted(made.pairs, key=lambda pair: pair.source)[:PAIRS]
    texts = list(dict.fromkeys(texts_of(pairs)))
    rows = [predictor.token_ids(text)[0] for text in texts]
    bare: list[Spent] = []
    texts_in: list[Spent] = []
    audit: list[Spent] = []
    predictor.probabilities_of(rows[:64])  # the first call allocates
    for _ in range(rounds):
        bare.append(_spent(lambda: predictor.probabilities_of(rows)))
        texts_in.append(_spent(lambda: predictor.predict(texts)))
        audited = sharing_words(predictor, target.folder)  # anew: no words known from before
        audit.append(_spent(partial(_audit, audited, pairs)))
    before, middle, after = _median(bare), _median(texts_in), _median(audit)
    return {
        "target": target.name, "processor": device_name(torch.device("cpu")), "threads": threads,
        "reviews": reviews, "pairs": len(pairs), "texts": len(texts),
        "tokens": sum(map(len, rows)), "bare": before._asdict(),
        "predictor": middle._asdict(), "audit": after._asdict(),
        "share_of_predictor": middle.processor / after.processor,
        "share_of_bare": before.processor / after.processor,
        "share_of_bare_by_clock": before.clock / after.clock,
        "rounds": {"bare": [each._asdict() for each in bare],
                   "predictor": [each._asdict() for each in texts_in],
                   "audit": [each._asdict() for each in audit]},
    }  # fmt: skip


def _audit(predictor: Predictor, pairs: list[Pair]) -> None:
    """From pairs to scored pairs, with the answers stored on disk."""
    with tempfile.TemporaryDirectory() as folder:
        answers = Answers(Path(folder))
        answers.ask(predictor, texts_of(pairs))
        score(pairs, answers.of)


def _spent(run: Callable[[], object]) -> Spent:
    clock, processor = time.perf_counter(), time.process_time()
    run()
    return Spent(time.perf_counter() - clock, time.process_time() - processor)


def _median(rounds: list[Spent]) -> Spent:
    return Spent(*(statistics.median(values) for values in zip(*rounds, strict=True)))


if __name__ == "__main__":
    raise SystemExit(main())
