"""A model that costs next to nothing, to measure all that is around it.

    python -m serve.benchmark.trivial FOLDER

It is a bundle as any other: a bag of words over a few, exported and proved by `python -m export`.
"""

import subprocess
import sys
from pathlib import Path

TEXTS = (
    "A very good book.",
    "Broke after a week. Avoid.",
    "Just right, and it came on time.",
    "Not what the picture shows, I sent it back.",
)
"""What is asked of it: so short that neither tokenizer nor network count."""


def make_trivial_bundle(folder: Path) -> Path:
    """Writes it in a process of its own, which imports torch; returns `folder`."""
    subprocess.run([sys.executable, "-m", "serve.benchmark.trivial", str(folder)], check=True)
    export = [sys.executable, "-m", "export", str(folder), "--format", "onnx"]
    subprocess.run([*export, "--reviews", "embedded:200"], check=True, stdout=subprocess.DEVNULL)
    return folder


def _write(folder: Path) -> None:
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    from models.bundle import Bundle, save
    from models.registry import build

    torch.manual_seed(0)
    words = sorted({word.strip(".,").lower() for text in TEXTS for word in text.split()})
    vocabulary = {word: index for index, word in enumerate(["[PAD]", "[UNK]", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    arguments = {"vocabulary_size": len(vocabulary), "embedding_size": 2, "max_ngram": 1}
    bundle = Bundle(
        model=build("ngram-bag", **arguments).eval(),
        tokenizer=tokenizer,
        architecture="ngram-bag",
        arguments=arguments,
        labels=["negative", "positive"],
        max_length=32,
    )
    save(bundle, folder)


if __name__ == "__main__":
    _write(Path(sys.argv[1]))
