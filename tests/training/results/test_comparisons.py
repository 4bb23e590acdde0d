"""Who is compared with whom, on which rows, and what is made of it."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from training.config import experiment_names
from training.results.answers import what_follows
from training.results.comparisons import compare, compare_all
from training.results.questions import EXPERIMENTS, domain, in_domain, source_name
from training.results.runs import read_run, read_runs
from training.results.table import comparison_table


def answers(rows, only_left, only_right):
    """Two models' right answers of which so many are one's alone; half of the rest is right."""
    left, right = np.zeros(rows, dtype=bool), np.zeros(rows, dtype=bool)
    left[:only_left] = True
    right[only_left : only_left + only_right] = True
    both = slice(only_left + only_right, (rows + only_left + only_right) // 2)
    left[both] = right[both] = True
    return left, right


@pytest.fixture
def pair(write_run):
    """`pair(n, only_left, only_right)`: experiments 1 and 2 with one test set, `imdb`."""

    def make(n, only_left, only_right, **other):
        left, right = answers(n, only_left, only_right)
        first = write_run("1", tests={"imdb": 0.0}, answers={"imdb": left})
        properties = {
            "experiment": "2-gru-attention",
            "number": 2,
            "tests": {"imdb": 0.0},
            "architecture": "gru-encoder-decoder",
            "answers": {"imdb": right},
        }
        return read_runs([first, write_run("2", **(properties | other))])

    return make


def test_every_role_is_played_by_an_experiment_of_the_package():
    assert set(EXPERIMENTS.values()) <= set(experiment_names())


def test_counts_difference_and_p_are_those_of_the_rows(pair):
    made, _ = compare_all(pair(400, 10, 30))
    (c,) = made
    assert (c.question, c.left, c.right) == ("attention", "1-gru", "2-gru-attention")
    assert (c.n, c.only_left, c.only_right) == (400, 10, 30)
    assert c.difference == pytest.approx(20 / 400)
    assert c.difference == pytest.approx(c.right_accuracy - c.left_accuracy)
    assert c.p == pytest.approx(0.00222, abs=1e-5)  # 2·P(Binomial(40, ½) ≤ 10), from a table
    assert c.p_holm == c.p and c.verdict == "better"


def test_a_difference_within_chance_is_said_not_to_be_shown(pair):
    (c,), _ = compare_all(pair(1000, 20, 24))
    assert c.verdict == "none"
    assert "no difference shown (+0.40 points" in what_follows(c)
    # (1.96 + 0.84)·√(44)/1000 in points
    assert "a true one of 1.86 points would have shown in 80% of cases" in what_follows(c)


def test_models_that_answer_alike_show_no_difference(pair):
    (c,), _ = compare_all(pair(100, 0, 0))
    assert (c.difference, c.p, c.verdict) == (0.0, 1.0, "none")


def test_a_p_that_does_not_survive_its_question_is_a_hint(write_run):
    rows = 1000
    left, right = answers(rows, 20, 38)  # alone p = 0.025; with two more tests 0.074
    same, _ = answers(rows, 0, 0)
    sets = {"a": 0.0, "b": 0.0, "c": 0.0}
    first = write_run("1", tests=sets, answers={"a": left, "b": same, "c": same})
    second = write_run("2", tests=sets, experiment="2-gru-attention", number=2,
                       answers={"a": right, "b": same, "c": same})  # fmt: skip
    made, _ = compare_all(read_runs([first, second]))
    assert made[0].p == pytest.approx(0.0247, abs=2e-4)
    assert made[0].p_holm == pytest.approx(3 * made[0].p)
    assert made[0].verdict == "hint"
    assert "a hint, not evidence" in what_follows(made[0])


@pytest.fixture(scope="module")
def all_compared(every_run):
    return compare_all(read_runs(every_run))


def test_each_variant_is_compared_with_its_own(all_compared):
    made, _ = all_compared
    pairs = {(c.left, c.right) for c in made if c.question == "depth"}
    assert pairs == {
        ("3-transformer", "4-transformer-deep"),
        ("3-transformer-reference", "4-transformer-deep-reference"),
    }


def test_every_model_of_ours_stands_against_both_baselines(every_run, write_run):
    own = write_run("own", experiment="mine", number=None, variant="custom",
                    architecture="transformer")  # fmt: skip
    some = [f for f in every_run if f.name in ("1-gru", "1-gru-reference", "custom-gru")]
    runs = read_runs([*some, *(f for f in every_run if f.name.startswith("baseline")), own])
    made, _ = compare_all(runs)
    against = {(c.left, c.right) for c in made if c.question == "baselines"}
    ours = [run.label for run in runs if run.family != "baseline"]
    assert "mine" in ours
    assert against == {
        (baseline, label) for baseline in ("baseline-tfidf", "baseline-fasttext") for label in ours
    }


def test_holm_over_the_page_is_never_below_holm_over_the_question(all_compared):
    made, missing = all_compared
    assert not missing
    assert all(c.p <= c.p_holm <= c.p_holm_page for c in made)


def test_of_several_seeds_like_is_compared_with_like(write_run):
    folders = [write_run(f"1-{seed}", seed=seed) for seed in (0, 1)]
    folders += [write_run(f"2-{seed}", seed=seed, experiment="2-gru-attention", number=2)
                for seed in (0, 1)]  # fmt: skip
    made, _ = compare_all(read_runs(folders))
    assert {(c.left[-1], c.right[-1]) for c in made} == {("0", "0"), ("1", "1")}


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"reviews": 10_000}, "trained on different data"),
        ({"sources": ("data/imdb",)}, "trained on different data"),
        ({"tests": {"embedded": 0.0}}, "no test set in common"),
        ({"rows": 300, "answers": {}}, "imdb has 400 rows for one and 300 for the other"),
    ],
)
def test_runs_on_different_data_are_not_compared(pair, other, why):
    made, missing = compare_all(pair(400, 10, 30, **other))
    assert made == []
    assert why in [m.why for m in missing]


def test_rows_with_other_labels_are_not_compared(pair):
    left, right = pair(400, 10, 30)
    path = right.folder / "predictions" / "imdb.parquet"
    table = pq.read_table(path)
    pq.write_table(table.take(np.arange(400)[::-1]), path)
    assert compare("attention", left, right, "imdb") == "the rows of imdb are not the same"


def test_a_run_without_predictions_is_compared_by_its_accuracy_alone(pair):
    left, right = pair(400, 10, 30)
    paired = compare("attention", left, right, "imdb")
    (right.folder / "predictions" / "imdb.parquet").unlink()
    unpaired = compare("attention", left, right, "imdb")
    assert (unpaired.only_left, unpaired.only_right) == (None, None)
    assert unpaired.difference == pytest.approx(paired.difference)
    # shared errors, which the pairs cancel, widen it and hide what the pairs show
    assert unpaired.low < paired.low and unpaired.high > paired.high
    assert (paired.verdict, unpaired.verdict) == ("better", "none")
    assert "| unpaired |" in comparison_table([unpaired])


def test_a_missing_run_comes_with_the_command_that_makes_it(write_run):
    folder = write_run("a")
    environment = {"command": ["python", "-m", "training", "--set", "train.seed=1",
                               "data.tokenizer=my tokenizer", "--output", "x"]}  # fmt: skip
    (folder / "environment.json").write_text(json.dumps(environment))
    _, missing = compare_all([read_run(folder)])
    attention = next(m for m in missing if m.question == "attention")
    assert attention.absent == ("2-gru-attention",)
    assert attention.commands == (
        "python -m training --experiment 2-gru-attention --data data/amazon_polarity "
        "data/amazon_domains --test data/imdb --output runs/2-gru-attention --set "
        "'data.tokenizer=my tokenizer'",
    )


def test_what_else_differs_is_said(write_run):
    runs = read_runs([
        write_run("1"),
        write_run("2", experiment="2-gru-attention", number=2, batch=32, seed=3),
    ])  # fmt: skip
    made, _ = compare_all(runs)
    assert list(map(str, made[0].also_differs)) == ["batch size 64 / 32", "seed 0 / 3"]


@pytest.mark.parametrize(
    ("source", "name"),
    [("fancyzhx/amazon_polarity", "amazon_polarity"), ("../data/imdb/", "imdb"),
     ("reviews.csv.gz", "reviews"), ("embedded:8000", "embedded:8000")],
)  # fmt: skip
def test_a_source_is_called_by_its_last_part(source, name):
    assert source_name(source) == name


def test_a_test_set_of_no_training_source_is_out_of_domain(write_run):
    run = read_run(write_run("a", sources=("x/amazon_polarity", "embedded:500")))
    domains = {name: in_domain(run, name) for name in ("amazon_polarity", "embedded", "imdb")}
    assert domains == {"amazon_polarity": True, "embedded": True, "imdb": False}


@pytest.mark.parametrize(
    ("unlabelled", "wanted"),
    [
        ("data/imdb", "seen without labels"),
        ("elsewhere/imdb/", "seen without labels"),  # by its name
        ("data/imdb/unsupervised.parquet", "seen without labels"),  # by its place
        ("data/amazon_domains", "out of domain"),
    ],
)
def test_texts_seen_without_labels_are_neither_in_domain_nor_out_of_it(
    write_run, unlabelled, wanted
):
    run = read_run(write_run("a", unlabelled=(unlabelled,)))
    domains = [domain(run, name) for name in ("imdb", "imdb-2", "imdb2", "amazon_domains")]
    assert domains == [wanted, wanted, "out of domain", "in domain"]


def test_the_report_of_the_data_settles_what_is_in_domain(write_run):
    run = read_run(write_run("a", sources=("x/imdb", "y/imdb"), tests={"imdb-2": 0.0, "b": 0.0}))
    parts = [{"source": "imdb-2", "part": "train"}, {"source": "b", "part": "test"}]
    run.facts["data"]["report"] = {"parts": parts}
    assert in_domain(run, "imdb-2") and not in_domain(run, "b")
