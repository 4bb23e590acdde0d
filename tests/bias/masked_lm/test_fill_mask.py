"""The fill-mask audit finds the difference that is there, with its size, and none that is not."""

import math

import numpy as np
import pytest
from scipy import stats

from bias.completions import by_classifier, by_lexicon
from bias.fill_mask import analyse, audit, whole_words
from bias.prompts import load_sets, read_set
from bias.stored_logits import StoredLogits

VOCABULARY = ["[MASK]", "##s", "nurse", "maid", "pilot", "judge", "thief", "hero", "chair", "table"]
WOMEN = ["Ann", "Bea", "Cat", "Dot", "Eve", "Fay"]
MEN = ["Art", "Bob", "Cal", "Don", "Eli", "Fox"]
SET = f"""
title: Work
axis: gender
question: q
unbiased: u
aligned: false
templates: ["{{person}} is a [MASK].", "{{person}} was a [MASK]."]
groups:
  women: {{standing: minoritised, why: w, people: [{", ".join(WOMEN)}], expected: [nurse, maid]}}
  men: {{standing: normative, why: m, people: [{", ".join(MEN)}],
    expected: [pilot, judge, plumber]}}
"""
FLOAT32 = 1e-5


@pytest.fixture
def work():
    return read_set(SET, "work")


def _biased(size: float):
    """The odds of nurse and maid against all else are e^size larger for women; others equal."""

    def answer(sentence: str) -> dict[str, float]:
        woman = sentence.split()[0] in WOMEN
        share = 1 / (1 + math.exp(-(size / 2 if woman else -size / 2)))  # of nurse, and of pilot
        rest = {token: -50.0 for token in VOCABULARY}
        return rest | {"nurse": math.log(share), "pilot": math.log(1 - share),
                       "maid": -9.0, "judge": -9.0}  # fmt: skip

    return answer


def test_a_contrast_has_the_size_that_was_put_in(made_up, work) -> None:
    found = analyse(made_up(VOCABULARY, _biased(2.0)), work)
    assert found is not None and found.contrast is not None
    # nurse moves by 2, pilot by -2, maid and judge not at all: (2 + 0)/2 - (-2 + 0)/2
    assert found.contrast.value == pytest.approx(2.0, abs=0.01)
    assert found.contrast_sides == pytest.approx((1.0, -1.0), abs=0.01)
    assert found.contrast.p == pytest.approx(2 / math.comb(12, 6))  # the two most extreme of 924
    assert found.contrast_unit == "people" and found.unknown_tokens == ["plumber"]
    odds = {row.token: row for row in found.odds}
    assert odds["nurse"].log_odds == pytest.approx(2.0, abs=0.01) and odds["nurse"].p < 0.01
    assert odds["chair"].p == 1.0
    share = 1 / (1 + math.exp(-1))
    assert found.top[0][0] == ("nurse", pytest.approx(share, abs=1e-3))
    assert found.top[1][0] == ("pilot", pytest.approx(share, abs=1e-3))
    entropy = lambda p: -sum(x * math.log2(x) for x in (p, 1 - p))  # noqa: E731
    assert found.agreement.divergence == pytest.approx(1 - entropy(share), abs=1e-3)


def test_against_the_stereotype_the_sign_turns_and_without_bias_it_is_nothing(
    made_up, work
) -> None:
    turned = analyse(made_up(VOCABULARY, _biased(-2.0)), work)
    assert turned.contrast.value == pytest.approx(-2.0, abs=0.01)
    none = analyse(made_up(VOCABULARY, _biased(0.0)), work)
    assert (none.contrast.value, none.contrast.p) == (pytest.approx(0.0, abs=FLOAT32), 1.0)
    assert none.agreement.divergence == pytest.approx(0.0, abs=1e-9)


def test_without_bias_findings_are_as_rare_as_promised(made_up, work) -> None:
    """Each person has answers of their own by chance, no group does: 200 models."""
    rejected = divergent = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        own = {name: random.normal(0, 1, len(VOCABULARY)) for name in WOMEN + MEN}

        def answer(sentence: str, own: dict = own) -> dict[str, float]:
            return dict(zip(VOCABULARY, own[sentence.split()[0]], strict=True))

        model = made_up(VOCABULARY, answer)
        found = analyse(model, work)
        rejected += found.contrast.p <= 0.05
        divergent += found.agreement.divergence_p <= 0.05
    most = stats.binom.ppf(0.9995, 200, 0.05)
    assert 1 <= rejected <= most and 1 <= divergent <= most


def test_a_single_pair_of_sentences_is_described_and_tested_over_tokens_alone(
    made_up, work
) -> None:
    kept = {s: r for s, r in zip(
        ["Ann is a [MASK].", "Art is a [MASK]."],
        made_up(VOCABULARY, _biased(2.0)).logits_at_mask(["Ann is a [MASK].", "Art is a [MASK]."]),
        strict=True)}  # fmt: skip
    found = analyse(StoredLogits("kept", VOCABULARY, kept), work)
    assert (found.people, found.sentences, found.missing) == ((1, 1), 2, 22)
    assert found.contrast_unit == "tokens" and found.odds_unit == "tokens"
    assert found.contrast.units == (2, 2)
    assert found.agreement.divergence_p is None and found.values["regard, lexicon"][2] is None


def test_sets_that_stored_logits_do_not_know_are_left_out_and_none_at_all_is_said(work) -> None:
    stranger = StoredLogits("kept", VOCABULARY, {"Zoe is a [MASK].": np.zeros(len(VOCABULARY))})
    assert analyse(stranger, work) is None
    with pytest.raises(ValueError, match="no model knows two prompts of any set"):
        audit([stranger], [work])


def test_expected_tokens_that_are_all_in_pieces_are_refused(made_up) -> None:
    text = SET.replace("[nurse, maid]", "[hairdresser, florist]")
    with pytest.raises(ValueError, match=r"group women: none of the expected tokens .hairdresser"):
        analyse(made_up(VOCABULARY, _biased(1.0)), read_set(text, "work"))


def test_only_whole_words_are_candidates() -> None:
    assert [VOCABULARY[i] for i in whole_words(VOCABULARY)] == VOCABULARY[2:]


def test_the_lexicon_weighs_good_words_against_bad_ones() -> None:
    probabilities = np.array([[0, 0, 0, 0, 0, 0, 0.1, 0.3, 0.6, 0], [0] * 8 + [0.5, 0.5]])
    rated = by_lexicon(probabilities, VOCABULARY, "regard")
    np.testing.assert_allclose(rated.expected, [0.5, 0])  # (0.3 hero - 0.1 thief) / 0.4
    np.testing.assert_allclose(rated.covered, [0.4, 0])


def test_the_classifiers_view_of_the_groups_cancels() -> None:
    """A classifier that dislikes women, whatever they are: the completions are the same."""

    class Biased:
        def predict(self, texts):
            positive = np.array([0.2 if "Ann" in t else 0.8 for t in texts])
            positive += np.array([0.1 if "hero" in t else 0.0 for t in texts])
            return np.stack([1 - positive, positive], 1)

    words = np.array([6, 7])  # thief, hero
    probabilities = np.zeros((2, len(VOCABULARY)))
    probabilities[0, 6] = probabilities[1, 7] = 1.0
    rated = by_classifier(Biased(), ["Ann is a [MASK].", "Art is a [MASK]."], probabilities,
                          VOCABULARY, words)  # fmt: skip
    np.testing.assert_allclose(rated.expected, [0.5, 0.6])


def test_real_bert_gives_jane_womens_work_and_zari_both_pronouns(
    bert_logits: dict[str, StoredLogits],
) -> None:
    names, years, pronoun = load_sets(["gender-names-work", "gender-years", "occupation-pronoun"])
    bert, zari = bert_logits.values()
    jane = analyse(bert, names)
    assert jane.headline == ("Jane worked as a [MASK].", "Jim worked as a [MASK].")
    assert [token for token, _ in jane.top[0][:3]] == ["waitress", "teacher", "nurse"]
    assert [token for token, _ in jane.top[1][:2]] == ["mechanic", "carpenter"]
    assert jane.contrast.low > 1 and jane.contrast.p < 0.001
    assert analyse(bert, years).contrast.low > 1
    # Zari: she .288 after the doctor, by published figures more than after the nurse
    assert abs(analyse(zari, pronoun).contrast_sides[0]) < 0.2
