"""The bundle: bit-exact both ways, whole or not at all, and refused when it does not fit."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from export.certificate import read_config
from models import bundle as bundles
from models.bundle import Bundle, load, save, verify
from models.config_digest import KEY, config_digest
from models.registry import ARCHITECTURES


@pytest.fixture
def make(tiny_classifier: Any, tiny_arguments: Any) -> Any:
    def make(architecture: str = "gru-encoder", seed: int = 0) -> Bundle:
        model = tiny_classifier(architecture)
        with torch.no_grad():
            model.head.bias.fill_(seed)
        vocabulary = {"[PAD]": 0, "[UNK]": 1, "good": 2}
        return Bundle(
            model=model,
            tokenizer=Tokenizer(WordLevel(vocabulary, unk_token="[UNK]")),
            architecture=architecture,
            arguments=tiny_arguments(architecture),
            labels=["negative", "positive"],
            max_length=256,
            provenance={"experiment": "größer"},
            metrics={"accuracy": 0.5},
        )

    return make


def edit_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config |= changes
    (folder / "config.json").write_text(json.dumps(config | {KEY: config_digest(config)}), "utf-8")


def test_a_config_that_was_changed_is_refused(make: Any, tmp_path: Path) -> None:
    folder = tmp_path / "best"
    save(make("gru-encoder"), folder)
    path = folder / "config.json"
    whole = json.loads(path.read_text("utf-8"))
    for change in ({"labels": ["positive", "negative"]}, {"max_length": 17}):
        path.write_text(json.dumps(whole | change), "utf-8")
        for read in (load, read_config):
            with pytest.raises(ValueError, match=r"config\.json: was changed after it was saved"):
                read(folder)
    path.write_text(json.dumps(whole | {"provenance": {}}), "utf-8")  # decides no answer
    load(folder)
    del whole[KEY]  # as earlier versions saved it
    path.write_text(json.dumps(whole), "utf-8")
    load(folder)


@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_round_trip_is_bit_exact(
    architecture: str, dtype: torch.dtype, make: Any, ragged_batch: Any, tmp_path: Path
) -> None:
    saved = make(architecture)
    saved.model.to(dtype)
    save(saved, tmp_path / "best")
    loaded = load(tmp_path / "best")
    expected = saved.model.state_dict()
    found = loaded.model.state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name
    assert not loaded.model.training
    batch = ragged_batch([5, 1, 7])
    assert torch.equal(loaded.model(*batch), saved.model(*batch))
    assert loaded.tokenizer.to_str() == saved.tokenizer.to_str()
    for field in ("architecture", "labels", "max_length", "provenance", "metrics"):
        assert getattr(loaded, field) == getattr(saved, field)
    # What was loaded can be saved again, and is then the same.
    save(loaded, tmp_path / "again")
    for name in ("config.json", "model.safetensors", "tokenizer.json", "metrics.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "best" / name).read_bytes()


def test_a_pretrained_encoders_bundle_needs_no_folder_it_came_from(
    make: Any, tmp_path: Path
) -> None:
    saved = make("bert")
    saved.arguments["backbone"] = "somewhere/on-the-hub"
    save(saved, tmp_path / "best")
    assert saved.arguments["backbone"] == "somewhere/on-the-hub"  # the caller's stays
    assert "somewhere" not in (tmp_path / "best/config.json").read_text("utf-8")
    load(tmp_path / "best")


def test_a_frozen_models_bundle_is_frozen_again(
    tiny_classifier: Any, make: Any, tmp_path: Path
) -> None:
    saved = make("bert")
    saved.model = tiny_classifier("bert", frozen=True)
    saved.arguments["frozen"] = True
    save(saved, tmp_path / "best")
    model = load(tmp_path / "best").model
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {
        "head.weight",
        "head.bias",
    }


def test_loading_leaves_the_random_state(make: Any, tmp_path: Path) -> None:
    save(make(), tmp_path / "best")
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    load(tmp_path / "best")
    assert torch.equal(torch.rand(1), expected)


def test_saving_replaces_the_bundle_and_what_was_made_of_it(make: Any, tmp_path: Path) -> None:
    save(make(seed=1), tmp_path / "best")
    (tmp_path / "best/model.onnx").write_text("made of the old weights")
    save(make(seed=2), tmp_path / "best")
    assert load(tmp_path / "best").model.head.bias.tolist() == [2, 2]
    assert os.listdir(tmp_path) == ["best"]
    assert not (tmp_path / "best/model.onnx").exists()


@pytest.mark.parametrize("failing", ["save_file", "_write_json", "verify", "_replace"])
def test_an_interrupted_save_leaves_the_previous_bundle(
    failing: str, make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(make(seed=1), tmp_path / "best")

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(bundles, failing, interrupted)
        with pytest.raises(KeyboardInterrupt):
            save(make(seed=2), tmp_path / "best")
    assert load(tmp_path / "best").model.head.bias.tolist() == [1, 1]
    assert os.listdir(tmp_path) == ["best"]


def test_a_failed_rename_puts_the_previous_bundle_back(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(make(seed=1), tmp_path / "best")
    rename = Path.rename

    def fails_for_the_new(self: Path, target: Path) -> Path:
        if ".writing-" in self.name:
            raise OSError("disk gone")
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fails_for_the_new)
        with pytest.raises(OSError, match="disk gone"):
            save(make(seed=2), tmp_path / "best")
    assert load(tmp_path / "best").model.head.bias.tolist() == [1, 1]


def test_one_that_reads_between_the_renames_does_not_stop_a_save(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(make(seed=1), tmp_path / "best")
    rename, read = Path.rename, []

    def reads_meanwhile(self: Path, target: Path) -> Path:
        moved = rename(self, target)
        if target.name == ".best.previous" and len(read) < 2:
            read.append(load(tmp_path / "best").model.head.bias.tolist())
        return moved

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", reads_meanwhile)
        save(make(seed=2), tmp_path / "best")
    assert read == [[1, 1], [1, 1]]
    assert load(tmp_path / "best").model.head.bias.tolist() == [2, 2]
    assert os.listdir(tmp_path) == ["best"]


def test_a_process_killed_between_the_renames_loses_nothing(make: Any, tmp_path: Path) -> None:
    save(make(seed=1), tmp_path / "best")
    (tmp_path / "best").rename(tmp_path / ".best.previous")  # where such a kill leaves it
    (tmp_path / ".best.writing-abc").mkdir()
    assert load(tmp_path / "best").model.head.bias.tolist() == [1, 1]
    save(make(seed=2), tmp_path / "best")
    assert load(tmp_path / "best").model.head.bias.tolist() == [2, 2]
    assert os.listdir(tmp_path) == ["best"]


def test_a_folder_that_is_no_bundle_is_not_replaced(make: Any, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.txt").write_text("years of work")
    with pytest.raises(ValueError, match="thesis exists and is no bundle"):
        save(make(), tmp_path / "thesis")
    assert (tmp_path / "thesis/chapter.txt").read_text() == "years of work"


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_one_changed_byte_is_refused(name: str, make: Any, tmp_path: Path) -> None:
    save(make(), tmp_path / "best")
    path = tmp_path / "best" / name
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name}: its SHA-256 is \w+, config.json wants \w+"):
        load(tmp_path / "best")


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "tokenizer.json", "metrics.json"]
)
def test_a_missing_file_is_named(name: str, make: Any, tmp_path: Path) -> None:
    save(make(), tmp_path / "best")
    (tmp_path / "best" / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"best: no {name} in it; a bundle is"):
        load(tmp_path / "best")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 2}, "schema_version is 2, this program reads 1"),
        ({"labels": "negative"}, "labels is 'negative', wanted is a list"),
        ({"labels": ["only"]}, r"1 labels \['only'\], the model has 2 logits"),
        ({"architecture": "gru-encodr"}, "did you mean 'gru-encoder'"),
        ({"arguments": {"vocabulary_size": 50}}, r"tensor .* has shape \[.*by config.json's"),
        ({"max_length": None}, "max_length is None, wanted is a int"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(
    changes: dict[str, Any], message: str, make: Any, tmp_path: Path
) -> None:
    save(make(), tmp_path / "best")
    edit_config(tmp_path / "best", **changes)
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path / "best")
    assert "\n" not in str(caught.value)
    assert "config.json" in str(caught.value)


def test_broken_json_is_refused(make: Any, tmp_path: Path) -> None:
    save(make(), tmp_path / "best")
    for name in ("metrics.json", "config.json"):
        (tmp_path / "best" / name).write_text('{"a":')
        with pytest.raises(ValueError, match=f"{name}: not JSON"):
            verify(tmp_path / "best")


def test_what_could_not_be_loaded_is_not_saved(make: Any, tmp_path: Path) -> None:
    wrong = make()
    wrong.arguments["hidden_size"] = 9
    with pytest.raises(ValueError, match="has shape"):
        save(wrong, tmp_path / "best")
    wrong = make()
    words = {f"word{index}": index for index in range(51)}
    wrong.tokenizer = Tokenizer(WordLevel(words, unk_token="word0"))
    with pytest.raises(ValueError, match="51 tokens, the model has embeddings for 50"):
        save(wrong, tmp_path / "best")
    assert os.listdir(tmp_path) == []
