"""Tensors in, logits out: the architectures, by name, and the folder a trained one lives in.

Letters used in every shape of this package: B batch, T steps (at most 256), I input size,
H hidden size, D model width, V vocabulary, L layers. Masks are (B, T), 1 = real token,
0 = padding; padding is on the right, so that a mask is a run of ones followed by zeros.

`python -m models` prints the table of architectures.
"""
