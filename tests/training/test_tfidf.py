"""The baseline of scikit-learn, in the run folder of the others."""

import json

import pyarrow.parquet as pq
import pytest

from training.config import load_experiment
from training.sources import open_source
from training.tfidf import run_tfidf


def test_it_is_scikit_learns_pipeline_on_the_same_reviews(tmp_path, cache) -> None:
    """Fitted again here, by scikit-learn's own defaults spelled out, on the texts themselves."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    settings = ["data.sources=[embedded:800]", f"data.cache_dir={cache}", "data.tokenizer=null",
                "data.vocabulary_size=600", "data.drop_duplicates=false",
                "data.validation_fraction=0.01"]  # fmt: skip
    result = run_tfidf(load_experiment("baseline-tfidf", settings), tmp_path / "run")
    splits = open_source("embedded:800").splits
    test = list(splits["test"].read("title+content"))
    texts, labels = [t for r in test for t in r.texts], [y for r in test for y in r.labels]
    train = list(splits["train"].read("title+content"))
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    model = LogisticRegression(C=4.0, max_iter=1000)
    model.fit(words.fit_transform([t for r in train for t in r.texts]),
              [y for r in train for y in r.labels])  # fmt: skip
    theirs = model.score(words.transform(texts), labels)
    assert result["tests"]["embedded"]["n"] == len(texts)
    # ours was fitted on 8 reviews fewer, the validation split
    assert result["tests"]["embedded"]["accuracy"]["value"] == pytest.approx(theirs, abs=0.02)
    predictions = pq.read_table(tmp_path / "run/predictions/embedded.parquet")
    assert predictions["label"].to_pylist() == labels
    assert json.loads((tmp_path / "run/result.json").read_text()) == result


def test_an_unknown_argument_is_named(tmp_path) -> None:
    config = load_experiment("baseline-tfidf", ["model.arguments.stopwords=english"])
    with pytest.raises(ValueError, match=r"model.arguments.stopwords: tfidf takes max_ngram"):
        run_tfidf(config, tmp_path / "run")
