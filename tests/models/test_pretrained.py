"""The pretrained encoder: a tiny one made here, and the real one where its folder is."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, BertConfig, BertModel

from models.pooling import POOLINGS
from models.pretrained import PretrainedEncoder

CONFIG: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 40,
}
REAL = Path(__file__).parents[3] / "shared" / "data" / "minilm-l6-h384-uncased"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A saved tiny BERT in float16, pooler included."""
    path = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    BertModel(BertConfig(**CONFIG)).half().save_pretrained(path)
    return str(path)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_feature_pools_what_transformers_computes_of_each_review(
    folder: str, pooling: str, ragged_batch: Any
) -> None:
    encoder = PretrainedEncoder(folder, pooling=pooling).eval()
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}
    reference = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    reference.eval()
    lengths = [5, 1, 7]
    input_ids, mask = ragged_batch(lengths, steps=9)
    feature = encoder(input_ids, mask)
    for row, length in enumerate(lengths):
        alone = reference(input_ids[row : row + 1, :length]).last_hidden_state[0]
        wanted = {"first": alone[0], "mean": alone.mean(0), "max": alone.max(0).values}[pooling]
        # float32 through two layers, another attention kernel.
        torch.testing.assert_close(feature[row], wanted, rtol=1e-5, atol=1e-5)


def test_the_pooler_is_left_out(folder: str) -> None:
    assert not [name for name, _ in PretrainedEncoder(folder).named_parameters() if "pool" in name]


def test_frozen_stays_in_evaluation_mode_without_gradients(folder: str, ragged_batch: Any) -> None:
    encoder = PretrainedEncoder(folder, frozen=True).train()
    assert encoder.training
    assert not encoder.encoder.training
    batch = ragged_batch([5, 7])
    first, second = encoder(*batch), encoder(*batch)
    assert torch.equal(first, second)  # no dropout
    assert not first.requires_grad
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_not_frozen_trains_with_its_own_dropout(folder: str, ragged_batch: Any) -> None:
    encoder = PretrainedEncoder(folder).train()
    batch = ragged_batch([5, 7])
    assert not torch.equal(encoder(*batch), encoder(*batch))
    assert encoder(*batch).requires_grad


def test_a_configuration_alone_makes_one_of_the_same_shape(folder: str) -> None:
    loaded = PretrainedEncoder(folder)
    made = PretrainedEncoder(loaded.config)
    assert loaded.feature_size == made.feature_size == 8
    made.load_state_dict(loaded.state_dict())
    assert folder not in str(loaded.config)


def test_more_tokens_than_positions_are_refused(folder: str) -> None:
    with pytest.raises(ValueError, match=r"got 41 tokens.*positions for 40; cut the reviews"):
        PretrainedEncoder(folder)(torch.ones(1, 41, dtype=torch.int64))


def test_weights_in_a_pickle_are_not_read(tmp_path: Path) -> None:
    model = BertModel(BertConfig(**CONFIG))
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"cannot be loaded .*safetensors"):
        PretrainedEncoder(str(tmp_path))
    with pytest.raises(ValueError, match=r"cannot be loaded .it is a file.; give a folder"):
        PretrainedEncoder(str(tmp_path / "pytorch_model.bin"))


def test_weights_that_lack_tensors_are_refused(folder: str, tmp_path: Path) -> None:
    BertConfig(**CONFIG | {"num_hidden_layers": 3}).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").symlink_to(Path(folder) / "model.safetensors")
    with pytest.raises(ValueError, match=r"weights lack 16 tensors.*encoder.layer.2"):
        PretrainedEncoder(str(tmp_path))


@pytest.mark.parametrize("content", [b"version https://git-lfs.github.com/spec/v1\n", b""])
def test_weights_that_git_kept_elsewhere_are_one_line(content: bytes, tmp_path: Path) -> None:
    BertConfig(**CONFIG).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="cannot be loaded") as caught:
        PretrainedEncoder(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_field_of_another_type_is_one_line(folder: str, tmp_path: Path) -> None:
    wrong = BertConfig(**CONFIG).to_dict() | {"hidden_size": "wide"}
    (tmp_path / "config.json").write_text(json.dumps(wrong))
    (tmp_path / "model.safetensors").symlink_to(Path(folder) / "model.safetensors")
    for given in (str(tmp_path), wrong):
        with pytest.raises(ValueError, match="'hidden_size'") as caught:
            PretrainedEncoder(given)
        assert "\n" not in str(caught.value)


def test_a_missing_folder_says_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"give a folder with config.json") as caught:
        PretrainedEncoder(str(tmp_path / "absent"))
    assert "absent" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "nonsense"}, "model_type = 'nonsense'.*give one of BERT's architecture"),
        ({}, "model_type = None"),
        ({"model_type": "t5"}, "t5.*not an encoder of BERT's architecture"),
        ({"model_type": "roberta"}, "padding token is 1; reviews are padded with 0"),
        ({"model_type": "gpt2"}, "padding token is None"),
    ],
)
def test_an_encoder_that_cannot_stand_here_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PretrainedEncoder(config)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no pretrained encoder in {REAL}")
def test_a_real_encoder_loads_and_tells_reviews_apart() -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(REAL / "tokenizer.json"))
    tokenizer.enable_padding()
    encodings = tokenizer.encode_batch(
        ["A wonderful film, I loved it.", "I adored this movie.", "The invoice is due on Monday."]
    )
    encoder = PretrainedEncoder(str(REAL), frozen=True, pooling="mean")
    assert encoder.feature_size == 384
    with torch.no_grad():
        feature = encoder(
            torch.tensor([encoding.ids for encoding in encodings]),
            torch.tensor([encoding.attention_mask for encoding in encodings]),
        )
    # It was trained to bring paraphrases together: chance would not.
    alike, unlike = torch.cosine_similarity(feature[:1], feature[1:])
    assert alike > 0.6 > 0.3 > unlike
