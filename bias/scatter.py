"""The scatter to explore: two sentences, a dot a token, one self-contained HTML file.

    python -m bias.scatter MODEL... --output scatter.html [--prompts SET...]

Drawn as "What's in a Name?" draws it (https://pair.withgoogle.com/explorables/fill-in-the-blank/):
raw logits on one linear scale with the diagonal, or their mean and difference; two models side by
side with the same token marked in both, or one's differences against the other's. The page needs no
network: plotly.js, the data and the script are inside.
"""

import argparse
import base64
import html
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray
from plotly.offline import get_plotlyjs
from scipy.special import logsumexp

from bias.prompts import PromptSet, load_sets
from bias.stored_logits import MaskedLanguageModel
from models.command import command
from models.files import write_whole

PROMPTS_A_SET = 8
_PAGE = resources.files("bias") / "scatter_page"
_STEPS = 32_000  # of a 16-bit integer: logits of ±20 keep three digits


def scatter_page(
    models: Sequence[MaskedLanguageModel],
    sets: Sequence[PromptSet],
    *,
    title: str = "What fills the blank",
    prompts_a_set: int = PROMPTS_A_SET,
) -> str:
    """The page for these models and sets, or what of the sets the models know.

    `prompts_a_set` bounds the file: each sentence takes 80 kB a model, for BERT's vocabulary.

    Raises:
        ValueError: no model, or none of them knows two prompts of any set.
    """
    if not models:
        raise ValueError("no model to draw; give a folder, a hub name or a file of stored logits")
    drawn = [entry for each in sets if (entry := _set(each, models, prompts_a_set)) is not None]
    if not drawn:
        raise ValueError(
            "none of the prompt sets has two sentences that a model knows; stored logits know "
            "only the sentences that were stored"
        )
    sentences = list(dict.fromkeys(s for entry in drawn for s in entry["sentences"]))
    vocabularies: list[list[str]] = []
    data = {
        "models": [_model(model, sentences, vocabularies) for model in models],
        "sets": drawn,
        "vocabularies": vocabularies,
    }
    part = {name: (_PAGE / name).read_text(encoding="utf-8")
            for name in ("page.html", "style.css", "script.js")}  # fmt: skip
    return Template(part["page.html"]).substitute(
        title=html.escape(title),
        style=part["style.css"],
        plotly=get_plotlyjs(),
        # `</` would end the script element, wherever it stands
        data=json.dumps(data, ensure_ascii=False).replace("</", "<\\/"),
        script=part["script.js"],
    )


def _set(
    prompts: PromptSet, models: Sequence[MaskedLanguageModel], most: int
) -> dict[str, Any] | None:
    """Sentences that some model knows, those of both groups by turns, templates mixed."""
    sides = []
    for group in prompts.groups:
        by_person = [row[i] for i in range(len(group.prompts[0])) for row in group.prompts]
        known = [s for s in by_person if any(model.knows(s) for model in models)]
        # the first person in every template, then the others in the first template
        first = [row[0] for row in group.prompts if row[0] in known]
        rest = [s for s in group.prompts[0] if s in known]
        sides.append(list(dict.fromkeys(first[: most // 4 or 1] + rest + known))[: most // 2 or 1])
    if not all(sides):
        return None
    sentences = list(dict.fromkeys(sides[0] + sides[1]))
    return {
        "name": prompts.name,
        "title": prompts.title,
        "axis": prompts.axis,
        "switched": prompts.switched,
        "question": prompts.question,
        "unbiased": prompts.unbiased,
        "sentences": sentences,
        "first": [sentences.index(sides[0][0]), sentences.index(sides[1][0])],
    }


def _model(
    model: MaskedLanguageModel, sentences: Sequence[str], vocabularies: list[list[str]]
) -> dict[str, Any]:
    """Its logits of all tokens that can be read, and which of the vocabularies they belong to."""
    readable = np.array([not _special(token) for token in model.vocabulary])
    tokens = [t for t, keep in zip(model.vocabulary, readable, strict=True) if keep]
    if tokens not in vocabularies:
        vocabularies.append(tokens)
    known = [sentence for sentence in sentences if model.knows(sentence)]
    logits = model.logits_at_mask(known).astype(np.float64)
    return {
        "name": model.name,
        "vocabulary": vocabularies.index(tokens),
        "sentences": {
            sentence: _packed(row[readable], float(logsumexp(row)))
            for sentence, row in zip(known, logits, strict=True)
        },
    }


def _special(token: str) -> bool:
    return token.startswith("[") and token.endswith("]") and len(token) > 2


def _packed(logits: NDArray[np.float64], normaliser: float) -> dict[str, Any]:
    scale = float(np.abs(logits).max()) / _STEPS or 1.0
    steps = np.round(logits / scale).astype("<i2")
    return {
        "values": base64.b64encode(steps.tobytes()).decode("ascii"),
        "scale": scale,
        "normaliser": normaliser,
    }


@command
def main(arguments: list[str] | None = None) -> int:
    """Write the page; a user's mistake is one line and exit status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m bias.scatter",
        description="Tokens in the blank of two sentences, as one HTML file to explore.",
    )
    parser.add_argument("models", nargs="+", metavar="MODEL",
                        help="folder, hub name, or parquet file of stored logits")  # fmt: skip
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="an .html file")
    parser.add_argument("--prompts", nargs="+", metavar="SET",
                        help="names, .yaml files or folders (default: all of ours)")  # fmt: skip
    parser.add_argument("--vocabulary", type=Path, metavar="FOLDER",
                        help="tokenizer of stored logits (default: beside the file)")  # fmt: skip
    parser.add_argument("--prompts-a-set", type=int, default=PROMPTS_A_SET, metavar="N",
                        help="sentences a set has in the page (default %(default)s)")  # fmt: skip
    given = parser.parse_args(arguments)
    if given.prompts_a_set < 2:
        parser.error(f"--prompts-a-set {given.prompts_a_set}: a scatter takes 2 sentences at least")
    from bias.masked_lm import open_models  # transformers takes seconds to import

    models = [m for target in given.models for m in open_models(target, given.vocabulary)]
    page = scatter_page(models, load_sets(given.prompts), prompts_a_set=given.prompts_a_set)
    write_whole(given.output, page)
    print(f"{given.output}: open it in a browser ({len(page) / 1e6:.0f} MB, no network needed)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
