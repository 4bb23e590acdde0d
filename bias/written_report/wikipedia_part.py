"""The facts about English Wikipedia: those of `wikipedia_bias.md`, with their sources."""

import re

from bias.written_report.inputs import Inputs

PAGE = "wikipedia_bias.md"
TWO_MODELS = "Two models of the same data, different biases"


def wikipedia_part(inputs: Inputs) -> list[str]:
    """All sections of the page but the one on models, a level deeper, the sources last."""
    page = inputs.text(PAGE)
    heading = "## The data: English Wikipedia"
    if page is None:
        return [heading, f"*Not answered: {PAGE} is not there.*"]
    return [heading, *(_deeper(title, body) for title, body in sections(page).items()
                       if title != TWO_MODELS)]  # fmt: skip


def two_models_part(inputs: Inputs) -> list[str]:
    """Why two models of the same data differ in their biases."""
    found = sections(inputs.text(PAGE) or "")
    body = found.get(TWO_MODELS, f"*Not answered: {PAGE} has no such section.*")
    return [_deeper(TWO_MODELS, body), "Numbers in brackets are [sources](#sources)."]


def sections(page: str) -> dict[str, str]:
    """Heading of the second level -> what stands under it; what stands before the first is `""`."""
    first, *rest = re.split(r"^## (.+)$", page, flags=re.MULTILINE)
    head = re.sub(r"\A# .+\n", "", first).strip()
    bodies = (body.strip() for body in rest[1::2])
    return {"": head} | dict(zip(rest[::2], bodies, strict=True))


def _deeper(title: str, body: str) -> str:
    body = re.sub(r"^(#+ )", r"#\1", body, flags=re.MULTILINE)
    return f"### {title}\n\n{body}" if title else body
