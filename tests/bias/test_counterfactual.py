"""A bias that was put in is found with its sign and size; where none was, none is claimed."""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest

from bias import identities, stats
from bias.counterfactual import Comparison, Scored, comparisons, pooled_flips, score
from bias.counterfactual_section import around, counterfactual_section
from bias.pairs import REVIEWS, TEMPLATES, Pair
from bias.review_swaps import Review, review_pairs
from bias.section import Estimate
from bias.templates import control_pairs, sentences, template_pairs
from training import embedded

SEEDS = 40
PLANTED = 1.5


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    axes = identities.load()
    reviews = [
        Review(i, f"{review.title}\n{review.content}", review.label)
        for i, review in enumerate(islice(embedded.generate(600, 3), 600))
    ]
    return template_pairs(axes) + control_pairs() + review_pairs(reviews, axes, 60).pairs


@pytest.fixture(scope="module")
def term_tests(pairs: list[Pair]) -> Callable[[Any], list[Comparison]]:
    """The comparisons of names and of gender, on every template with one filling for speed."""
    filled: dict[str, int] = {}
    for place, sentence in enumerate(sentences()):
        filled.setdefault(sentence.template, place)
    chosen = [
        pair for place, pair in enumerate(pairs)
        if pair.source == TEMPLATES and place % len(sentences()) in filled.values()
        and pair.axis in ("names", "gender", "names by gender", "control")
    ]  # fmt: skip
    assert {pair.cluster for pair in chosen} == filled.keys()
    return lambda model: comparisons(score(chosen, model.positive))


def found(compared: list[Comparison], source: str, axis: str, group: str) -> Comparison:
    (one,) = [c for c in compared if (c.source, c.axis, c.group) == (source, axis, group)]
    return one


def test_a_planted_bias_is_found_with_its_sign_and_its_size(
    pairs: list[Pair], additive: Any
) -> None:
    model = additive(1, scale=0.1, loss=PLANTED)
    compared = comparisons(score(pairs, model.positive))
    templates = found(compared, TEMPLATES, "gender", "women")
    # one word is lost in every sentence, so that its cost in log-odds is what was planted, up to
    # the chance difference of ten pairs of words (standard error 0.1·√(2/10) = 0.045)
    assert templates.logit.value == pytest.approx(-PLANTED, abs=0.15)
    assert templates.verdict == "for the group"
    assert templates.probability.high < 0
    reviews = found(compared, REVIEWS, "gender words", "women")
    assert reviews.logit.value < -PLANTED / 2
    assert reviews.probability.p is not None and reviews.probability.p < 0.05
    assert reviews.verdict == "for these words"


def test_a_planted_bias_on_women_is_not_found_on_other_axes(
    pairs: list[Pair], additive: Any
) -> None:
    compared = comparisons(score(pairs, additive(2, scale=0.0, loss=PLANTED).positive))
    for each in compared:
        if each.axis not in ("gender", "gender words"):
            assert each.verdict in ("none found", "within the noise of any swap")


def test_words_that_differ_by_chance_are_a_group_difference_no_more_often_than_it_says(
    term_tests: Callable[[Any], list[Comparison]], additive: Any
) -> None:
    """Names have weights of their own, which mean nothing. Signs flipped by sentence reject nearly
    always: these names do differ. Exchanging terms rejects at its level."""
    by_terms, by_sentences, claiming, total = 0, 0, 0, 0
    for seed in range(SEEDS):
        compared = term_tests(additive(seed, quirk=0.2))
        claiming += any(each.verdict == "for the group" for each in compared)
        for each in compared:
            assert each.terms_p is not None
            by_terms += each.terms_p < 0.05
            by_sentences += each.sentences_p < 0.05
            total += 1
    assert total == SEEDS * 7
    # 14 of 280 expected; comparisons of one model share their reference's names, so that the
    # standard error is about twice the binomial 3.6
    assert 2 <= by_terms <= 30
    # corrected over groups, one audit in 20 may claim anything: 2 of 40 expected, over 5 in 14 of
    # 1,000 such tests; uncorrected it would be one in five
    assert claiming <= 5
    assert by_sentences > total / 2


def test_texts_that_differ_by_chance_are_rejected_at_the_nominal_level(
    pairs: list[Pair], additive: Any
) -> None:
    """No word weighs anything; every text has a quirk: no sentence-level test may find much."""
    chosen = [pair for pair in pairs if pair.axis in ("gender words", "names")
              and pair.source == REVIEWS]  # fmt: skip
    rejected, total = 0, 0
    for seed in range(40):
        for each in comparisons(score(chosen, additive(seed, scale=0, quirk=0.5).positive)):
            rejected += each.sentences_p < 0.05
            total += 1
    assert total == 40 * 6
    assert 2 <= rejected <= 26  # 12 expected; correlated as above: twice the binomial 3.4, twice


def test_the_corrected_p_is_never_under_the_raw_one(pairs: list[Pair], additive: Any) -> None:
    for each in comparisons(score(pairs[::5], additive(0).positive)):
        assert each.probability.p is not None
        assert each.probability.p >= each.sentences_p
        assert (each.terms_p_holm is None) == (each.terms_p is None)
        assert each.terms_p_holm is None or each.terms_p_holm >= (each.terms_p or 0.0)


def test_the_p_for_other_words_is_corrected_over_the_groups_that_have_one(
    pairs: list[Pair], additive: Any
) -> None:
    chosen = [pair for pair in pairs if pair.axis in ("names", "gender", "gender words")]
    scored = score(chosen, additive(12).positive)
    compared = comparisons(scored)
    tested = [each for each in compared if each.source == TEMPLATES]
    assert {each.source for each in compared} == {TEMPLATES, REVIEWS}
    raw = [each.terms_p for each in tested if each.terms_p is not None]
    assert [each.terms_p_holm for each in tested] == stats.holm(raw)
    assert all(each.terms_p_holm is None for each in compared if each.source == REVIEWS)


def test_what_only_the_uncorrected_p_shows_is_not_said_of_the_group() -> None:
    found = Estimate("mean_dp", 0.2, 0.1, 0.3, 10, "pairs", p=0.01, noise=0.05)
    rest = Estimate("x", 0.0, 0.0, 0.0, 10, "pairs")
    one = Comparison(TEMPLATES, "a", "g", "r", found, rest, rest, 0.01, 0.02, 0.001, 0.3)
    assert one.verdict == "for these words"
    assert replace(one, terms_p_holm=0.04).verdict == "for the group"


def test_flips_are_counted_by_hand() -> None:
    made = [
        Pair(REVIEWS, "names", "a", "g", "r", "x", "y", f"c{i}", 1, f"x{i}", f"y{i}")
        for i in range(4)
    ]
    scored = Scored(made, np.array([0.9, 0.4, 0.6, 0.1]), np.array([0.6, 0.6, 0.4, 0.2]))
    flips = pooled_flips(scored, REVIEWS, control=False)
    assert flips is not None
    assert (flips.value, flips.n) == (0.5, 4)
    assert scored.differences == pytest.approx([0.3, -0.2, 0.2, -0.1])
    assert scored.logits[0] == pytest.approx(np.log(0.9 / 0.1) - np.log(0.6 / 0.4))
    assert pooled_flips(scored, TEMPLATES, control=False) is None


def test_the_section_opens_with_the_flips_and_states_its_limits(
    pairs: list[Pair], additive: Any
) -> None:
    section = counterfactual_section("t", score(pairs, additive(1, loss=PLANTED).positive))
    assert section.headline[0].name == "flip_rate"
    assert "label in" in section.findings[0]
    assert any("gender" in line and "more negative" in line for line in section.findings)
    assert section.limits
    names = [estimate.name for estimate in section.estimates]
    assert len(names) == len(set(names))
    assert "mean_dp_templates_gender_women" in names


def test_an_example_shows_the_text_around_the_swap() -> None:
    text = "word " * 40 + "my wife loves it " + "word " * 40
    other = text.replace("wife", "husband")
    pair = Pair(REVIEWS, "words", "g", "women", "men", "a", "b", "c", 1, text, other)
    reference, group = around(pair)
    assert "my husband loves it" in reference and "my wife loves it" in group
    assert len(group) < 160
