"""What every architecture promises, over the table: a new entry is tested unasked."""

import inspect
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from models.pooling import POOLINGS
from models.registry import ARCHITECTURES, build

NAMES = list(ARCHITECTURES)
# Each architecture, with each way to pool where it has a choice.
VARIANTS = [
    (name, {"pooling": pooling} if pooling else {})
    for name in NAMES
    for pooling in (POOLINGS if "pooling" in ARCHITECTURES[name].arguments else [""])
]
VARIANTS.append(("transformer", {"block": "postnorm"}))
VARIANT = pytest.mark.parametrize(
    ("name", "options"), VARIANTS, ids=lambda value: value if isinstance(value, str) else ""
)
LENGTHS = [5, 1, 7, 0, 3]
# Padding may change the order of a sum, hence the last bits, and nothing else.
TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-5}
# Python loops over the steps, or torch's own GRU, are unrolled by torch.export.
RECURRENT = {name for name in NAMES if "reads_padding" in ARCHITECTURES[name].arguments}


@VARIANT
@pytest.mark.parametrize("dtype", list(TOLERANCES))
def test_padding_never_changes_a_logit(
    name: str, options: Any, dtype: torch.dtype, tiny_classifier: Any, ragged_batch: Any
) -> None:
    model = tiny_classifier(name, **options).to(dtype)
    input_ids, mask = ragged_batch(LENGTHS)
    with torch.no_grad():
        logits = model(input_ids, mask)
        assert logits.shape == (5, 2)
        assert logits.dtype == dtype
        for more in (1, 20, 256 - 7):
            # What lies in the padding must not matter either.
            longer = F.pad(input_ids, (0, more), value=3)
            again = model(longer, F.pad(mask, (0, more)))
            torch.testing.assert_close(again, logits, rtol=0, atol=TOLERANCES[dtype])


@VARIANT
def test_a_review_has_the_same_logits_alone_as_in_company(
    name: str, options: Any, tiny_classifier: Any, ragged_batch: Any
) -> None:
    model = tiny_classifier(name, **options).double()
    input_ids, mask = ragged_batch(LENGTHS)
    with torch.no_grad():
        together = model(input_ids, mask)
        for row, length in enumerate(LENGTHS):
            if length == 0:
                continue
            alone = model(input_ids[row : row + 1, :length], mask[row : row + 1, :length])
            torch.testing.assert_close(alone[0], together[row], rtol=0, atol=1e-12)


@VARIANT
def test_a_review_of_length_zero_gives_finite_logits_and_gradients(
    name: str, options: Any, tiny_classifier: Any
) -> None:
    model = tiny_classifier(name, **options).train()
    nothing = torch.zeros(1, 4, dtype=torch.int64)
    logits = model(nothing, nothing)
    assert torch.isfinite(logits).all()
    logits.sum().backward()
    for parameter in model.parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all()


@VARIANT
def test_masks_of_any_dtype_are_the_same_mask(
    name: str, options: Any, tiny_classifier: Any, ragged_batch: Any
) -> None:
    model = tiny_classifier(name, **options).double()
    input_ids, mask = ragged_batch(LENGTHS)
    with torch.no_grad():
        logits = model(input_ids, mask)
        for dtype in (torch.bool, torch.float32, torch.int32):
            assert torch.equal(model(input_ids, mask.to(dtype)), logits)


@VARIANT
def test_backward_reaches_every_parameter(
    name: str, options: Any, tiny_classifier: Any, ragged_batch: Any
) -> None:
    """In training, also under autocast: a parameter that is skipped stops distributed training."""
    for precision in (torch.float32, torch.bfloat16):
        model = tiny_classifier(name, **options).train()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            logits = model(*ragged_batch([5, 1, 7, 3]))
        logits.float().pow(2).sum().backward()
        for path, parameter in model.named_parameters():
            assert parameter.grad is not None, path
            assert torch.isfinite(parameter.grad).all(), path
            assert parameter.grad.dtype == torch.float32, path


@VARIANT
def test_autocast_to_bfloat16_stays_close(
    name: str, options: Any, tiny_classifier: Any, ragged_batch: Any
) -> None:
    model = tiny_classifier(name, **options)
    batch = ragged_batch(LENGTHS)
    with torch.no_grad():
        exact = model(*batch)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = model(*batch)
    # bfloat16 has 8 bits of mantissa: 0.004 a product, a few layers deep, on logits of about 1.
    torch.testing.assert_close(rounded.float(), exact, rtol=0, atol=0.05)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
# Tracing looks at every attribute of a module, transformers' deprecated ones too, and warns of
# transformers' checks on shapes, which the comparison at other lengths shows to be harmless.
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@VARIANT
def test_torchscript_gives_the_same_logits_at_any_length(
    name: str, options: Any, tiny_classifier: Any, ragged_batch: Any
) -> None:
    model = tiny_classifier(name, **options).double()
    if name == "bert":  # transformers' modules can be traced, not scripted
        scripted = torch.jit.trace(model, ragged_batch([5, 2]))
    else:
        scripted = torch.jit.script(model)
    with torch.no_grad():
        for lengths in (LENGTHS, [9], [1], [12, 0, 3]):
            batch = ragged_batch(lengths)
            torch.testing.assert_close(scripted(*batch), model(*batch), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", sorted(set(NAMES) - RECURRENT))
def test_torch_export_takes_any_batch_and_length(
    name: str, tiny_classifier: Any, ragged_batch: Any
) -> None:
    model = tiny_classifier(name).double()
    sizes = {0: torch.export.Dim("reviews"), 1: torch.export.Dim("steps", min=2, max=256)}
    program = torch.export.export(
        model, ragged_batch([5, 2, 7]), dynamic_shapes={"input_ids": sizes, "attention_mask": sizes}
    )
    with torch.no_grad():
        for lengths in (LENGTHS, [2, 9, 0, 4, 1, 1]):
            batch = ragged_batch(lengths)
            torch.testing.assert_close(program.module()(*batch), model(*batch), rtol=0, atol=1e-12)


@pytest.mark.cuda
@VARIANT
def test_cuda_equals_the_cpu(
    name: str, options: Any, tiny_classifier: Any, ragged_batch: Any
) -> None:
    model = tiny_classifier(name, **options).double()
    input_ids, mask = ragged_batch(LENGTHS)
    with torch.no_grad():
        expected = model(input_ids, mask)
        found = model.cuda()(input_ids.cuda(), mask.cuda())
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", sorted(RECURRENT))
def test_reads_padding_lets_padding_change_the_logits(
    name: str, tiny_classifier: Any, ragged_batch: Any
) -> None:
    model = tiny_classifier(name, reads_padding=True).double()
    short, long = model(*ragged_batch(LENGTHS)), model(*ragged_batch(LENGTHS, steps=20))
    assert not torch.allclose(short, long, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_number_of_labels_is_the_number_of_logits(
    name: str, tiny_classifier: Any, ragged_batch: Any
) -> None:
    assert tiny_classifier(name, num_labels=5)(*ragged_batch([3, 4])).shape == (2, 5)


@pytest.mark.parametrize("name", NAMES)
def test_every_argument_has_a_default_but_those_the_example_gives(name: str) -> None:
    entry = ARCHITECTURES[name]
    required = {
        argument
        for argument, parameter in entry.arguments.items()
        if parameter.default is inspect.Parameter.empty
    }
    assert required == set(entry.example)
    with torch.device("meta"):
        build(name, **entry.example)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("gru-encodr", {}, "architecture: got 'gru-encodr' .did you mean 'gru-encoder'"),
        ("nothing", {}, "architecture: got 'nothing'; allowed are gru-encoder, .*ngram-bag"),
        ("gru-encoder", {"hiden_size": 8}, "'hiden_size' .* .did you mean 'hidden_size'"),
        ("gru-encoder", {}, "'vocabulary_size' of gru-encoder is missing"),
        ("bert", {}, "'backbone' of bert is missing"),
        ("bert", {"backbone": 7}, "'backbone' of bert: got 7; allowed is a hub name"),
        ("transformer", {"vocabulary_size": 9, "block": "pre"}, "got 'pre'.*prenorm, postnorm"),
        ("transformer", {"vocabulary_size": 9, "pooling": "sum"}, "got 'sum'.*first, mean, max"),
        ("transformer", {"vocabulary_size": 9, "dropout": 1.0}, "'dropout'.*got 1.0.*below 1"),
        ("transformer", {"vocabulary_size": 9, "num_layers": 0}, "'num_layers'.*got 0.*at least 1"),
        ("transformer", {"vocabulary_size": 9, "num_heads": 3}, "num_heads: got 3.*embed_dim"),
        ("gru-encoder", {"vocabulary_size": "9"}, "'vocabulary_size'.*got '9'.*whole number"),
        ("gru-encoder", {"vocabulary_size": 9, "reads_padding": 1}, "got 1; .*true or false"),
    ],
)
def test_a_mistake_names_what_was_given_and_what_is_allowed(
    name: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        build(name, **arguments)
    assert "\n" not in str(caught.value)
