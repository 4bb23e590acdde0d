"""Word vectors from a pretrained table, against scikit-learn's principal components."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.decomposition import PCA
from transformers import BertConfig, BertModel

from models.registry import build
from training.initialisation import (
    initialise_blocks,
    initialise_embeddings,
    principal_axes,
    scale_drawn,
)

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
    with pytest.raises(ValueError, match=r"no embeddings\.word_embeddings\.weight"):
        initialise_embeddings(model, str(tmp_path))


def test_an_architecture_without_word_vectors_is_refused(encoder) -> None:
    with pytest.raises(ValueError, match=r"initial\.embeddings"):
        initialise_embeddings(torch.nn.Linear(2, 2), str(encoder[0]))


@pytest.fixture
def bert(tmp_path) -> BertModel:
    """A small encoder of Hugging Face's, saved to `tmp_path`."""
    torch.manual_seed(0)
    model = BertModel(
        BertConfig(vocab_size=V, hidden_size=12, num_hidden_layers=3, num_attention_heads=3,
                   intermediate_size=20, max_position_embeddings=40),
        add_pooling_layer=False,
    ).eval()  # fmt: skip
    with torch.no_grad():  # norms and biases too; words speak louder than places, as in real ones
        for name, parameter in model.named_parameters():
            spread = 0.02 if "position" in name else 0.3
            parameter.copy_(torch.randn_like(parameter) * spread + ("Norm.weight" in name))
    model.save_pretrained(tmp_path)
    return model


def small_transformer(**arguments):
    given = {"embed_dim": 12, "hidden_dim": 20, "num_heads": 3, "num_layers": 2,
             "block": "postnorm", "dropout": 0.0}  # fmt: skip
    return build("transformer", vocabulary_size=V, **{**given, **arguments}).eval()


def test_blocks_answer_as_the_encoders_first_ones(bert, tmp_path) -> None:
    model = small_transformer()
    initialise_blocks(model, str(tmp_path))
    hidden = torch.randn(2, 7, 12)
    with torch.no_grad():
        ours = theirs = hidden
        for block, layer in zip(model.backbone.blocks, bert.encoder.layer[:2], strict=True):
            ours, theirs = block(ours), layer(theirs)
            theirs = theirs[0] if isinstance(theirs, tuple) else theirs
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)  # 1e-5 in a norm against 1e-12


def test_the_first_block_is_given_nearly_what_the_encoders_is(bert, tmp_path) -> None:
    model = small_transformer()
    initialise_blocks(model, str(tmp_path))
    ids = torch.randint(1, V, (4, 30))
    with torch.no_grad():
        theirs = bert.embeddings(ids)
        ours = model.backbone.embedding(ids) + model.backbone.pos_embedding[:, 1:31]
    assert (ours - theirs).norm() / theirs.norm() < 0.1
    assert (model.backbone.embedding.weight[0] == 0).all()  # padding


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"block": "prenorm"}, "only a post-norm transformer"),
        ({"hidden_dim": 24}, r"intermediate\.dense\.weight is 20 x 12, the model wants 24 x 12"),
        ({"num_layers": 4}, r"no encoder\.layer\.3\.attention\.self\.query\.weight in it"),
    ],
)
def test_a_transformer_that_blocks_do_not_fit_is_refused(
    bert, tmp_path, arguments, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        initialise_blocks(small_transformer(**arguments), str(tmp_path))


@pytest.mark.parametrize("architecture", ["gru-encoder-decoder", "custom-gru", "transformer"])
def test_drawn_vectors_take_the_deviation_asked_for(architecture: str) -> None:
    model = build(architecture, vocabulary_size=500)
    others = {name: p.clone() for name, p in model.named_parameters() if ".blocks." in name}
    scale_drawn(model, 0.02)
    parameters = dict(model.named_parameters())
    drawn = [name for name in parameters
             if name.endswith(("embedding.weight", "pos_embedding", "cls_token"))]  # fmt: skip
    assert len(drawn) == (3 if architecture == "transformer" else 1)
    for name in drawn:
        values = parameters[name].detach()
        values = values[1:] if name.endswith("embedding.weight") else values  # without padding
        # cls_token is 256 values: three standard errors of a deviation are 13%
        assert values.std() == pytest.approx(0.02, rel=0.2), name
    assert all(torch.equal(parameters[name], before) for name, before in others.items())


def test_an_architecture_with_tables_of_its_own_is_refused() -> None:
    with pytest.raises(ValueError, match=r"initial\.deviation: this architecture"):
        scale_drawn(build("ngram-bag", vocabulary_size=50), 0.02)
