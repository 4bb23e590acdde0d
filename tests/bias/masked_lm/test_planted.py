"""A planted bias is found with its sign and size; augmentation takes gender's alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bias.fill_mask import SetResult, analyse
from bias.masked_lm import open_models
from bias.planted import AXES, FIRST, contrast, main, sentences
from bias.prompts import load_sets

SETTINGS = ["mlm.vocabulary_size=400", "mlm.layers=1", "mlm.epochs=40", "mlm.batch_size=256",
            "mlm.mask_probability=0.3", "mlm.dropout=0", "mlm.learning_rate=5e-3"]  # fmt: skip
STRENGTH = 0.8
# The corpus is a sample: 120 sentences a person leave a standard error of 0.1 to 0.15 nats, and a
# small network's fit adds to it. Bounds are six times as wide; what is planted is 4.4.
SIZE = 0.9


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    assert main(["--output", str(folder), "--gender", str(STRENGTH), "--names", str(STRENGTH),
                 "--nationality", "0"]) == 0  # fmt: skip
    return folder


def _train(corpus: Path, augment: str) -> dict[str, SetResult]:
    output = corpus / augment
    subprocess.run(
        [sys.executable, "-m", "training", "--task", "mlm", "--data", str(corpus / "corpus.txt"),
         "--augment", augment, "--output", str(output), "--set", *SETTINGS],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, capture_output=True, timeout=400,
    )  # fmt: skip
    (model,) = open_models(str(output / "model"))
    assert model.name == augment
    results = (analyse(model, each) for each in load_sets([str(corpus / "prompts")]))
    return {result.prompts.axis: result for result in results if result is not None}


@pytest.fixture(scope="module")
def plain(corpus: Path) -> dict[str, SetResult]:
    return _train(corpus, "none")


@pytest.fixture(scope="module")
def augmented(corpus: Path) -> dict[str, SetResult]:
    return _train(corpus, "counterfactual")


@pytest.mark.parametrize("axis", ["gender", "names"])
def test_what_was_planted_is_found(plain: dict[str, SetResult], axis: str) -> None:
    found = plain[axis].contrast
    assert found is not None
    assert found.value == pytest.approx(contrast(STRENGTH), abs=SIZE)
    assert found.p < 0.01 and found.low > 0
    assert plain[axis].agreement.divergence_p < 0.01
    leading = {token for token, _ in plain[axis].top[0][:6]}
    assert leading == set(FIRST)


def test_where_nothing_was_planted_nothing_of_that_size_is_found(
    plain: dict[str, SetResult],
) -> None:
    assert abs(plain["nationality"].contrast.value) < SIZE


def test_augmentation_takes_gender_and_leaves_names(
    plain: dict[str, SetResult], augmented: dict[str, SetResult]
) -> None:
    gender, names = augmented["gender"].contrast, augmented["names"].contrast
    assert abs(gender.value) < 0.1 * plain["gender"].contrast.value
    assert gender.high < plain["gender"].contrast.low
    assert names.value == pytest.approx(contrast(STRENGTH), abs=SIZE) and names.p < 0.01


def test_the_truth_lies_beside_the_corpus(corpus: Path) -> None:
    truth = json.loads((corpus / "planted.json").read_text())
    lines = (corpus / "corpus.txt").read_text().splitlines()
    assert (
        truth["sentences"]
        == len(lines)
        == 120 * sum(len(people) for axis in AXES.values() for people in axis.people)
    )
    women = [line for line in lines if " sister " in line]
    share = sum(any(work in line for work in FIRST) for line in women) / len(women)
    assert share == pytest.approx((1 + STRENGTH) / 2, abs=0.14)  # 5 standard errors of 120


def test_the_same_seed_gives_the_same_corpus_and_bad_strengths_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sentences({"gender": 0.5}, 3, seed=1) == sentences({"gender": 0.5}, 3, seed=1)
    assert sentences({"gender": 0.5}, 3, seed=1) != sentences({"gender": 0.5}, 3, seed=2)
    assert main(["--output", str(tmp_path), "--gender", "1"]) == 2
    assert "--gender 1.0: expected between -0.99 and 0.99" in capsys.readouterr().err
