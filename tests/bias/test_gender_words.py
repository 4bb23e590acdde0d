"""Gendered words: cases by hand, and the ambiguous pronouns on text whose pronouns are known."""

import re
from pathlib import Path

import pyarrow.parquet
import pytest

from bias.gender_words import FEMININE, MASCULINE, reading, swapped


@pytest.mark.parametrize(
    ("feminine", "masculine"),
    [
        ("She gave her book to her.", "He gave his book to him."),
        ("I saw her and her sister.", "I saw him and his brother."),
        ("HER MOTHER CALLED", "HIS FATHER CALLED"),
        ("It is hers.", "It is his."),
        ("She's late; she'll come.", "He's late; he'll come."),
        ("The woman's hat, my wife’s hat", "The man's hat, my husband’s hat"),
        ("They asked her, not me", "They asked him, not me"),
        ("Her acting herself tired", "His acting himself tired"),
        ('her "friend" came', 'his "friend" came'),
    ],
)
def test_words_are_turned_to_their_counterparts_and_back(feminine: str, masculine: str) -> None:
    assert swapped(feminine, MASCULINE) == masculine
    assert swapped(masculine, FEMININE) == feminine


def test_a_text_of_the_wanted_gender_stays_as_it_is() -> None:
    text = "She told her sister that the book was hers."
    assert swapped(text, FEMININE) == text
    assert swapped("SHe used two.", FEMININE) == "SHe used two."  # as somebody did write


def test_words_within_others_stay() -> None:
    text = "The Spider-man manual, this chapter, there, boyish human heroism"
    assert swapped(text, FEMININE) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("A fine lamp.", "no gendered word"),
        ("My husband and his sister like it.", "both genders"),
        ("That guy told his wife.", "a word without a counterpart"),
        ("I saw Iron Man and he was good.", "a gendered word within a name or title"),
    ],
)
def test_what_has_no_counterpart_says_why(text: str, reason: str) -> None:
    assert reading(text).gender is None
    assert reading(text).reason == reason


def test_a_text_of_one_gender_says_which() -> None:
    assert reading("Her mother liked it.").gender == FEMININE
    assert reading("The man liked it.").gender == MASCULINE


def test_her_becomes_his_or_him_rightly_19_times_in_20_on_real_reviews(shared_data: Path) -> None:
    """Reviews about men hold the truth: turned to feminine, every his and him becomes her; turned
    back, the rule has to tell them apart. The share is 96.0% (5,668 of 5,744 his, 1,286 of 1,499
    him) where the lists were not made: they come from the unlabelled reviews."""
    file = shared_data / "imdb" / "test-00000-of-00001.parquet"
    texts = pyarrow.parquet.read_table(file, columns=["content"])["content"].to_pylist()
    pronoun = re.compile(r"(?<![\w-])(his|him)(?![\w-])", re.IGNORECASE)
    right = total = 0
    for text in texts[::8]:
        if reading(text).gender == MASCULINE:
            back = swapped(swapped(text, FEMININE), MASCULINE)
            truth = [match[0].lower() for match in pronoun.finditer(text)]
            guessed = [match[0].lower() for match in pronoun.finditer(back)]
            right += sum(a == b for a, b in zip(truth, guessed, strict=True))
            total += len(truth)
    assert total > 500
    assert right / total > 0.94  # 0.960 ± 0.013, two standard errors of 900 pronouns
