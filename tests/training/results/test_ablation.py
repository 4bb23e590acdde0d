"""What settings are worth, on runs whose right answers are known."""

import json

import numpy as np
import pytest
from scipy.stats import binomtest

from training.results.ablation import main


def answers(wrong: range) -> np.ndarray:
    right = np.ones(1000, dtype=bool)
    right[list(wrong)] = False
    return right


@pytest.fixture
def folders(write_run):
    """The base is wrong on rows 0 to 79; one run on 40 more, one on 40 others."""
    given = {"tests": {"imdb": 0.0}, "rows": 1000, "arguments": {"dropout": 0.3}}
    base = write_run("base", answers={"imdb": answers(range(80))}, **given)
    worse = write_run("worse", answers={"imdb": answers(range(120))}, batch=32, **given)
    given["arguments"] = {"dropout": 0.5}
    other = write_run("other", answers={"imdb": answers(range(40, 120))}, batch=16, **given)
    return base, worse, other


def test_differences_and_what_changed(folders, tmp_path, capsys):
    output = tmp_path / "out"
    assert main([*map(str, folders), "--output", str(output)]) == 0
    worse, other = json.loads((output / "ablation.json").read_text())["ablations"]
    assert worse["changed"] == ["train.batch_size: 64 -> 32"]
    assert other["changed"] == [
        "model.arguments.dropout: 0.3 -> 0.5",
        "train.batch_size: 64 -> 16",
    ]
    (found,) = worse["comparisons"]
    assert found["difference"] == pytest.approx(-0.04)
    assert found["p"] == pytest.approx(binomtest(40, 40).pvalue)
    assert found["p_holm"] == pytest.approx(2 * found["p"])
    assert found["verdict"] == "worse"
    (found,) = other["comparisons"]
    assert (found["difference"], found["p"], found["verdict"]) == (0, 1, "none")
    page = (output / "ablation.md").read_text()
    assert "| `worse` | `train.batch_size: 64 -> 32` | -4.00 (" in page
    assert "92.00%" in page
    assert (output / "ablation.png").stat().st_size > 10_000
    assert "train.batch_size" in capsys.readouterr().out


def test_a_run_like_the_base_or_unfinished_is_refused(folders, write_run, tmp_path, capsys):
    again = write_run("again", tests={"imdb": 0.0}, arguments={"dropout": 0.3})
    unfinished = write_run("unfinished", finished=False, batch=8)
    for folder, why in ((again, "its configuration is that of the base"),
                        (unfinished, "unfinished")):  # fmt: skip
        assert main([str(folders[0]), str(folder), "--output", str(tmp_path / "out")]) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith(f"error: {folder}: {why}")
        assert captured.err.count("\n") == 1
        assert not (tmp_path / "out").exists()
