"""A target's answers to many texts: each text asked once, by length, and kept as they come.

Answers lie in `DIR/answers/KEY/`, a file a part, written whole or not at all. They are found again
by the hash of the text; the texts themselves are not stored. An audit that was cut off, by Ctrl-C
or an endpoint that went away, therefore asks only for the rest. Before it does, and even where no
text is left to ask, it asks some texts again: where the answers have changed, another model is
behind the name, and the audit stops.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serve.predictor import Predictor

PART = 1024  # texts asked and then stored at a time
CHECKED = 64
"""Texts asked again, one from each stretch of the stored ones: one request to an endpoint."""
TOLERANCE = 1e-4
"""Between two answers to one text by one model: rounding differs with what shares its batch."""
MOST_TOLERATED = 0.05
"""Where answers depend on the batch; further apart is another model, or two by turns."""

_DIGEST = 16  # bytes: 10^9 texts would share one by chance with a probability below 10^-20


class Answers:
    """Probabilities of the positive label by text."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[bytes, float] = {}
        for path in sorted(folder.glob("*.npz")):
            with np.load(path, allow_pickle=False) as part:
                self._known |= dict(
                    zip((row.tobytes() for row in part["texts"]), part["positive"].tolist(),
                        strict=True)
                )  # fmt: skip

    def missing(self, texts: Iterable[str]) -> list[str]:
        """Those without an answer, each once."""
        return [text for text in dict.fromkeys(texts) if _digest(text) not in self._known]

    def ask(
        self,
        predictor: Predictor,
        texts: Iterable[str],
        advance: Callable[[int], None] = lambda count: None,
    ) -> int:
        """Get what is missing, longest texts first; how many were asked for, those of the check
        apart.

        Raises:
            ValueError: the target answers otherwise than when the stored answers were made.
        """
        wanted = list(dict.fromkeys(texts))
        asked = self.missing(wanted)
        column = positive_column(predictor)
        self._check_unchanged(predictor, wanted, column)
        # by length over all texts, so that a part pads little whatever the predictor does in it;
        # the longest first, so that the time left is never underestimated
        asked.sort(key=len, reverse=True)
        for start in range(0, len(asked), PART):
            part = asked[start : start + PART]
            self._store(part, predictor.predict(part)[:, column])
            advance(len(part))
        return len(asked)

    def of(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Probability of the positive label (N,) of texts that have all been asked."""
        return np.array([self._known[_digest(text)] for text in texts], np.float64)

    def _check_unchanged(self, predictor: Predictor, texts: list[str], column: int) -> None:
        stored = [text for text in texts if _digest(text) in self._known]
        if not stored:
            return
        again = _spread(stored, CHECKED)
        now = predictor.predict(again)[:, column]
        apart, allowed = float(np.abs(now - self.of(again)).max()), TOLERANCE
        if apart > allowed:
            # int8 scales its activations by the batch: how much that moves answers, it shows itself
            alone = np.concatenate([predictor.predict([text])[:, column] for text in again])
            own = float(np.abs(now - alone).max())
            allowed = min(max(TOLERANCE, 2 * own), MOST_TOLERATED)
        if apart > allowed:
            raise ValueError(
                f"{self.folder}: the target's answers now differ by {apart:.2g} from those stored "
                f"here (allowed {allowed:.2g}): another model answers under its name; give another "
                "--output, or delete that folder"
            )

    def _store(self, texts: list[str], positive: NDArray[np.float64]) -> None:
        digests = [_digest(text) for text in texts]
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{digests[0].hex()}.npz"
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            rows = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, _DIGEST)
            np.savez(file, texts=rows, positive=positive)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        self._known |= dict(zip(digests, positive.tolist(), strict=True))


def positive_column(predictor: Predictor) -> int:
    """The column of `positive`, else the last of two.

    Raises:
        ValueError: the model has another number of labels than two.
    """
    labels = [label.lower() for label in predictor.labels]
    if len(labels) != 2:
        raise ValueError(f"target: has labels {labels}; the audit is of two, negative and positive")
    return labels.index("positive") if "positive" in labels else 1


def _spread(texts: list[str], most: int) -> list[str]:
    """One text drawn from each of `most` stretches of like length; all where there are no more."""
    if len(texts) <= most:
        return texts
    edges = np.linspace(0, len(texts), most + 1).astype(int)
    places = np.random.default_rng(0).integers(edges[:-1], edges[1:])
    return [texts[place] for place in places]


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST).digest()
