"""From a bundle to artefacts that run without this project, each with proof that it answers alike.

`python -m export BUNDLE` writes and proves them, `python -m export.parity` proves them again,
`python -m export.benchmark` measures them. `export.backends.open_backend` runs them.

Letters used in every shape of this package: B batch, T steps, E embedding size, H hidden size,
D model width, L layers.
"""
