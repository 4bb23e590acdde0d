"""What attention is, and which kind each model uses: words that no run can change."""

ATTENTION = """\
**Attention** answers the question "which of these vectors matter here?" by a weighted mean. A
query is scored against a set of keys, a softmax makes the scores weights that sum to one, and the
values, one a key, are averaged with them. Nothing has to pass through a fixed number of steps to
get from one end of a text to the other, and the weights are learned with everything else.

**Cross-attention and self-attention** differ in where query, keys and values come from. In
cross-attention the query comes from one sequence or state and the keys and values from another:
Bahdanau et al. (2015) let a decoder, at each word that it writes, look back over all outputs of the
encoder in the place of its last state alone, scoring them with a small feed-forward network
(additive attention). In self-attention all three come from the same sequence: each token asks every
token of its own text, itself included, so that one layer relates any two words directly. Vaswani et
al. (2017) built a whole network of it, scoring by scaled dot products in several heads side by
side. Its cost grows with the square of the length, a recurrent layer's with the length, but all
positions are computed at once, while a recurrent layer has to wait for each step.

**Which of our models uses which.**

- Bidirectional GRU (1): none. One state is carried along the text in each direction.
- Encoder, soft attention, decoder (2): cross-attention in kind. The encoder's final state is the
  query, its outputs at every step are keys and values, an additive network scores them, and a
  second GRU reads the outputs scaled by their weights. Unlike a translation model's decoder it
  asks once for the whole text, not anew at each step.
- Transformers (3, 4, 5) and BERT (6): self-attention in every block. The vector read by the
  classifier is that of a [CLS] token, which asks all others what they hold, or a mean over tokens.
- The n-gram bag and TF-IDF: none. Every n-gram counts the same wherever it stands.

**Norm placement** (3 against 5). The Transformer of 2017 normalises after each skip connection
(post-norm), BERT too; pre-norm normalises inside the branch and leaves the skip path untouched.
Xiong et al. (2020) show that at initialisation post-norm has large gradients near its output, which
is why it wants a learning rate that is warmed up, and that pre-norm trains without. The gap grows
with the square root of the depth, so two layers show little of it.

Sources: D. Bahdanau, K. Cho, Y. Bengio, *Neural Machine Translation by Jointly Learning to Align
and Translate*, ICLR 2015, [arXiv:1409.0473](https://arxiv.org/abs/1409.0473). A. Vaswani et al.,
*Attention Is All You Need*, NeurIPS 2017, [arXiv:1706.03762](https://arxiv.org/abs/1706.03762).
R. Xiong et al., *On Layer Normalization in the Transformer Architecture*, ICML 2020,
[arXiv:2002.04745](https://arxiv.org/abs/2002.04745).
"""
