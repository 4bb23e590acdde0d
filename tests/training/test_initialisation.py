"""Word vectors from a pretrained table, against scikit-learn's principal components."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.decomposition import PCA

from models.registry import build
from training.initialisation import initialise_embeddings, principal_axes

V, D, E = 60, 12, 8


@pytest.fixture
def encoder(tmp_path):
    """A folder with the tables of an encoder, under a prefix as a whole model has it."""
    generator = torch.Generator().manual_seed(0)
    scales = torch.linspace(2, 0.1, D)
    words = torch.randn(V, D, generator=generator) * scales + 1.0
    tables = {"bert.embeddings.word_embeddings.weight": words,
              "bert.embeddings.position_embeddings.weight":
                  torch.randn(40, D, generator=generator) * 0.1}  # fmt: skip
    save_file(tables, tmp_path / "model.safetensors")
    return tmp_path, words


def test_the_axes_are_scikit_learns_principal_components(encoder) -> None:
    _, words = encoder
    center, axes = principal_axes(words, E)
    pca = PCA(E, svd_solver="full").fit(words.double().numpy())
    wanted = pca.transform(words.double().numpy())
    got = ((words - center) @ axes).numpy()
    np.testing.assert_allclose(np.abs(got), np.abs(wanted), atol=1e-4)  # signs are arbitrary


@pytest.mark.parametrize("architecture", ["gru-encoder", "custom-gru", "transformer"])
def test_words_keep_their_geometry(encoder, architecture: str) -> None:
    folder, words = encoder
    name = "embed_dim" if architecture == "transformer" else "embedding_size"
    model = build(architecture, vocabulary_size=V, **{name: E})
    initialise_embeddings(model, str(folder))
    own = getattr(model.backbone, "encoder", model.backbone).embedding.weight.detach()
    assert (own[0] == 0).all()  # padding
    pca = PCA(E, svd_solver="full").fit(words.double().numpy())
    wanted = torch.pdist(torch.from_numpy(pca.transform(words.double().numpy())[1:]))
    got = torch.pdist(own[1:].double())
    ratio = got / wanted
    assert ratio.std() / ratio.mean() < 1e-4  # the same distances but for one scale
    assert own[1:].std() == pytest.approx(1.0, abs=0.05)  # that of a drawn table


def test_positions_come_along_at_the_words_scale(encoder) -> None:
    folder, _ = encoder
    model = build("transformer", vocabulary_size=V, embed_dim=E)
    initialise_embeddings(model, str(folder))
    positions = model.backbone.pos_embedding[0]
    assert (positions[0] == 0).all() and (positions[41:] == 0).all()
    assert 0 < positions[1:41].std() < 0.3  # the table's are a tenth of its words


@pytest.mark.parametrize(
    ("rows", "width", "found"), [(V + 1, E, f"{V} x {D}"), (V, D + 4, f"{V} x {D}")]
)
def test_a_table_that_does_not_fit_is_named(encoder, rows: int, width: int, found: str) -> None:
    model = build("gru-encoder", vocabulary_size=rows, embedding_size=width)
    with pytest.raises(ValueError, match=f"initial.embeddings=.*{found}"):
        initialise_embeddings(model, str(encoder[0]))


def test_a_file_without_the_table_is_named(tmp_path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    model = build("gru-encoder", vocabulary_size=V)
    with pytest.raises(ValueError, match=r"no table embeddings\.word_embeddings\.weight"):
        initialise_embeddings(model, str(tmp_path))


def test_an_architecture_without_word_vectors_is_refused(encoder) -> None:
    with pytest.raises(ValueError, match=r"initial\.embeddings"):
        initialise_embeddings(torch.nn.Linear(2, 2), str(encoder[0]))
