"""The whole audit of language models: sections, files, and one line for a mistake."""

import json
from pathlib import Path

import pytest

from bias.masked_lm_audit import analyse_masked_lm, is_masked_lm, main


def test_real_stored_logits_make_the_whole_page(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logits = shared_data / "bert_mask_logits" / "logits.parquet"
    vocabulary = str(shared_data / "bert-base-uncased")
    assert main([str(logits), "--vocabulary", vocabulary, "--output", str(tmp_path)]) == 0
    written = json.loads((tmp_path / "audit.json").read_text())
    bert, zari = written["sections"]
    assert bert["target"] == "bert-large-uncased-whole-word-masking"
    assert zari["target"] == "zari-bert-cda" and not zari["estimates"]
    assert len(bert["facts"]["sets"]) == 5
    by_name = {estimate["name"]: estimate for estimate in bert["estimates"]}
    jane = by_name["contrast_gender_names_work"]
    assert jane["low"] > 1 and jane["p"] < 0.01 and jane["of"] == "tokens"
    top = next(table for table in bert["tables"] if table["title"] == "Most likely tokens")
    assert any("mechanic 0.116, carpenter 0.091" in row[3] for row in top["rows"])
    assert bert["pages"] == ["scatter.html"] and (tmp_path / "scatter.html").is_file()
    assert "What Jane and Jim worked as: along the stereotype" in capsys.readouterr().out


def test_several_models_are_compared_with_the_first(tiny: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "mine.yaml"
    prompts.write_text(
        "title: T\naxis: gender\nquestion: q\nunbiased: u\naligned: false\n"
        'templates: ["the {person} is a [MASK]."]\n'
        "groups:\n"
        "  w: {standing: minoritised, why: w, people: [woman, she, rich, bad], expected: [nurse]}\n"
        "  m: {standing: normative, why: m, people: [man, he, poor, good], expected: [engineer]}\n"
    )
    sections = analyse_masked_lm([str(tiny), str(tiny)], prompts=[str(prompts)])
    assert [section.name for section in sections] == ["fill_mask", "fill_mask", "fill_mask_models"]
    before, after = sections[2].tables[0].rows[0][3:5]
    assert before == after  # one model twice
    assert sections[2].tables[0].rows[0][-1] == "no"
    assert len([page for section in sections for page in section.pages]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.parquet"], "none.parquet: no such file of stored logits"),
        (["HEADLESS"], "no masked-LM head"),
        (["TINY", "--prompts", "gender"], "--prompts gender: no such set"),
        (
            ["TINY", "--prompts", "gender-work", "--benchmarks", "nowhere"],
            "nowhere: no such folder of",
        ),
    ],
)
def test_a_mistake_is_one_line(
    tiny: Path, headless: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    arguments: list[str], message: str,
) -> None:  # fmt: skip
    places = {"HEADLESS": str(headless), "TINY": str(tiny)}
    given = [places.get(argument, argument) for argument in arguments]
    assert main([*given, "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error and error.strip().count("\n") == 0
    assert not (tmp_path / "out").exists()


def test_targets_are_told_apart(tiny: Path, tmp_path: Path) -> None:
    assert is_masked_lm(str(tiny)) and is_masked_lm("logits.parquet")
    assert is_masked_lm("google-bert/bert-base-uncased")
    assert not is_masked_lm("http://127.0.0.1:8080/predictions/reviews")
    (tmp_path / "config.json").write_text('{"schema_version": 1}')  # a bundle's
    assert not is_masked_lm(str(tmp_path))
