"""The command: what it writes, and how it answers mistakes."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from bias.dossier.__main__ import main
from bias.dossier.failures import LONGEST, shortened
from models import bundle, registry
from training.mlm.config import as_dict, masked_config

MakeRun = Callable[..., Path]
FILES = {"dossier.html", "dossier.md", "dossier.json", "pareto_front.png", "reliability.png",
         "cards"}  # fmt: skip


def _json(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "dossier.json").read_text(encoding="utf-8"))
    return found


def test_cards_and_pictures_of_an_earlier_dossier_do_not_stay(
    whole: MakeRun, make_run: MakeRun, tmp_path: Path
) -> None:
    one, other, output = whole("gru"), whole("bert", accuracy=0.95), tmp_path / "out"
    assert main([str(one), str(other), "--output", str(output), "--no-texts"]) == 0
    (output / "notes.md").write_text("our own")
    assert main([str(one), "--output", str(output), "--no-texts"]) == 0
    assert [path.name for path in (output / "cards").iterdir()] == ["gru"]
    assert main([str(make_run("tfidf", bundle=False)), "--output", str(output), "--no-texts"]) == 0
    assert not (output / "pareto_front.png").exists() and not (output / "cards").exists()
    assert (output / "notes.md").read_text() == "our own"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A source whose text says which row it is."""
    folder = tmp_path / "shop"
    folder.mkdir()
    for split, rows in (("train", 400), ("test", 200)):
        lines = [f'{k % 2},title {k},"{split} row {k} of a shop with <b>words</b>"' for k in
                 range(rows)]  # fmt: skip
        (folder / f"{split}.csv").write_text("\n".join(["label,title,content", *lines]))
    return folder


def _reading(shop: Path, tmp_path: Path) -> dict[str, Any]:
    data = {"sources": [str(shop)], "vocabulary_size": 200, "cache_dir": str(tmp_path / "cache")}
    return {"data": data}


def test_it_writes_page_markdown_json_pictures_and_cards(
    whole: MakeRun, make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [whole("gru"), whole("bert", accuracy=0.95), make_run("tfidf", bundle=False)]
    output = tmp_path / "out"
    assert main([*map(str, runs), "--output", str(output), "--no-texts"]) == 0
    assert {path.name for path in output.iterdir()} == FILES  # and nothing half written
    assert capsys.readouterr().out.rstrip().endswith(f"dossier: {output / 'dossier.html'}")
    page = (output / "dossier.html").read_bytes()
    assert len(page) < 5_000_000 and b"http-equiv=" in page
    assert {path.parent.name for path in output.glob("cards/*/README.md")} == {"gru", "bert"}
    for picture in ("pareto_front.png", "reliability.png"):
        assert (output / picture).read_bytes().startswith(b"\x89PNG")
        assert f"({picture})" in (output / "dossier.md").read_text()
    content = _json(output)
    assert content["schema_version"] == 1
    ranking = next(c for c in content["contexts"] if c["name"] == "ranking")
    assert ranking["recommended"] == "bert on onnx"
    assert (
        "| Ranking reviews for display | **bert on onnx** |" in (output / "dossier.md").read_text()
    )


def test_reports_among_the_runs_are_left_out(
    whole: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, output = whole("gru"), tmp_path / "gru-dossier"
    for given in ([run], [run, output]):  # the second time as `runs/*` names them
        assert main([*map(str, given), "--output", str(output), "--no-texts"]) == 0
    assert f"{output}: a report, no run: left out" in capsys.readouterr().err
    masked = tmp_path / "mlm"
    masked.mkdir()
    (masked / "config.yaml").write_text(yaml.safe_dump(as_dict(masked_config([]))))
    (masked / "history.jsonl").write_text("")
    for finished in (False, True):
        if finished:
            (masked / "result.json").write_text(json.dumps({"task": "mlm"}))
        assert main([str(run), str(masked), "--output", str(output), "--no-texts"]) == 0
        assert f"{masked}: a masked language model, no classifier" in capsys.readouterr().err
    assert main([str(output), "--output", str(output)]) == 2
    assert "no run of a classifier was given" in capsys.readouterr().err


def test_what_is_missing_is_said_with_its_command(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("gru", certified=())
    assert main([str(run), "--output", str(tmp_path / "out"), "--no-texts"]) == 0
    markdown = (tmp_path / "out" / "dossier.md").read_text()
    assert f"python -m bias {run}/best --reviews shop --output {run}/audit" in markdown
    assert f"python -m export.benchmark {run}/best" in markdown
    figures = _json(tmp_path / "out")["options"][0]["figures"]
    assert figures["p50_ms"]["missing"] and figures["accuracy"]["value"] == pytest.approx(0.92)
    assert not (tmp_path / "out" / "pareto_front.png").exists()


def test_money_comes_from_the_users_price_alone(whole: MakeRun, tmp_path: Path) -> None:
    run, output = whole("gru"), tmp_path / "out"
    assert main([str(run), "--output", str(output), "--no-texts"]) == 0
    assert _json(output)["candidates"][0]["cost"] is None
    assert "Money is not stated" in (output / "dossier.md").read_text()
    assert main([str(run), "--output", str(output), "--no-texts", "--price-per-hour", "0.72",
                 "--currency", "EUR"]) == 0  # fmt: skip
    # 1,900 s at 0.72 an hour
    assert _json(output)["candidates"][0]["cost"] == pytest.approx(0.38)
    assert "0.38 EUR" in (output / "dossier.md").read_text()


def test_the_surest_errors_are_quoted_from_their_source(
    make_run: MakeRun, shop: Path, tmp_path: Path
) -> None:
    labels = (np.arange(200) % 2).astype(np.int8)
    margin = np.full(200, 3.0)
    margin[[10, 77, 150]] = [-9.0, -4.0, -1.0]  # three wrong, surest first
    positive = np.where(labels == 1, margin, -margin)
    run = make_run(
        "gru",
        tests={"shop": 0.0},
        config=_reading(shop, tmp_path),
        answers={"shop": (labels, np.stack([0 * positive, positive], axis=1))},
    )
    output = tmp_path / "out"
    assert main([str(run), "--output", str(output), "--examples", "2"]) == 0
    found = _json(output)["failures"]["gru"]
    assert found["wrong"] == {"shop": 3} and found["unread"] == ""
    assert [(f["row"], f["label"], f["answer"]) for f in found["found"]] == [
        (10, "negative", "positive"), (77, "positive", "negative")]  # fmt: skip
    assert [f["confidence"] for f in found["found"]] == pytest.approx(
        [1 / (1 + math.exp(-9)), 1 / (1 + math.exp(-4))]
    )
    assert found["found"][1]["text"] == "title 77 test row 77 of a shop with <b>words</b>"
    assert "&lt;b>words" in (output / "dossier.md").read_text()
    assert b"row 77 of a shop with &lt;b&gt;words" in (output / "dossier.html").read_bytes()
    assert main([str(run), "--output", str(output), "--no-texts"]) == 0
    assert b"row 77 of a shop" not in (output / "dossier.html").read_bytes()
    assert "--no-texts" in _json(output)["failures"]["gru"]["unread"]


def test_texts_that_cannot_be_read_are_said_and_not_guessed(
    make_run: MakeRun, shop: Path, tmp_path: Path
) -> None:
    gone = make_run("gone", tests={"shop": 0.0}, config={"data": {"sources": ["/nowhere/shop"]}})
    other = make_run("other", tests={"shop": 0.0}, config=_reading(shop, tmp_path))  # 2,000 rows
    output = tmp_path / "out"
    assert main([str(gone), str(other), "--output", str(output)]) == 0
    failures = _json(output)["failures"]
    assert "its sources cannot be read from here: /nowhere/shop" in failures["gone"]["unread"]
    assert "no longer what it was" in failures["other"]["unread"]
    assert all(f["text"] is None for each in failures.values() for f in each["found"])


def test_long_texts_are_cut_at_a_word() -> None:
    cut = shortened("word " * 100)
    assert len(cut) <= LONGEST and cut.endswith("word…")
    assert shortened("two\n lines") == "two lines"


def test_cards_are_the_hubs_and_hold_the_measured_figures(whole: MakeRun, tmp_path: Path) -> None:
    runs = [whole(f"gru-{s}", experiment="gru", seed=s, accuracy=0.9 + s / 100) for s in range(2)]
    assert main([*map(str, runs), "--output", str(tmp_path / "out"), "--no-texts"]) == 0
    for name, accuracy in (("gru-0", 0.90), ("gru-1", 0.91)):
        card = ModelCard.load(tmp_path / "out" / "cards" / name / "README.md")
        assert card.data.pipeline_tag == "text-classification"
        results = {(r.dataset_type, r.metric_type): r.metric_value for r in card.data.eval_results}
        assert results["shop", "accuracy"] == pytest.approx(accuracy)  # its own, not the mean
        assert set(results) == {(test, metric) for test in ("shop", "films")
                                for metric in ("accuracy", "f1", "calibration_error")}  # fmt: skip
        written = card.data.to_dict()["model-index"]
        assert model_index_to_eval_results(written)[0] == name
        for heading in ("Uses", "Evaluation", "Bias and limits", "Training", "Files"):
            assert f"## {heading}" in card.text
        assert "flip rate on eager: 1.00% [0.50, 2.00]" in card.text


def test_a_card_says_of_its_own_bundle_alone_what_was_measured(
    whole: MakeRun, make_run: MakeRun, tmp_path: Path
) -> None:
    """Seed 0 was audited and timed; seed 1, better on every test, was not."""
    runs = [whole("gru-0", experiment="gru", accuracy=0.92),
            make_run("gru-1", experiment="gru", seed=1, accuracy=0.93)]  # fmt: skip
    assert main([*map(str, runs), "--output", str(tmp_path / "out"), "--no-texts"]) == 0
    own, other = (ModelCard.load(tmp_path / "out" / "cards" / f"gru-{s}" / "README.md").text
                  for s in range(2))  # fmt: skip
    assert "flip rate on eager: 1.00% [0.50, 2.00]" in own
    assert "**Ranking reviews for display**: passes (3 of 3 thresholds shown, on onnx)" in own
    assert "flip rate on" not in other and "swaps without meaning" not in other
    unmeasured = f"was not measured: there is no audit. Audit it: `python -m bias {runs[1]}/best "
    assert unmeasured in other and f" --output {runs[1]}/audit`." in other
    assert ("**Ranking reviews for display**: does not pass (1 of 3 thresholds shown; not measured:"
            " latency, p99, flip rate)") in other  # fmt: skip
    assert "The dossier judges 2 seeds together" in other


def test_tests_seen_without_labels_are_named_so_in_page_and_card(
    whole: MakeRun, tmp_path: Path
) -> None:
    seen = whole("gru", config={"distill": {"unlabelled": ["data/films", "data/shop"]}})
    assert main([str(seen), str(whole("bert")), "--output", str(tmp_path / "out"),
                 "--no-texts"]) == 0  # fmt: skip
    markdown = (tmp_path / "out" / "dossier.md").read_text()
    assert "| gru | films | seen without labels |" in markdown
    assert "| bert | films | out of domain |" in markdown
    assert "| ? seen without labels |" in markdown  # where a use asks for accuracy out of domain
    assert "| shop; without labels: films, shop |" in markdown
    page = (tmp_path / "out" / "dossier.html").read_text()
    assert "seen without labels: gru" in page and "out of domain: bert" in page
    card = ModelCard.load(tmp_path / "out" / "cards" / "gru" / "README.md")
    assert "| films | seen without labels |" in card.text
    assert "- data: 5,000 reviews of shop; without labels: films, shop" in card.text
    names = {result.dataset_name for result in card.data.eval_results}
    assert names == {"shop (in domain)", "films (seen without labels)"}
    domains = {each["name"]: each["tests"]["films"]["domain"]
               for each in _json(tmp_path / "out")["candidates"]}  # fmt: skip
    assert domains == {"gru": "seen without labels", "bert": "out of domain"}


def test_the_dossier_says_of_how_many_seeds_bias_was_measured(
    whole: MakeRun, make_run: MakeRun, tmp_path: Path
) -> None:
    runs = [whole("gru-0", experiment="gru"), make_run("gru-1", experiment="gru", seed=1),
            make_run("gru-2", experiment="gru", seed=2), whole("alone")]  # fmt: skip
    assert main([*map(str, runs), "--output", str(tmp_path / "out"), "--no-texts"]) == 0
    markdown = (tmp_path / "out" / "dossier.md").read_text()
    assert "gru: bias was measured of 1 of its 3 seeds (seed 0)" in markdown
    assert "alone: bias was measured of" not in markdown
    content = _json(tmp_path / "out")
    audited = {each["name"]: each["audited_seeds"] for each in content["candidates"]}
    assert audited == {"gru": [0], "alone": [0]}
    figures = {o["name"]: o["figures"]["flip_rate"]["of"] for o in content["options"]}
    assert figures["gru on onnx"] == "pairs, 1 of 3 seeds" and figures["alone on onnx"] == "pairs"


def test_a_bundle_with_its_card_still_loads(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("gru", certified=())
    arguments = {"vocabulary_size": 8, "embedding_size": 4, "hidden_size": 4}
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0, "good": 1}, unk_token="[UNK]"))
    bundle.save(bundle.Bundle(registry.build("gru-encoder", **arguments), tokenizer, "gru-encoder",
                              arguments, ["negative", "positive"], 16), run / "best")  # fmt: skip
    assert main([str(run), "--output", str(tmp_path / "out"), "--no-texts",
                 "--cards-into-bundles"]) == 0  # fmt: skip
    assert ModelCard.load(run / "best" / "README.md").data.model_name == "gru"
    assert bundle.load(run / "best").architecture == "gru-encoder"
    assert not (tmp_path / "out" / "cards").exists()


def test_runs_tested_on_different_rows_are_said_to_be_incomparable(
    whole: MakeRun, tmp_path: Path
) -> None:
    runs = [whole("a"), whole("b", rows=1000), whole("c", tests={"shop": 0.0})]
    assert main([*map(str, runs), "--output", str(tmp_path / "out"), "--no-texts"]) == 0
    markdown = (tmp_path / "out" / "dossier.md").read_text()
    assert "shop is not the same rows for all: comparable are only those named together" in markdown
    assert "films was not asked of c." in markdown
    assert _json(tmp_path / "out")["yardstick"] == {
        "test": "shop", "tests": ["shop"], "candidates": ["a", "c"]}  # fmt: skip


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda run, out: (run / "result.json").write_text("{"), "result.json: not JSON"),
        (lambda run, out: (run / "benchmark" / "benchmark.json").write_text("x"), "not JSON"),
        (lambda run, out: out.write_text(""), "is a file; give a folder"),
        (lambda run, out: (run / "predictions" / "shop.parquet").write_text("x"),
         "not readable as predictions"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_writes_nothing(
    whole: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    break_it: Callable[[Path, Path], Any], said: str,
) -> None:  # fmt: skip
    run, output = whole("gru"), tmp_path / "out"
    break_it(run, output)
    assert main([str(run), "--output", str(output), "--no-texts"]) == 2
    error = capsys.readouterr().err
    assert said in error and error.startswith("error: ") and error.count("\n") == 1
    assert not output.is_dir()


@pytest.mark.parametrize(
    ("flags", "said"),
    [(["--price-per-hour", "free"], "'free'; give a number from 0"),
     (["--examples", "-1"], "whole number from 0")],
)  # fmt: skip
def test_a_mistaken_flag_says_what_is_allowed(
    flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["run", "--output", "out", *flags])
    assert stopped.value.code == 2 and said in capsys.readouterr().err
