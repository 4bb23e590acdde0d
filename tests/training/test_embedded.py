"""The embedded reviews: reproducible, balanced, hard for a bag of words, blind to people."""

import csv
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import resources
from itertools import islice

import numpy as np
import pytest
import yaml
from scipy.stats import chi2_contingency
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from training.embedded import VERSION, Review, generate, main
from training.grammar import compile_rules, expand

_DATA = resources.files("training") / "embedded_reviews"
_POLAR = ("strong", "medium", "mild", "feeling", "verb", "verb_base", "thing", "better", "grade")


@pytest.fixture(scope="module")
def reviews() -> list[Review]:
    return list(generate(4000, seed=11))


@pytest.fixture(scope="module")
def many_reviews() -> list[Review]:
    return list(generate(20_000, seed=5))


def read(name: str) -> dict:
    return yaml.safe_load((_DATA / f"{name}.yaml").read_text(encoding="utf-8"))


def polarities() -> dict[str, str]:
    """Every word or phrase of praise and of blame."""
    rules = read("words") | read("sentences")
    return {
        phrase: polarity
        for name in (*_POLAR, "deed")
        for polarity in ("pos", "neg")
        for phrase in rules[name][polarity]
    }


# -- a stream that can be had again -----------------------------------------------------------


def test_the_same_count_and_seed_give_the_same_reviews(reviews: list[Review]) -> None:
    assert list(generate(500, seed=11)) == reviews[:500]


def test_these_reviews_belong_to_this_version() -> None:
    # A change of grammar or data changes this text; then VERSION must grow, for the caches' sake.
    assert VERSION == 1
    assert next(generate(1, seed=0)) == Review(
        label=1,
        title="Quillon against Zephyrine",
        content="It is asked for every evening, and I never found the scoring wretched. "
        "My neighbour was annoyed with something else that day.",
    )


def test_reviews_come_one_at_a_time_and_a_prefix_is_independent_of_the_count(
    reviews: list[Review],
) -> None:
    endless = generate(10**12, seed=11)
    assert isinstance(endless, Iterator)
    assert list(islice(endless, 50)) == reviews[:50]


def test_different_seeds_share_practically_no_review(reviews: list[Review]) -> None:
    others = set(generate(4000, seed=12))
    assert not others & set(reviews)
    contents = {review.content for review in reviews}
    # The shortest contents, of one short sentence, may meet by chance: under one in a hundred.
    assert sum(other.content in contents for other in others) < 40


def test_hardly_a_review_repeats_another_of_its_seed(reviews: list[Review]) -> None:
    assert len(set(reviews)) >= len(reviews) - 2


def test_a_negative_count_is_refused() -> None:
    with pytest.raises(ValueError, match="count: -1 is negative"):
        generate(-1, seed=0)


# -- what a review looks like -----------------------------------------------------------------


def test_labels_are_balanced_in_expectation(many_reviews: list[Review]) -> None:
    count = len(many_reviews)
    positive = sum(review.label for review in many_reviews)
    # Five standard deviations of a fair coin: a fair generator fails once in 1.7 million seeds.
    assert abs(positive - count / 2) < 5 * (count / 4) ** 0.5


def test_lengths_are_skewed_and_within_256_word_pieces(reviews: list[Review]) -> None:
    # Words and punctuation marks, and three more pieces for each word so rare that a vocabulary
    # learnt from the reviews might break it (a slip of the keys); [CLS] and [SEP] are the last two.
    texts = [re.findall(r"\w+|[^\w\s]", f"{title} {content}") for _, title, content in reviews]
    seen = Counter(word for text in texts for word in text)
    lengths = np.array(
        [2 + len(text) + 3 * sum(seen[word] == 1 for word in text) for text in texts]
    )
    assert lengths.max() <= 256
    assert lengths.min() < 15
    assert 60 <= lengths.mean() <= 100
    assert np.median(lengths) < 0.9 * lengths.mean()


def test_nothing_is_left_unfilled_or_misspelt_by_rule(reviews: list[Review]) -> None:
    for _, title, content in reviews:
        assert title
        assert content
        assert not re.search(r"[{}_]|  |\s$|^\s| [,.;!?]", f"{title}\n{content}".replace("\n", "|"))
        # An article that does not fit its noun.
        assert not re.search(r"\b[Aa] (awful|admirable|amazing|enjoyable|impressive)\b", content)
        assert not re.search(r"\b[Aa]n (good|nice|decent|use\w+)\b", content)


# -- what makes them hard ---------------------------------------------------------------------


def accuracy(
    train: list[Review], test: list[Review], text: Callable[[Review], str], n: int
) -> float:
    """Of logistic regression on TF-IDF of 1 to n words."""
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, n), sublinear_tf=True, min_df=2),
        LogisticRegression(C=4.0, max_iter=1000),
    )
    model.fit([text(review) for review in train], [review.label for review in train])
    score: float = model.score([text(review) for review in test], [review.label for review in test])
    return score


def alternatives(phrases: list[str]) -> re.Pattern[str]:
    """Matches any of the phrases, the longest where several begin."""
    longest_first = sorted(map(re.escape, phrases), key=len, reverse=True)
    return re.compile(r"\b(?:" + "|".join(longest_first) + r")\b")


def joined(review: Review) -> str:
    return f"{review.title} . {review.content}"


def test_order_decides_and_a_bag_of_words_stays_below(reviews: list[Review]) -> None:
    """One regression, told which words praise and which blame, with and without their order.

    With 1,000 test reviews an accuracy has a standard error of 0.01; the bounds leave two or more.
    """
    test = list(generate(1000, seed=12))
    known = polarities()
    phrases = alternatives(list(known))

    def in_order(review: Review) -> str:
        return phrases.sub(lambda match: known[match[0]], joined(review).lower())

    def shuffled(review: Review) -> str:
        words = in_order(review).split()
        random.Random(joined(review)).shuffle(words)
        return " ".join(words)

    assert 0.65 < accuracy(reviews, test, joined, 2) < 0.85
    assert accuracy(reviews, test, shuffled, 4) < 0.75
    assert accuracy(reviews, test, in_order, 4) > 0.9


def test_praise_blame_and_negation_occur_under_both_labels(many_reviews: list[Review]) -> None:
    glue = ("not", "never", "nothing", "nobody", "no", "although", "but", "wrong", "right", "far")
    phrases = alternatives([*polarities(), *glue])
    counts: dict[int, Counter[str]] = {0: Counter(), 1: Counter()}
    for review in many_reviews[:8000]:
        counts[review.label].update(phrases.findall(joined(review).lower()))
    for phrase in (*polarities(), *glue):
        negative, positive = counts[0][phrase], counts[1][phrase]
        assert negative + positive >= 20, f"{phrase!r} is too rare to be learnt"
        share = positive / (negative + positive)
        assert 0.1 < share < 0.9, f"{phrase!r}: {share:.0%} of {negative + positive} are positive"


# -- who is named -----------------------------------------------------------------------------


def people() -> dict[str, list[str]]:
    """Groups of words that name people, all of them single tokens of lower case."""
    data = read("people")
    groups = {
        "she": ["she", "her"],
        "he": ["he", "him", "his"],
        "they": ["they", "them"],
    }
    for gender, entry in data["genders"].items():
        groups[f"relations, {gender}"] = entry["relations"]
        for origin, names in entry["names"].items():
            groups[f"names, {gender}, {origin}"] = [name.lower() for name in names]
    groups |= {f"occupation, {word}": [word] for word in data["occupation"]}
    return groups


def test_names_pronouns_and_occupations_are_independent_of_the_label(
    many_reviews: list[Review],
) -> None:
    words: dict[int, Counter[str]] = {0: Counter(), 1: Counter()}
    for review in many_reviews:
        # Once a review, as what repeats within one is not independent.
        words[review.label].update(set(re.findall(r"[\w-]+", review.content.lower())))
    table = np.array(
        [
            [sum(words[label][word] for word in group) for group in people().values()]
            for label in (0, 1)
        ]
    )
    assert table.min() >= 20
    # Generators without a bias fail once in a thousand seeds; this one is fixed.
    assert chi2_contingency(table).pvalue > 0.001


def test_women_and_men_are_named_equally_often(many_reviews: list[Review]) -> None:
    content = " ".join(review.content.lower() for review in many_reviews)
    she, he = (len(re.findall(rf"\b{word}\b", content)) for word in ("she", "he"))
    assert abs(she - he) < 5 * (she + he) ** 0.5


# -- the grammar itself -----------------------------------------------------------------------


def meanings(rules: dict, polarity: int, scene: tuple[str, ...] = ()) -> set[str]:
    compiled = compile_rules(rules, scene)
    source = random.Random(0)
    return {
        expand(compiled["start"], polarity, source.random, lambda name, p: f"<{name}{p}>", set())
        for _ in range(200)
    }


def test_signs_keep_turn_and_draw_the_polarity() -> None:
    word = {"pos": ["good"], "neg": ["bad"]}
    assert meanings({"start": ["not {-word}"], "word": word}, 1) == {"not bad"}
    assert meanings({"start": ["not {-word}"], "word": word}, 0) == {"not good"}
    assert meanings({"start": ["{+Word}"], "word": word}, 0) == {"Bad"}
    assert meanings({"start": ["{?word}"], "word": word}, 0) == {"bad", "good"}
    nested = {"start": ["{-clause}"], "clause": ["not {-word}, {x}"], "word": word}
    assert meanings(nested, 1, scene=("x",)) == {"not good, <x0>"}


def test_a_rule_marked_once_does_not_repeat_itself() -> None:
    rules = compile_rules({"start": {"once": True, "both": ["a", "b"]}}, ())
    source = random.Random(1)
    pairs = set()
    for _ in range(50):
        used: set[int] = set()
        said = [expand(rules["start"], 1, source.random, lambda *_: "", used) for _ in range(2)]
        pairs.add(tuple(said))
    # It gives up after a few tries, so a repetition stays possible; here chance has not insisted.
    assert {("a", "b"), ("b", "a")} <= pairs


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"start": ["{nobody}"]}, r"rule start: nothing fills \{nobody\}"),
        ({"start": {"pos": ["good"]}}, "rule start: no alternative for one of the polarities"),
        ({"start": {"both": {"good": 0}}}, "rule start: weight 0 of 'good'"),
        ({"start": {"positive": ["good"]}}, "rule start: 'positive' is none of both, pos, neg"),
    ],
)
def test_a_mistake_in_the_data_is_named(rules: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compile_rules(rules, ())


# -- the command ------------------------------------------------------------------------------


def test_the_command_writes_what_generate_gives(tmp_path) -> None:
    path = tmp_path / "reviews.csv"
    main(["--count", "20", "--seed", "9", "--output", str(path)])
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    written = [Review(int(row["label"]), row["title"], row["content"]) for row in rows]
    assert written == list(generate(20, seed=9))


def test_the_command_prints_samples(capsys) -> None:
    main(["--count", "2", "--seed", "9"])
    printed = capsys.readouterr().out
    for review in generate(2, seed=9):
        assert review.content in printed


def test_the_command_names_a_mistake(capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--count", "-3"])
    assert stopped.value.code == 2
    assert "--count: -3 is negative" in capsys.readouterr().err
    assert main(["--count", "1", "--output", "/nowhere/at/all.csv"]) == 2
    assert "/nowhere/at/all.csv" in capsys.readouterr().err
