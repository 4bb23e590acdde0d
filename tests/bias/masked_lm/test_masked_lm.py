"""Live models: batches change nothing, every figure is that of the plain forward pass."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertForMaskedLM, PreTrainedTokenizerFast

from bias.masked_lm import LiveModel, Masked, SentenceEncoder, batches_by_length, open_models
from bias.stored_logits import write_logits

SUMS = 1e-5  # float32 through two small layers, padded or not
PROMPTS = ["The man works as a [MASK].", "[MASK] works.", "the woman said that she is a [MASK] , ."]


@pytest.fixture(scope="module")
def model(tiny: Path) -> LiveModel:
    return LiveModel(str(tiny))


def _plain(tiny: Path, sentence: str, tokenizer: PreTrainedTokenizerFast) -> torch.Tensor:
    """(T, V): straight through transformers."""
    bert = BertForMaskedLM.from_pretrained(tiny, attn_implementation="eager").eval()
    with torch.no_grad():
        return bert(**tokenizer(sentence, return_tensors="pt")).logits[0]


def test_logits_at_the_mask_are_those_of_each_sentence_alone(
    model: LiveModel, tiny: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    found = model.logits_at_mask(PROMPTS)
    assert found.shape == (3, len(model.vocabulary)) == (3, len(tokenizer))
    for row, sentence in zip(found, PROMPTS, strict=True):
        at = tokenizer(sentence).input_ids.index(tokenizer.mask_token_id)
        np.testing.assert_allclose(row, _plain(tiny, sentence, tokenizer)[at].numpy(), atol=SUMS)


def test_score_is_the_log_probability_of_the_target(
    model: LiveModel, tiny: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    ids = tuple(tokenizer("the man is [MASK] .").input_ids)
    rows = [Masked(ids, 4, token) for token in (8, 14)]
    wanted = _plain(tiny, "the man is [MASK] .", tokenizer)[4].double().log_softmax(-1)
    np.testing.assert_allclose(model.score(rows), wanted[[8, 14]].numpy(), atol=SUMS)


def test_an_unmasked_reading_gives_each_token_and_the_attention_paid_to_it(
    model: LiveModel, tiny: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    sentences = ["the man is good .", "she said"]
    bert = BertForMaskedLM.from_pretrained(tiny, attn_implementation="eager").eval()
    for sentence, read in zip(sentences, model.read_unmasked(sentences), strict=True):
        encoded = tokenizer(sentence, return_tensors="pt")
        with torch.no_grad():
            out = bert(**encoded, output_attentions=True)
        ids = encoded.input_ids[0]
        own = out.logits[0].double().log_softmax(-1)[torch.arange(len(ids)), ids]
        np.testing.assert_allclose(read.log_probabilities, own[1:-1].numpy(), atol=SUMS)
        paid = torch.stack(out.attentions)[:, 0].mean((0, 1, 2))  # layers, heads, queries
        np.testing.assert_allclose(read.attention, paid[1:-1].numpy(), atol=SUMS)


@pytest.mark.parametrize(
    ("sentence", "message"),
    [
        ("The man works.", "found 0 masks; expected exactly one"),
        ("The [MASK] is a [MASK].", "found 2 masks"),
        ("the [MASK] " + "is " * 40, "44 tokens, the model reads 32"),
    ],
)
def test_a_prompt_that_does_not_fit_is_refused(
    model: LiveModel, sentence: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        model.logits_at_mask([sentence])


def test_a_model_without_a_head_is_refused_for_blanks_but_embeds(headless: Path) -> None:
    with pytest.raises(ValueError, match=r"no masked-LM head .*, so it cannot fill in a blank"):
        LiveModel(str(headless))
    assert SentenceEncoder(str(headless)).embed(["the man", "she"]).shape == (2, 16)


def test_embeddings_are_the_first_state_whatever_shares_the_batch(
    model: LiveModel, tiny: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    sentences = ["she", "the man works as a nurse .", "he is good"]
    bert = BertForMaskedLM.from_pretrained(tiny).eval()
    for sentence, row in zip(sentences, model.embed(sentences), strict=True):
        with torch.no_grad():
            state = bert.bert(**tokenizer(sentence, return_tensors="pt")).last_hidden_state[0, 0]
        np.testing.assert_allclose(row, state.numpy(), atol=SUMS)


def test_what_cannot_be_opened_is_one_line(tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "weights.bin").write_text("x")
    for target in (str(tmp_path), str(tmp_path / "weights.bin")):
        with pytest.raises(ValueError, match="cannot be loaded as a masked language model") as e:
            LiveModel(target)
        assert "\n" not in str(e.value)
    with pytest.raises(ValueError, match="no such file of stored logits"):
        open_models(str(tmp_path / "x.parquet"))


def test_a_model_is_named_after_its_run(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "run-7").mkdir()
    (tmp_path / "run-7" / "model").symlink_to(tiny)  # resolved: the folder's own name
    assert open_models(str(tiny))[0].name == tiny.name


def test_stored_answers_of_a_live_model_are_its_answers(
    model: LiveModel, tmp_path: Path, tiny: Path
) -> None:
    logits = model.logits_at_mask(PROMPTS)
    path = tmp_path / "l.parquet"
    write_logits(path, {"kept": dict(zip(PROMPTS, logits, strict=True))})
    (kept,) = open_models(str(path), vocabulary=tiny)
    assert kept.vocabulary == model.vocabulary
    np.testing.assert_array_equal(kept.logits_at_mask(PROMPTS), logits)


def test_batches_hold_every_row_once_within_their_bound() -> None:
    lengths = [3, 50, 7, 7, 1, 20, 49]
    batches = list(batches_by_length(lengths, 60))
    assert sorted(i for batch in batches for i in batch) == list(range(7))
    assert all(len(b) * max(lengths[i] for i in b) <= 60 for b in batches)
    assert list(batches_by_length([100], 60)) == [[0]]  # alone, if it must be
