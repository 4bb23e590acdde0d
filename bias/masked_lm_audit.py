"""The audit of masked language models as sections of the report.

    sections = analyse_masked_lm("google-bert/bert-base-uncased", on_line=print)

Several targets, the plain one first, also give their comparison and share one scatter.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bias.benchmarks import benchmark_sections, check_data
from bias.completions import Classifier
from bias.fill_mask import audit
from bias.fill_mask_section import comparison_section, fill_mask_section
from bias.masked_lm import LiveModel, open_models
from bias.prompts import load_sets
from bias.report import Audit, write
from bias.scatter import scatter_page
from bias.section import Page, Section
from models.command import command
from training.progress import Progress

SCATTER = "scatter.html"


def analyse_masked_lm(
    target: str | Sequence[str],
    *,
    prompts: Sequence[str] | None = None,
    vocabulary: Path | None = None,
    classifier: Classifier | None = None,
    benchmark_data: Path | None = None,
    device: str = "cpu",
    on_line: Callable[[str], None] | None = None,
) -> list[Section]:
    """Fill-mask on all prompt sets, the scatter, and the benchmarks whose data are there.

    Args:
        target: folders, hub names or parquet files of stored logits.
        prompts: names or files of prompt sets; None takes ours.
        vocabulary: tokenizer's folder of stored logits.
        classifier: rates the completions too, where given.
        benchmark_data: folder with the benchmarks' files (`python -m bias.benchmarks --help`);
            None leaves the benchmarks out.
        on_line: is told what is left out, and why.

    Raises:
        ValueError: a target, prompt set or file that does not fit; one line.
    """
    say = on_line or (lambda line: None)
    if benchmark_data is not None:
        check_data(benchmark_data)
    targets = [target] if isinstance(target, str) else list(target)
    models = [model for each in targets for model in open_models(each, vocabulary, device)]
    sets = load_sets(None if prompts is None else list(prompts))
    with Progress().task("fill-mask", len(models) * len(sets)) as task:
        found = audit(models, sets, classifier, task.advance)
    page = Page(SCATTER, "The scatter: every token in two sentences", scatter_page(models, sets))
    sections: list[Section] = []
    for name, results in found:
        if not results:
            say(f"{name}: knows no pair of prompts of these sets; left out")
            continue
        sections.append(fill_mask_section(name, results, () if sections else (page,)))
    compared = [entry for entry in found if entry[1]]
    if len(compared) > 1 and (section := comparison_section(compared)).tables[0].rows:
        sections.append(section)
    for model in models:
        if benchmark_data is None or not isinstance(model, LiveModel):
            continue
        sections += benchmark_sections(model, benchmark_data, on_line=say)
    return sections


def is_masked_lm(target: str) -> bool:
    """Whether a target is one for this audit: stored logits, or a folder whose configuration names
    a masked language model. A name that is no folder is taken for one on the hub.
    """
    path = Path(target)
    if target.endswith(".parquet"):
        return True
    if path.is_dir():
        config = path / "config.json"
        return config.is_file() and "schema_version" not in config.read_text(encoding="utf-8")
    return not path.exists() and "://" not in target


@command
def main(arguments: list[str] | None = None) -> int:
    """`python -m bias.fill_mask`: a user's mistake is one line and exit status 2."""
    given = _parser().parse_args(arguments)
    classifier = None
    if given.classifier:
        from serve.predictor import open_predictor

        classifier = open_predictor(given.classifier)
    sections = analyse_masked_lm(
        given.models,
        prompts=given.prompts,
        vocabulary=given.vocabulary,
        classifier=classifier,
        benchmark_data=given.benchmarks,
        on_line=lambda line: print(line, file=sys.stderr),
    )
    targets = [{"name": name, "kind": "language model", "given": name,
                "description": "masked language model"} for name in given.models]  # fmt: skip
    settings = {"prompts": given.prompts, "classifier": given.classifier}
    page = write(Audit(targets, settings, sections), given.output)
    for section in sections:
        for finding in section.findings:
            print(f"{section.target or section.title}: {finding}")
    print(f"{page}: open it in a browser; the scatter is {SCATTER} beside it")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bias.fill_mask",
        description="What masked language models put into the blank for one group and not for "
        "another; several models, the plain one first, are also compared.",
    )
    parser.add_argument("models", nargs="+", metavar="MODEL",
                        help="folder, hub name, or parquet file of stored logits")  # fmt: skip
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--prompts", nargs="+", metavar="SET",
                        help="names, .yaml files or folders (default: all of ours)")  # fmt: skip
    parser.add_argument("--vocabulary", type=Path, metavar="FOLDER",
                        help="tokenizer of stored logits (default: beside the file)")  # fmt: skip
    parser.add_argument("--classifier", metavar="TARGET",
                        help="a bundle or an endpoint that rates the completions")  # fmt: skip
    parser.add_argument("--benchmarks", type=Path, metavar="DIR",
                        help="also run the benchmarks whose files lie in DIR")  # fmt: skip
    return parser
