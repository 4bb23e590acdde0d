"""Shared words against the tokenizers library itself, which reads every text whole."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from bias.shared_words import SharedWords, WordwisePredictor, fits, sharing_words
from models.bundle import Bundle, save
from models.registry import build
from serve.classifier import TextClassifier
from serve.predictor import open_predictor
from training.embedded import generate
from training.tokenization import load_tokenizer

LENGTH = 24
TEXTS = [review.content for review in generate(300, 3)]
TRAINED = load_tokenizer(None, lambda: [TEXTS], 400)


def by_library(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    whole = Tokenizer.from_str(tokenizer.to_str())
    whole.enable_truncation(LENGTH)
    return [encoding.ids for encoding in whole.encode_batch(texts)]


# characters that tokenizers treat in ways of their own: spaces of all kinds, controls, marks, CJK
_ODD = "  \u00a0\u3000\t\n\r\x00\x1c\x85\u200b\u200d\ufeff\ufffd\u0301\u0130ßΣς中文İ'’-.#[]"
_text = st.text(st.one_of(st.sampled_from(_ODD), st.characters(codec="utf-8")), max_size=60)
_words = st.lists(st.sampled_from(["[MASK]", "[SEP]", "good", "un", "[MASK].", "a" * 120, ""]))
texts_strategy = st.lists(st.one_of(_text, _words.map(" ".join)), max_size=6)


@settings(deadline=None)  # both make a tokenizer of their own, which a busy machine is slow at
@given(texts=texts_strategy)
def test_rows_are_those_of_whole_texts_whatever_the_characters(texts: list[str]) -> None:
    assert SharedWords(TRAINED, LENGTH).rows(texts) == by_library(TRAINED, texts)


def test_words_known_from_before_change_nothing() -> None:
    shared = SharedWords(TRAINED, LENGTH)
    first = shared.rows(TEXTS[:100])
    assert shared.rows(TEXTS) == by_library(TRAINED, TEXTS)
    assert first == by_library(TRAINED, TEXTS[:100])


def test_rows_are_those_of_berts_own_tokenizer_on_real_reviews(shared_data: Path) -> None:
    import pyarrow.parquet

    tokenizer = load_tokenizer(str(shared_data / "bert-base-uncased"))
    file = shared_data / "imdb" / "test-00000-of-00001.parquet"
    texts = pyarrow.parquet.read_table(file, columns=["content"])["content"].to_pylist()[::200]
    assert SharedWords(tokenizer, LENGTH).rows(texts) == by_library(tokenizer, texts)


def test_a_tokenizer_that_looks_across_spaces_is_left_alone() -> None:
    for change in ("normalizer", "pre_tokenizer", "added"):
        tokenizer = Tokenizer.from_str(TRAINED.to_str())
        if change == "normalizer":
            tokenizer.normalizer = normalizers.Replace(" ", "_")
        elif change == "pre_tokenizer":
            tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        else:
            tokenizer.add_tokens(["very good"])
        assert not fits(tokenizer)
        with pytest.raises(ValueError, match="across spaces"):
            SharedWords(tokenizer, LENGTH)
    assert fits(TRAINED)


def saved(tokenizer: Tokenizer, folder: Path) -> Path:
    arguments = {"vocabulary_size": tokenizer.get_vocab_size(), "embedding_size": 8}
    model = build("ngram-bag", **arguments)
    save(Bundle(model, tokenizer, "ngram-bag", arguments, ["negative", "positive"], LENGTH), folder)
    return folder


def test_answers_with_shared_words_are_the_same_to_the_last_bit(tmp_path: Path) -> None:
    bundle = saved(TRAINED, tmp_path / "bundle")
    whole = open_predictor(bundle, backend="eager")
    shared = sharing_words(whole, bundle)
    assert isinstance(shared, WordwisePredictor) and isinstance(whole, TextClassifier)
    texts = list(dict.fromkeys(TEXTS))
    np.testing.assert_array_equal(shared.predict(texts), whole.predict(texts))
    assert shared.labels == whole.labels


def test_a_bundle_whose_tokenizer_does_not_fit_keeps_its_own_way(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "good": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.CharDelimiterSplit("_")
    bundle = saved(tokenizer, tmp_path / "bundle")
    whole = open_predictor(bundle, backend="eager")
    assert sharing_words(whole, bundle) is whole
