"""A bundle behind an endpoint: texts in, probabilities out, over any backend or over HTTP.

Letters used in the shapes of this package: N texts, B texts in a batch, T tokens in its longest.
The column of a probability is its label's place in the bundle's `labels`.

The files that an archive carries (`archive.CARRIED`) need nothing of this project but each other: a
bare TorchServe runs them with numpy, tokenizers and the engine of the artefact.
"""
