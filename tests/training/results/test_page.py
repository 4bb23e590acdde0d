"""The page: its tables, its sentences, its pictures, and that no figure was typed by hand."""

import json
import re
import struct
from dataclasses import replace

import numpy as np
import pytest

from training.results import page as page_module
from training.results.curves import trailing_mean
from training.results.findings import overview
from training.results.page import as_json, as_markdown, make_page, write_page
from training.results.runs import read_runs
from training.results.style import looks
from training.results.table import comparison_table, run_table

# A figure may stand in percent, in points, in minutes, hours, MiB, GiB or millions.
SCALES = (1, 100, 1 / 60, 1 / 3600, 2.0**-20, 2.0**-30, 1e-6)


@pytest.fixture(scope="module")
def written(every_run, tmp_path_factory):
    """The folder of the page of all runs."""
    output = tmp_path_factory.mktemp("page")
    write_page(make_page(read_runs(every_run)), output)
    return output


@pytest.fixture(scope="module")
def markdown(written):
    return (written / "results.md").read_text()


def rows_of(markdown):
    """The first table: a list of cells a row, without header and rule."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    body = lines[2 : next(i for i, line in enumerate(lines[2:], 2) if "| set |" in line)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in body]


def numbers_in(tree):
    if isinstance(tree, dict):
        return [n for value in tree.values() for n in numbers_in(value)]
    if isinstance(tree, list):
        return [n for value in tree for n in numbers_in(value)]
    is_number = isinstance(tree, int | float) and not isinstance(tree, bool)
    return [tree] if is_number else []


def figures_in(text, names):
    """Figures as written, after names, code, links and headings are taken out."""
    text = text.split("## What attention is")[0]
    text = re.sub(r"```.*?```", " ", text, flags=re.S)
    text = re.sub(r"`[^`\n]*`|^#.*$|!?\[[^\]]*\]\([^)]*\)", " ", text, flags=re.M)
    text = re.sub(r"Guo et al\. 2017|F1|\*Table \d\.\*|1/25", " ", text)
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, " ")
    return re.findall(r"\d[\d,]*(?:\.\d+)?(?:e-?\d+)?", text)


def stands_in(figure, values):
    """Whether some value, in some unit, rounds to the figure at the digits it shows."""
    plain = figure.replace(",", "").rstrip(",")
    shown = float(plain)
    if "e" in plain:
        return any(value == pytest.approx(shown) for value in values)
    digits = len(plain.partition(".")[2])
    room = 0.5000001 * 10**-digits
    return any(abs(abs(value) * scale - shown) <= room for value in values for scale in SCALES)


def test_every_figure_of_the_page_stands_in_results_json(written, markdown, every_run):
    content = json.loads((written / "results.json").read_text())
    runs = read_runs(every_run)
    names = {run.title for run in runs}
    values = numbers_in({key: content[key] for key in content if key != "captions"})
    figures = figures_in(markdown, names)
    assert len(figures) > 2000
    assert [figure for figure in sorted(set(figures)) if not stands_in(figure, values)] == []


def test_every_figure_of_a_sentence_stands_in_its_own_evidence(written):
    content = json.loads((written / "results.json").read_text())
    method = numbers_in(content["method"])
    for finding in content["findings"]:
        values = numbers_in(finding["evidence"]) + method
        for figure in figures_in(finding["text"], ()):
            assert stands_in(figure, values), (figure, finding["text"])


def test_only_the_best_validation_is_bold(markdown):
    rows = rows_of(markdown)
    bold = [(row[0], column) for row in rows for column, cell in enumerate(row) if "**" in cell]
    assert bold == [("`6-bert-finetuned`", 4)]
    assert next(row for row in rows if row[0] == "`6-bert-finetuned`")[4] == "**93.80% (625)**"


def test_the_table_has_a_row_a_run_in_order(markdown, every_run):
    labels = [row[0].split("`")[1] for row in rows_of(markdown)]
    assert labels == [run.label for run in read_runs(every_run)]


def test_bold_follows_the_accuracy_and_takes_all_ties(write_run):
    runs = read_runs([
        write_run("1", accuracy=0.9),
        write_run("2", accuracy=0.9, experiment="2-gru-attention", number=2),
        write_run("3", accuracy=0.8995, experiment="3-transformer", number=3),
    ])  # fmt: skip
    bold = [line.split("`")[1] for line in run_table(runs).splitlines() if "**" in line]
    assert bold == ["1-gru", "2-gru-attention"]


def test_runs_of_other_data_have_a_best_of_their_own_and_a_warning(write_run):
    runs = read_runs([
        write_run("1", accuracy=0.9),
        write_run("3", accuracy=0.7, experiment="3-transformer", number=3, reviews=5000),
    ])  # fmt: skip
    page = make_page(runs)
    assert sum("**" in line for line in run_table(runs).splitlines()) == 2
    assert any("Not all runs learned from the same data" in w for w in page.warnings)
    assert not page.comparisons


def test_the_table_has_what_the_result_says(write_run):
    runs = read_runs([write_run("1", accuracy=0.9, seconds=240.0, total=1_230_000)])
    row = [cell.strip() for cell in run_table(runs).splitlines()[2].strip("|").split("|")]
    assert row[2] == "3 epochs, batch 64, lr 1e-3, padding longest, float32, seed 0"
    assert row[3] == "1.23 M"
    assert row[5] == "90.00% (88.69 to 91.31)"  # 1.96·√(0.9·0.1/2000) is 1.31 points
    assert row[8:] == ["4.0 min", "12.0 s, 7.5 s", "900 MiB *process*", "250"]


def test_who_saw_a_tests_texts_without_labels_is_said_wherever_out_of_domain_is(write_run):
    paths = [
        write_run("1", accuracy=0.9, unlabelled=("data/imdb",)),
        write_run("2", accuracy=0.85, experiment="2-gru-attention", number=2),
    ]
    page = make_page(read_runs(paths))
    header, _, *rows = run_table(page.runs).splitlines()
    assert "| test: imdb (out of domain; ° seen without labels) |" in header
    assert [("°" in row) for row in rows] == [True, False]
    (best,) = (f for f in page.findings
               if f.topic == "generalisation" and "on `imdb` (" in f.text)  # fmt: skip
    assert "Not out of domain for `1-gru`, which learned from texts of that source" in best.text
    assert best.evidence["seen_without_labels"] == ["1-gru"]
    table = comparison_table(page.comparisons, page.runs)
    assert "| imdb (seen without labels by the first) |" in table
    entries = {e["label"]: e for e in as_json(page, {})["runs"]}
    assert entries["1-gru"]["seen_without_labels"] == ["imdb"]
    assert entries["2-gru-attention"]["seen_without_labels"] == []
    alone = make_page(read_runs(paths[:1]))
    assert "| test: imdb (° seen without labels) |" in run_table(alone.runs)
    assert not any("out of domain" in f.text.lower() for f in alone.findings)


def test_the_fastest_and_those_worth_their_time_are_found(write_run):
    runs = read_runs([
        write_run("1", accuracy=0.80, seconds=10.0),
        write_run("2", accuracy=0.79, seconds=20.0, experiment="2-gru-attention", number=2),
        write_run("3", accuracy=0.85, seconds=30.0, experiment="3-transformer", number=3),
    ])  # fmt: skip
    evidence = next(f.evidence for f in overview(runs) if f.topic == "speed")
    assert (evidence["fastest"], evidence["slowest"]) == ("1-gru", "3-transformer")
    assert evidence["not_beaten_in_both"] == ["1-gru", "3-transformer"]


def test_the_best_on_a_test_set_does_not_lead_those_it_was_not_compared_with(write_run):
    runs = read_runs([
        write_run("a", experiment="a", number=None, accuracy=0.95, rows=1000),
        write_run("b", experiment="b", number=None, accuracy=0.949, rows=900),
        write_run("c", experiment="c", number=None, accuracy=0.60, rows=1000),
    ])  # fmt: skip
    said = [f.text for f in overview(runs) if "`a` is best with" in f.text]
    assert said
    for text in said:
        assert "its lead over every other run on the same rows is above 0" in text
        assert "not compared, since its rows are others: `b`" in text


def test_the_best_on_a_test_set_names_those_it_cannot_be_told_from(write_run):
    runs = read_runs([
        write_run("1", accuracy=0.900),
        write_run("2", accuracy=0.901, experiment="2-gru-attention", number=2),
        write_run("3", accuracy=0.700, experiment="3-transformer", number=3),
    ])  # fmt: skip
    best = {f.evidence["test"]: f.evidence for f in overview(runs)
            if f.topic == "generalisation" and "best" in f.evidence}  # fmt: skip
    assert best["imdb"]["best"] == "2-gru-attention"
    assert best["imdb"]["not_told_apart"] == ["1-gru"]


def test_one_run_makes_a_page_that_says_what_is_missing(write_run):
    captions = {"learning_curves.png": "curves", "accuracy_and_cost.png": "cost"}
    text = as_markdown(make_page(read_runs([write_run("1")])), captions)
    assert "Not answered: finished runs are missing of `2-gru-attention`." in text
    assert "python -m training --experiment baseline-tfidf --data data/amazon_polarity" in text


def test_an_unfinished_run_is_drawn_and_listed(write_run, tmp_path):
    page = make_page(read_runs([write_run("1", finished=False)]))
    paths = write_page(page, tmp_path / "out")
    assert [path.name for path in paths] == ["learning_curves.png", "results.json", "results.md"]
    assert "| unfinished |" in (tmp_path / "out" / "results.md").read_text()


def test_the_pictures_are_pictures(written):
    for name in ("learning_curves.png", "accuracy_and_cost.png"):
        data = (written / name).read_bytes()
        width, height = struct.unpack(">II", data[16:24])
        assert data.startswith(b"\x89PNG") and width > 1500 and height > 800
        assert len(data) > 50_000  # an empty sheet of this size is a tenth of it


def test_no_two_runs_look_alike(every_run):
    chosen = looks(read_runs(every_run))
    assert len(set(chosen.values())) == len(chosen) == 17


def test_more_runs_of_one_experiment_look_different_too(write_run):
    (run,) = read_runs([write_run("1")])
    many = [replace(run, label=f"seed {seed}") for seed in range(8)]
    assert len(set(looks(many).values())) == 8


def test_the_trailing_mean_is_that_of_the_last_values():
    assert list(trailing_mean(np.array([4.0, 2.0, 6.0, 0.0]), 2)) == [4.0, 3.0, 4.0, 3.0]


def test_a_failure_leaves_the_old_page_as_it_was(write_run, tmp_path, monkeypatch):
    output = tmp_path / "out"
    output.mkdir()
    (output / "results.md").write_text("old")

    def fail(*_):
        raise RuntimeError("half way")

    for name in ("learning_curves", "accuracy_and_cost"):
        monkeypatch.setattr(page_module, name, lambda _, path: path.write_bytes(b"new") and "c")
    monkeypatch.setattr(page_module, "as_markdown", fail)
    with pytest.raises(RuntimeError, match="half way"):
        write_page(make_page(read_runs([write_run("1")])), output)
    assert [path.name for path in output.iterdir()] == ["results.md"]
    assert (output / "results.md").read_text() == "old"


def test_results_json_is_strict_json_whatever_a_run_holds(write_run):
    folder = write_run("1")
    path = folder / "result.json"
    result = json.loads(path.read_text())
    result["best"]["loss"] = float("nan")
    path.write_text(json.dumps(result))

    content = as_json(make_page(read_runs([folder])), {})
    json.dumps(content, allow_nan=False)
    assert content["runs"][0]["result"]["best"]["loss"] is None
