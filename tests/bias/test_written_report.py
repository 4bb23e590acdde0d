"""The written answers: what is committed is what its inputs give, and nothing is typed by hand."""

import ast
import copy
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import t as student

from bias.dossier.decision import RULES
from bias.written_report.__main__ import NAME, main
from bias.written_report.document import document
from bias.written_report.inputs import COMMANDS, DOSSIER, RESULTS, Inputs, read_inputs
from bias.written_report.mitigation_part import mitigation_part
from bias.written_report.production_part import production_part, short_answers
from bias.written_report.results_part import verdict
from bias.written_report.run_summary import run_table
from bias.written_report.wikipedia_part import sections

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SWITCHED = "The nursing man and the woman at the lathe"
PACKAGE = ROOT / "bias" / "written_report"


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((DOCS / "results.json").read_text(encoding="utf-8"))
    return content


def own_docs(tmp_path: Path) -> Path:
    """A copy of the committed inputs that a test may change."""
    docs = tmp_path / "docs"
    shutil.copytree(DOCS, docs, ignore=shutil.ignore_patterns("*.png", "*.html"))
    return docs


def test_the_committed_report_is_what_the_committed_inputs_give() -> None:
    """Fails on a figure typed by hand and on a report that is older than its inputs."""
    assert main(["--docs", str(DOCS), "--check"]) == 0


def test_a_figure_typed_by_hand_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    docs = own_docs(tmp_path)
    assert main(["--docs", str(docs)]) == 0
    assert main(["--docs", str(docs), "--check"]) == 0
    text = (docs / NAME).read_text(encoding="utf-8")
    figure = re.search(r"\d\d\.\d\d%", text)
    assert figure
    (docs / NAME).write_text(text.replace(figure[0], "99.99%", 1), encoding="utf-8")
    assert main(["--docs", str(docs), "--check"]) == 1
    assert "python -m bias.written_report --docs" in capsys.readouterr().err


def test_the_prose_in_the_program_holds_no_figure() -> None:
    """Digits in its texts are years, experiment numbers, the level of the intervals, or code."""
    allowed = re.compile(
        r"\b(?:19|20)\d\d\b|95%|p\d\d\w*|Apache-2\.0|F1|\((?:\d against \d|6)\)"
        r"|1-gru|1 set|`[^`]*`|#+ "
    )
    for path in PACKAGE.glob("*.py"):
        if path.name in ("inputs.py", "__main__.py"):  # commands
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                left = allowed.sub("", node.value)
                # a format specification, such as .2f, or a pattern
                if not re.fullmatch(r"[,.]?\d?[fg%]|\\?.*\\.*", left, re.DOTALL):
                    assert not re.search(r"\d", left), (path.name, node.lineno, node.value)


def test_every_link_leads_to_a_file_or_a_heading() -> None:
    text = (DOCS / NAME).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert len(links) > 10
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
               for heading in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)}  # fmt: skip
    for link in links:
        if link.startswith("#"):
            assert link[1:] in anchors, link
        elif not link.startswith("http"):
            assert (DOCS / link.partition("#")[0]).is_file(), link


def test_what_is_missing_is_named_with_its_command(tmp_path: Path) -> None:
    assert main(["--docs", str(tmp_path)]) == 0
    text = (tmp_path / NAME).read_text(encoding="utf-8")
    for name, command in COMMANDS.items():
        assert f"`{name}` not there; made by* `{command}`" in text
        assert f"{name} (missing)" in text
    assert "## What attention is" in text and SWITCHED in text


@pytest.mark.parametrize("name", [RESULTS, DOSSIER, "audit/audit.json"])
@pytest.mark.parametrize("content", ["{", "[]", '{"schema_version": 99}'])
def test_a_damaged_input_is_one_line(
    name: str, content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(content)
    assert main(["--docs", str(tmp_path)]) == 2
    errors = capsys.readouterr().err
    assert name in errors and COMMANDS.get(name, "of that audit") in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / NAME).exists()


def test_a_folder_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--docs", "nowhere"]) == 2
    assert "--docs nowhere: no such folder" in capsys.readouterr().err


def test_three_seeds_are_one_row_with_students_interval(results: dict[str, Any]) -> None:
    results = copy.deepcopy(results)
    original = next(run for run in results["runs"] if run["experiment"] == "1-gru")
    values = [0.90, 0.91, 0.95]
    seeds = []
    for value in values:
        seeds.append(copy.deepcopy(original))
        seeds[-1]["result"]["tests"]["imdb"]["accuracy"]["value"] = value
        seeds[-1]["result"]["best"]["accuracy"] = 0.99
    results["runs"] = [*seeds, *(run for run in results["runs"] if run is not original)]
    (row,) = [line for line in run_table(results).splitlines() if "| `1-gru` |" in line]
    # SciPy's own interval of a mean, from the standard error
    low, high = student.interval(0.95, 2, np.mean(values), np.std(values, ddof=1) / np.sqrt(3))
    assert f"| 92.00% ({100 * low:.2f} to {100 * high:.2f}) |" in row
    assert "| 3 |" in row and "| **99.00% (" in row


def test_a_run_that_saw_a_tests_texts_without_labels_is_marked(results: dict[str, Any]) -> None:
    results = copy.deepcopy(results)
    next(run for run in results["runs"] if run["experiment"] == "1-gru")["seen_without_labels"] = [
        "imdb"]  # fmt: skip
    header, _, *rows = run_table(results).splitlines()
    assert "imdb (out of domain; ° seen without labels)" in header
    assert [row.split("`")[1] for row in rows if "°" in row] == ["1-gru"]


def test_the_table_is_sorted_and_has_every_finished_run_once(results: dict[str, Any]) -> None:
    rows = run_table(results).splitlines()[2:]
    numbers = [row.split("|")[1].strip() for row in rows]
    known = [int(number) for number in numbers if number != "–"]
    assert known == sorted(known) and numbers[: len(known)] == [str(n) for n in known]
    named = [row.split("`")[1] for row in rows]
    assert sorted(named) == sorted({r["experiment"] for r in results["runs"] if r["finished"]})
    assert sum("**" in row for row in rows) == 1


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        (["none", "hint", "none"], "Attention made no difference that was shown: of 3 comparisons"),
        (["better", "none", "hint"], "Attention did better: "),
        (["worse", "none", "worse"], "0 show it better and 2 worse, at 3.00 times"),
        (["worse", "better", "none"], "Attention cut both ways: "),
    ],
)
def test_a_pair_is_judged_by_what_was_shown(verdicts: list[str], said: str) -> None:
    compared = [{"question": "attention", "verdict": each, "test": f"set {i}"}
                for i, each in enumerate(verdicts)]  # fmt: skip
    cost = [{"topic": "attention", "evidence": {"cost": {"time_ratio": ratio}}}
            for ratio in (2.0, 4.0)]  # fmt: skip
    found = verdict({"comparisons": compared, "findings": cost}, "attention")
    assert said in found
    assert verdict({"comparisons": compared, "findings": cost}, "depth") == ""


def mitigated() -> dict[str, Any]:
    """An audit of two models: gender's contrast falls, that of names stays, one set is switched."""

    def value(middle: float) -> dict[str, Any]:
        return {"value": middle, "low": middle - 0.5, "high": middle + 0.5}

    rows = [
        ["gender", "What women and men work as", "cda", value(4), value(0.1), "98%", "yes"],
        ["gender", SWITCHED, "cda", value(1), value(-2), "", "yes"],
        ["names", "What Jane and Jim worked as", "cda", value(4), value(4.2), "-5%", "no"],
    ]  # fmt: skip
    columns = ["axis", "set", "model", "under plain", "under it", "smaller by", "apart"]
    table = {"title": "Contrast under each model", "columns": columns, "rows": rows}
    section = {"name": "fill_mask_models", "tables": [table], "limits": ["Two models differ."]}
    return {"schema_version": 1, "targets": [], "sections": [section]}


def test_what_mitigation_changed_is_summed_up_by_axis(tmp_path: Path) -> None:
    text = "\n".join(mitigation_part(Inputs(tmp_path, {"own/audit.json": mitigated()})))
    shown = "is shown smaller in {}, larger in {}; not shown to differ in {}; the plain "
    shown += "model shows none to begin with in {}."
    assert "Gender, under `cda`: of 1 set the contrast " + shown.format(1, 0, 0, 0) in text
    assert "Other axes, under `cda`: of 1 set the contrast " + shown.format(0, 0, 1, 0) in text
    assert "the plain model follows the stereotype against the sentence (1.000 [0.500" in text
    assert "`cda` follows the sentence (-2.000 [-2.500, -1.500])" in text
    assert "| names | What Jane and Jim worked as | `cda` | 4.000 [3.500, 4.500] | 4.200 [3" in text


def dossier() -> dict[str, Any]:
    """Two options and two uses, in the dossier's form."""
    figure = {"value": 0.912, "low": 0.9, "high": 0.92}
    thresholds = [{"metric": "accuracy", "limit": 0.9, "why": "readers see it"},
                  {"metric": "flip_rate", "limit": 0.05, "why": "names move few"}]  # fmt: skip
    return {
        "schema_version": 1,
        "rules": list(RULES),
        "candidates": [{"name": "gru", "training_seconds": [100.0, 140.0]}],
        "options": [
            {"name": "gru@onnx", "candidate": "gru", "backend": "onnx", "on_front": True,
             "figures": {"accuracy": figure, "flip_rate": {"missing": "no audit", "command": "x"},
                         "p50_ms": {"value": 1.5, "low": None, "high": None}}},
            {"name": "gru@eager", "candidate": "gru", "backend": "eager", "on_front": False,
             "figures": {"accuracy": figure}},
            {"name": "words", "candidate": "words", "backend": "", "on_front": None,
             "figures": {"accuracy": figure}},
        ],
        "contexts": [
            {"name": "ranking", "title": "Ranking", "use": "alone", "argument": "Nobody is judged.",
             "prefer": "accuracy", "thresholds": thresholds, "recommended": "gru@onnx",
             "why": "Passes all.", "judgements": [{"passes": True}, {"passes": False}]},
            {"name": "screening", "title": "Screening", "use": "never", "argument": "A life.",
             "prefer": "accuracy", "thresholds": thresholds, "recommended": None,
             "why": "Not a use for such a model.", "judgements": [{"passes": False}]},
        ],
    }  # fmt: skip


def test_uses_are_argued_and_held_against_the_dossier(tmp_path: Path) -> None:
    inputs = Inputs(tmp_path, {DOSSIER: dossier()})
    text = "\n".join(production_part(inputs))
    assert "- accuracy in domain ≥ 90%: readers see it\n- flip rate ≤ 5%: names" in text
    assert "1 of 2 models on a backend pass all of these. Recommended: `gru@onnx`." in text
    assert "**No model, whatever it shows.** A life." in text
    assert "| `gru@onnx` | 91.20% (90.00% to 92.00%) | 1.50 | – | 2.0 min |" in text
    assert "gru@eager" not in text  # beaten, recommended nowhere, and its candidate is there
    assert "| `words` | 91.20% (90.00% to 92.00%) | – | – | – |" in text
    assert short_answers(inputs)[1] == "**Screening.** Not a use for such a model."


def test_a_dossier_by_other_rules_is_said_to_be_one(tmp_path: Path) -> None:
    older = dossier() | {"rules": [*RULES[:-1], "The first named wins."]}
    for content, said in ((dossier(), 0), (older, 1)):
        inputs = Inputs(tmp_path, {DOSSIER: content})
        for written in (short_answers(inputs), production_part(inputs)):
            assert "\n".join(written).count("rules that have changed since") == said


def test_facts_of_wikipedia_are_taken_over_with_their_sources(tmp_path: Path) -> None:
    page = (DOCS / "wikipedia_bias.md").read_text(encoding="utf-8")
    text = document(read_inputs(DOCS))
    for title, body in sections(page).items():
        for line in body.splitlines():
            assert line.replace("### ", "#### ") in text, title
    made_up = "# Facts\n\nBefore.\n\n## One\n\nA [1].\n\n## Sources\n\n1. B.\n"
    assert sections(made_up) == {"": "Before.", "One": "A [1].", "Sources": "1. B."}
