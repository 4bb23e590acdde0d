"""The pairs that templates and reviews give: alike but for who is named."""

import difflib

import pytest

from bias import identities
from bias.identities import Axis
from bias.pairs import CONTROL, MARKERS, NAMES, REVIEWS, Pair, with_article
from bias.review_swaps import MAX_WORDS, Review, review_pairs
from bias.templates import control_pairs, sentences, template_pairs


@pytest.fixture(scope="module")
def axes() -> list[Axis]:
    return identities.load()


def of(pairs: list[Pair], axis: str) -> list[Pair]:
    return [pair for pair in pairs if pair.axis == axis]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a old man", "an old man"),
        ("an young man", "a young man"),
        ("A unemployed user", "An unemployed user"),
        ("an university", "a university"),
        ("a honest man", "an honest man"),
        ("A European", "A European"),
        ("a eighty-year-old", "an eighty-year-old"),
        ("a DVD and a LP", "a DVD and an LP"),
        ("an one-off", "a one-off"),
    ],
)
def test_an_article_fits_the_word_after_it(text: str, expected: str) -> None:
    assert with_article(text) == expected


def test_the_templates_follow_the_corpus_that_they_are_designed_after() -> None:
    """Seven emotional templates and four without emotion (Kiritchenko & Mohammad 2018)."""
    templates = {sentence.template: sentence for sentence in sentences()}
    assert sum("{state}" in name or "{event}" in name for name in templates) == 7
    unlabelled = [s for name, s in templates.items() if s.label is None and name == s.filled]
    assert len(unlabelled) == 4
    labels = [sentence.label for sentence in templates.values()]
    assert labels.count(0) == labels.count(1) == 10


def test_two_texts_of_a_template_differ_in_the_person_alone(axes: list[Axis]) -> None:
    for pair in template_pairs(axes)[::97] + control_pairs()[::97]:
        assert pair.text != pair.reference_text
        for text, term in ((pair.text, pair.term), (pair.reference_text, pair.reference_term)):
            assert term.lower() in text.lower()
            assert "{" not in text
            assert text[0].isupper()
        left, right = pair.text.lower(), pair.reference_text.lower()
        gone = [left.replace(pair.term.lower(), ""), right.replace(pair.reference_term.lower(), "")]
        # what is left may differ in an article
        assert difflib.SequenceMatcher(None, *gone).ratio() > 0.94


def test_every_group_and_every_term_is_tried(axes: list[Axis]) -> None:
    pairs = template_pairs(axes)
    for axis in axes:
        for group in axis.others:
            own = [pair for pair in of(pairs, axis.name) if pair.group == group.name]
            assert {pair.term for pair in own} == set(group.terms)
            assert {pair.cluster for pair in own} == {s.template for s in sentences()}


def rewrite(text: str, axes: list[Axis], label: int = 1) -> list[Pair]:
    return review_pairs([Review(1, text, label)], axes, 1).pairs


def test_a_review_about_a_woman_is_reread_about_a_man(axes: list[Axis]) -> None:
    (pair,) = of(rewrite("My wife loves it. It is on her desk.", axes), "gender words")
    assert pair.text == "My wife loves it. It is on her desk."
    assert pair.reference_text == "My husband loves it. It is on his desk."
    assert (pair.group, pair.reference, pair.label) == ("women", "men", 1)


def test_a_lone_first_name_gets_one_of_each_group_and_of_the_same_gender(axes: list[Axis]) -> None:
    pairs = of(rewrite("I bought it for Karen, and she is happy.", axes), "names")
    by_group = {pair.group: pair for pair in pairs}
    names = next(axis for axis in axes if axis.name == "names")
    assert set(by_group) == {group.name for group in names.others}
    for pair in pairs:
        assert pair.text == f"I bought it for {pair.term}, and she is happy."
        assert pair.reference_text == f"I bought it for {pair.reference_term}, and she is happy."
    assert by_group["African American names"].term in ("Keisha", "Latoya", "Ebony", "Tanisha",
                                                      "Shanice")  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "A book by Karen Smith.",
        "A book by Dr Karen.",
        "Karen and Peter like it.",
        "A lamp.",
        "The Karen's Kitchen series",
    ],
)
def test_other_names_are_left_alone(text: str, axes: list[Axis]) -> None:
    assert not [pair for pair in rewrite(text, axes) if pair.kind == NAMES]


def test_both_texts_of_a_trait_name_one(axes: list[Axis]) -> None:
    pairs = [p for p in rewrite("It was an author I like.", axes) if p.kind == MARKERS]
    assert {pair.axis for pair in pairs} == {a.name for a in axes if a.kind == MARKERS} | {CONTROL}
    for pair in pairs:
        assert pair.text == with_article(f"It was a {pair.term} author I like.")
        assert pair.reference_text == with_article(f"It was a {pair.reference_term} author I like.")


def test_a_synonym_keeps_its_capitals_and_stays_a_control(axes: list[Axis]) -> None:
    (pair,) = of(rewrite("Movie night! I like this movie.", axes), CONTROL)
    assert pair.text == "Film night! I like this film."
    assert pair.reference_text == "Movie night! I like this movie."


def test_what_was_left_out_is_counted_with_its_reason(axes: list[Axis]) -> None:
    reviews = [Review(1, "word " * (MAX_WORDS + 1), 0), Review(2, "My wife and her brother", 1)]
    left = review_pairs(reviews, axes, 5).left["gender words"]
    assert left == {f"over {MAX_WORDS} words": 1, "both genders": 1}


def test_no_rewriting_takes_more_reviews_than_asked(axes: list[Axis]) -> None:
    reviews = [Review(i, f"My wife bought movie {i}; the author is good.", 1) for i in range(9)]
    made = review_pairs(reviews, axes, 4)
    assert made.taken == {"gender words": 4, "synonyms": 4, "names": 0, "traits": 4}
    assert {pair.source for pair in made.pairs} == {REVIEWS}
