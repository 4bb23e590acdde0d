"""The bag of n-grams against Python integers and loops."""

from typing import Any

import pytest
import torch
from torch import Tensor

from models.ngram_bag import HASH_MULTIPLIER, NgramBag


def written_out(bag: NgramBag, tokens: list[int]) -> Tensor:
    """The mean over all tokens and n-grams of one review, hashed with unbounded integers."""
    vectors = [bag.embedding.weight[token] for token in tokens]
    for size in range(2, bag.max_ngram + 1):
        for start in range(len(tokens) - size + 1):
            hashed = tokens[start]
            for token in tokens[start + 1 : start + size]:
                hashed = (hashed * HASH_MULTIPLIER + token) % bag.buckets
            vectors.append(bag.ngram_embedding.weight[hashed])
    return torch.stack(vectors).mean(0)


@pytest.mark.parametrize("max_ngram", [1, 2, 3, 5])
# The largest number of buckets comes nearest to the end of int64.
@pytest.mark.parametrize("buckets", [7, 1 << 20])
def test_feature_is_the_mean_of_tokens_and_hashed_ngrams(
    max_ngram: int, buckets: int, ragged_batch: Any
) -> None:
    torch.manual_seed(0)
    bag = NgramBag(30522, 3, buckets, max_ngram).double()
    input_ids, mask = ragged_batch([4, 1, 6, 2], steps=8)
    input_ids = input_ids * 610  # up to the end of the vocabulary
    found = bag(input_ids, mask)
    for row, length in enumerate(mask.sum(1).tolist()):
        expected = written_out(bag, input_ids[row, :length].tolist())
        # Sums of float64 in another order.
        torch.testing.assert_close(found[row], expected, rtol=1e-12, atol=1e-15)
    full = input_ids[2:3, :6]
    torch.testing.assert_close(bag(full)[0], found[2], rtol=1e-12, atol=1e-15)


def test_order_counts_from_bigrams_on() -> None:
    tokens, turned = torch.tensor([[5, 9, 7]]), torch.tensor([[7, 9, 5]])
    unigrams, bigrams = NgramBag(50, 3, max_ngram=1), NgramBag(50, 3, max_ngram=2)
    # The same three float32 numbers, added in another order.
    torch.testing.assert_close(unigrams(tokens), unigrams(turned), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(bigrams(tokens), bigrams(turned))


def test_bigrams_spread_over_the_buckets() -> None:
    """A hash that favoured some buckets would fill fewer than chance does."""
    buckets = 1 << 10
    bag = NgramBag(30522, buckets, buckets, max_ngram=2)
    bag.embedding.weight.data.zero_()
    bag.ngram_embedding.weight.data.copy_(torch.eye(buckets))
    torch.manual_seed(0)
    used = (bag(torch.randint(0, 30522, (1, buckets + 1))) > 0).sum().item()
    # 1,024 draws of 1,024 buckets fill 63.2% of them, give or take 1%.
    assert 0.60 < used / buckets < 0.67


def test_dropout_drops_whole_ngrams_in_training_only() -> None:
    torch.manual_seed(0)
    bag = NgramBag(50, 2, max_ngram=1, dropout=0.4)
    bag.embedding.weight.data.fill_(1.0)
    feature = bag(torch.ones(1, 20_000, dtype=torch.int64))
    assert feature[0, 0] == feature[0, 1]  # the same tokens are gone in every dimension
    # 20,000 draws, scaled up by 1 / 0.6 to keep the mean: the standard error is 0.006.
    assert 0.97 < feature[0, 0].item() < 1.03
    assert feature[0, 0].item() != 1.0
    assert torch.equal(bag.eval()(torch.ones(1, 7, dtype=torch.int64)), torch.ones(1, 2))
