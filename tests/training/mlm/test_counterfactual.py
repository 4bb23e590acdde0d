"""Counterfactual texts: the right words, the right pronouns, the capitals; and back again."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.mlm.counterfactual import read_swaps

OURS = read_swaps()


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("She gave her book to him.", "He gave his book to her."),
        ("I saw her.", "I saw him."),
        ("I told her that it was his.", "I told him that it was hers."),
        ("It belongs to her and not him.", "It belongs to him and not her."),
        ("HER car, Her car", "HIS car, His car"),
        ("Mr. Smith and Mrs. Jones", "Mrs. Smith and Mr. Jones"),
        ("My mother's friend is a waitress.", "My father's friend is a waiter."),
        ("The king. The heroes!", "The queen. The heroines!"),
        ("Emily and James met their theory.", "Emily and James met their theory."),
        ("", ""),
    ],
)
def test_words_become_their_counterparts(text: str, other: str) -> None:
    assert OURS.apply(text) == other


@given(
    st.lists(
        st.sampled_from(
            ["he", "she", "man", "women", "daughter", "Dad", "the", "runs", "works", "."]
        ),
        max_size=12,
    )
)
def test_swapping_twice_gives_back_the_text(words: list[str]) -> None:
    text = " ".join(words)
    assert OURS.apply(OURS.apply(text)) == text


def test_every_listed_word_has_a_way_back() -> None:
    assert all(other == "her" or other in OURS.words for other in OURS.words.values())
    assert not {"god", "host", "count"} & set(OURS.words)  # mostly said of no man


def test_the_published_list_is_read_as_it_is(shared_data: Path) -> None:
    path = shared_data / "bias" / "generalized_swaps.txt"
    swaps = read_swaps(path)
    assert swaps.apply("Mr. Fox, the chairman, saw his wife.") == (
        "Mrs. Fox, the chairwoman, saw her husband."
    )
    assert swaps.apply("He met the gentleman.") == "She met the lady."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no pairs"),
        ("she he\n", r"line 1 is 'she he'; expected word<TAB>other"),
        ("she\the\nman\t\n", "line 2"),
    ],
)
def test_a_bad_list_is_one_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "swaps.txt").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_swaps(tmp_path / "swaps.txt")
    with pytest.raises(FileNotFoundError, match="--swaps"):
        read_swaps(tmp_path / "none.txt")
