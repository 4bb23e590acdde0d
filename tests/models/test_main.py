"""The command line of the package."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from models.__main__ import main
from models.bundle import Bundle, save
from models.registry import ARCHITECTURES


def test_the_table_names_every_architecture_and_its_arguments(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 0
    printed = capsys.readouterr().out
    for name, architecture in ARCHITECTURES.items():
        assert f"{name}: {architecture.summary}" in printed
        for argument in architecture.arguments:
            assert argument in printed
    # nn.Embedding 30522·256, two directions of 3·256·(256 + 256 + 2), a head of 256·2 + 2.
    assert f"{30522 * 256 + 2 * 3 * 256 * (256 + 256 + 2) + 514:,}" in printed


def test_describe_says_what_a_bundle_is(
    tiny_classifier: Any, tiny_arguments: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    model = tiny_classifier("ngram-bag")
    provenance = {"experiment": "own", "config": {"train": {"seed": 3, "tracker": None}}}
    arguments = tiny_arguments("ngram-bag")
    save(
        Bundle(model, tokenizer, "ngram-bag", arguments, ["bad", "good"], 99, provenance),
        tmp_path / "best",
    )
    assert main(["describe", str(tmp_path / "best")]) == 0
    printed = capsys.readouterr().out
    parameters = sum(parameter.numel() for parameter in model.parameters())
    for part in ("ngram-bag", "buckets=64", f"{parameters:,}", "bad, good", "99 tokens",
                 "experiment='own'\n", " config.train.seed=3\n"):  # fmt: skip
        assert part in printed


def test_describing_what_is_no_bundle_says_so_and_exits_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["describe", str(tmp_path)]) == 2
    assert "no config.json in it; a bundle is a folder" in capsys.readouterr().err


def test_the_package_runs_and_helps() -> None:
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-m", "models", "--help"], cwd=root, capture_output=True, text=True
    )
    assert result.returncode == 0
    assert "describe" in result.stdout
    assert "examples:" in result.stdout
