"""Tokenizers: BERT's own from the hub or a folder, or a WordPiece trained on the reviews.

All have [PAD] at id 0, because the models' embeddings and the batches pad with 0.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import chain, islice
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from training.hub import fetch

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_PADDING_NAMES = ("[PAD]", "<pad>")
_UNKNOWN_NAMES = ("[UNK]", "<unk>")
_MAX_ALPHABET = 1000  # as in BERT's own training; rarer characters become [UNK]
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")

Texts = Callable[[], Iterable[list[str]]]
"""Gives the training texts in stretches, afresh at each call."""


def load_tokenizer(
    name_or_folder: str | None, texts: Texts | None = None, vocabulary_size: int = 8000
) -> Tokenizer:
    """Read `tokenizer.json` from a folder, or from the hub by name; None trains on `texts`.

    Truncation and padding that the file may ask for are switched off: both are decided here.

    Raises:
        ValueError: not found, not a tokenizer, or one whose padding is not id 0; one line.
    """
    if name_or_folder is None:
        if texts is None:
            raise ValueError("tokenizer=None trains one on the reviews and needs their texts")
        return train_wordpiece(texts, vocabulary_size)
    path = Path(name_or_folder).expanduser()
    if path.is_dir():
        path = path / "tokenizer.json"
    if not path.is_file():
        path = _download(name_or_folder, path)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust side raises plain Exception
        reason = " ".join(str(error).split())
        raise ValueError(f"tokenizer {path}: not a tokenizer.json ({reason})") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    _check_padding(tokenizer, str(path))
    return tokenizer


def train_wordpiece(texts: Texts, vocabulary_size: int) -> Tokenizer:
    """WordPiece (Wu et al. 2016) with BERT's uncased normaliser, its pre-tokeniser and [CLS] [SEP].

    The same texts give the same vocabulary, byte for byte. The library alone does not: it numbers
    the alphabet in the order of a randomly seeded hash map, and ties between merges go by those
    numbers. So the alphabet is counted first and handed over in a fixed order.
    """
    alphabet = _alphabet(texts, min(_MAX_ALPHABET, (vocabulary_size - len(SPECIAL_TOKENS)) // 4))
    continuing = [f"##{character}" for character in alphabet]
    learner = _blank({})
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary_size,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        special_tokens=[*SPECIAL_TOKENS, *alphabet, *continuing],
        show_progress=False,
    )
    # one by one: the library reads 256 items ahead, which may not be 256 stretches
    learner.train_from_iterator(chain.from_iterable(texts()), trainer)
    # made anew of the bare vocabulary, in which the alphabet is no longer special
    return _blank(learner.get_vocab())


def unknown_id(tokenizer: Tokenizer) -> int | None:
    """The id of [UNK], where the tokenizer has one."""
    ids = (tokenizer.token_to_id(name) for name in _UNKNOWN_NAMES)
    return next((token_id for token_id in ids if token_id is not None), None)


def _blank(vocabulary: dict[str, int]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if vocabulary:
        tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
        cls, sep = vocabulary["[CLS]"], vocabulary["[SEP]"]
        tokenizer.post_processor = processors.BertProcessing(("[SEP]", sep), ("[CLS]", cls))
    return tokenizer


def _alphabet(texts: Texts, size: int) -> list[str]:
    """The `size` most frequent characters after normalising, in the order of their code points."""
    normalizer = normalizers.BertNormalizer(lowercase=True)
    counts: Counter[str] = Counter()
    for stretch in texts():
        counts.update(normalizer.normalize_str("\n".join(stretch)))
    visible = (entry for entry in counts.items() if not entry[0].isspace())
    ranked = sorted(visible, key=lambda entry: (-entry[1], entry[0]))
    return sorted(character for character, _ in islice(ranked, size))


def _download(name: str, path: Path) -> Path:
    if path.parent.is_dir() and path.name == "tokenizer.json" and path != Path(name):
        raise ValueError(f"tokenizer {name}: the folder holds no tokenizer.json")
    if not _HUB_NAME.fullmatch(name) or name.startswith("."):
        raise ValueError(
            f"tokenizer {name}: no such folder; give a folder with tokenizer.json, or a hub name "
            "such as google-bert/bert-base-uncased"
        )
    return fetch(name, "tokenizer.json", f"tokenizer {name}: no such folder",
                 "give a folder with tokenizer.json, or leave it out to train one on the reviews"
                 )  # fmt: skip


def _check_padding(tokenizer: Tokenizer, where: str) -> None:
    found = {name: tokenizer.token_to_id(name) for name in _PADDING_NAMES}
    ids = {name: token_id for name, token_id in found.items() if token_id is not None}
    if 0 not in ids.values():
        given = ", ".join(f"{name} = {token_id}" for name, token_id in ids.items()) or "no [PAD]"
        raise ValueError(f"tokenizer {where}: found {given}; expected [PAD] at id 0")
