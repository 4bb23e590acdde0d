"""Tokenizers: trained ones that repeat, loaded ones that are checked."""

import json
import subprocess
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from tokenizers import Tokenizer, models
from transformers import BertTokenizerFast

from training import embedded, hub
from training.tokenization import load_tokenizer, train_wordpiece


def _texts(count: int = 300) -> Iterable[list[str]]:
    texts = [review.content for review in embedded.generate(count, 3)]
    return [texts[:100], texts[100:]]


@pytest.fixture(scope="module")
def trained() -> Tokenizer:
    return train_wordpiece(_texts, 700)


def test_a_trained_tokenizer_has_berts_special_tokens(trained: Tokenizer) -> None:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert [trained.token_to_id(token) for token in special] == [0, 1, 2, 3, 4]
    assert trained.get_vocab_size() == 700
    assert sorted(trained.get_vocab().values()) == list(range(700))
    ids = trained.encode("[MASK] it").ids
    assert (ids[0], ids[1], ids[-1]) == (2, 4, 3)
    assert trained.encode("").tokens == ["[CLS]", "[SEP]"]
    assert trained.encode("ÀÉ", add_special_tokens=False).ids == trained.encode(
        "ae", add_special_tokens=False
    ).ids  # fmt: skip


def test_a_trained_tokenizer_takes_the_longest_piece_first(trained: Tokenizer) -> None:
    """Against the algorithm as written down: Wu et al. 2016, section 4.1, greedy left to right."""
    vocabulary = trained.get_vocab()

    def pieces(word: str) -> list[str]:
        found: list[str] = []
        while word:
            prefix = "##" if found else ""
            ends = range(len(word), 0, -1)
            end = next((e for e in ends if prefix + word[:e] in vocabulary), None)
            if end is None:
                return ["[UNK]"]
            found.append(prefix + word[:end])
            word = word[end:]
        return found

    words = sorted({w.lower() for t in _texts() for r in t for w in r.split() if w.isascii()})
    words = [word for word in words if word.isalpha()]
    assert len(words) > 300
    for word in words:
        assert trained.encode(word, add_special_tokens=False).tokens == pieces(word), word


def test_training_repeats_in_another_process(trained: Tokenizer) -> None:
    """The library's own trainer numbers the alphabet by a randomly seeded hash map."""
    code = (
        "import json, sys; from training.tokenization import train_wordpiece;"
        "texts = json.load(sys.stdin); print(train_wordpiece(lambda: texts, 700).to_str())"
    )
    texts = json.dumps(list(_texts()))
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, input=texts, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == json.loads(trained.to_str())


def test_a_small_vocabulary_keeps_the_frequent_characters() -> None:
    tokenizer = train_wordpiece(lambda: [["abab ab é" * 50 + "q"]], 23)
    assert tokenizer.get_vocab_size() <= 23
    assert tokenizer.encode("ab", add_special_tokens=False).tokens == ["ab"]


def test_a_folder_gives_its_tokenizer_without_truncation_or_padding(
    tmp_path: Path, trained: Tokenizer
) -> None:
    changed = Tokenizer.from_str(trained.to_str())
    changed.enable_truncation(4)
    changed.enable_padding(length=8)
    changed.save(str(tmp_path / "tokenizer.json"))
    for given in (tmp_path, tmp_path / "tokenizer.json"):
        assert load_tokenizer(str(given)).to_str() == trained.to_str()


def test_padding_that_is_not_zero_is_refused(tmp_path: Path) -> None:
    for vocabulary, found in (({"a": 0, "[PAD]": 1}, r"\[PAD\] = 1"), ({"a": 0}, r"no \[PAD\]")):
        path = tmp_path / "tokenizer.json"
        Tokenizer(models.WordPiece(vocabulary, unk_token="a")).save(str(path))
        with pytest.raises(ValueError, match=rf"found {found}; expected \[PAD\] at id 0"):
            load_tokenizer(str(path))


def test_what_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no tokenizer\.json"):
        load_tokenizer(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match=r"not a tokenizer\.json"):
        load_tokenizer(str(tmp_path))
    with pytest.raises(ValueError, match="no such folder; give a folder"):
        load_tokenizer("./no/such/place")
    with pytest.raises(ValueError, match="needs their texts"):
        load_tokenizer(None)


@pytest.mark.parametrize(("answers", "why"), [(True, "no route"), (False, "does not answer")])
def test_a_hub_name_is_fetched_or_fails_in_one_line(
    answers: bool, why: str, tmp_path: Path, trained: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained.save(str(tmp_path / "tokenizer.json"))
    stored = {("owner/bert", "tokenizer.json"): str(tmp_path / "tokenizer.json")}

    def download(name: str, file: str, *, local_files_only: bool) -> Any:
        assert local_files_only != answers  # the hub's own cache is asked in any case
        if (name, file) not in stored:
            raise ConnectionError("no\nroute")
        return stored[name, file]

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(hub, "hub_answers", lambda: answers)
    assert load_tokenizer("owner/bert").to_str() == trained.to_str()
    with pytest.raises(ValueError, match=f"owner/other: no such folder.*{why}.*train one"):
        load_tokenizer("owner/other")


def test_bert_from_a_folder_gives_what_transformers_gives(shared_data: Path) -> None:
    folder = shared_data / "bert-base-uncased"
    ours, theirs = load_tokenizer(str(folder)), BertTokenizerFast.from_pretrained(folder)
    texts = ["Unbelievable — it's café-quality!\nNever again :(", "", "x" * 300, "中文 ok"]
    encode = partial(theirs, truncation=True, max_length=64)
    ours.enable_truncation(64)
    assert [e.ids for e in ours.encode_batch(texts)] == encode(texts)["input_ids"]
