"""The benchmarks of speed: the loops they compare train the same model on the same reviews."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch.optim import AdamW

from models import recurrence, registry
from training.benchmarks import (
    activation_memory,
    contenders,
    loss_curves,
    operations,
    scaling_estimate,
    throughput,
)
from training.benchmarks.contenders import (
    combinations,
    make_trainer,
    reference_loop,
    resolve,
    together,
)
from training.config import load_experiment
from training.data import load_data

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
SMALL = ["--data", "embedded:120", "--batch", "8", "--reviews", "24", "--rounds", "1",
         "--reference-steps", "1"]  # fmt: skip


@pytest.fixture
def given(tmp_path):
    return throughput.parse([*SMALL, "--output", str(tmp_path / "t.json")])


@pytest.fixture
def config(given, cache):
    config = resolve("1-gru", given)
    config.model.arguments |= {"embedding_size": 8, "hidden_size": 8, "dropout": 0.0}
    config.data.cache_dir, config.data.vocabulary_size = str(cache), 400
    config.train.learning_rate = 1e-2
    return config


def test_the_reference_takes_adamw_steps_of_the_mean_loss_over_reviews_padded_to_256(
    config,
) -> None:
    data = load_data(config.data)
    loop = reference_loop(config, data, CPU)
    seen, collate = [], loop.loader.collate_fn
    loop.loader.collate_fn = lambda reviews: seen.append(reviews) or collate(reviews)
    before = {name: p.detach().clone() for name, p in loop.model.named_parameters()}
    loss = loop.step()

    texts = [text for text, _ in seen[0]]
    ids = torch.zeros(8, 256, dtype=torch.int64)
    for row, text in zip(ids, texts, strict=True):
        own = data.tokenizer.encode(text).ids[:256]
        row[: len(own)] = torch.tensor(own)
    other = contenders.fresh_model(config, data).train()
    for name, parameter in other.named_parameters():
        assert torch.equal(parameter, before[name]), "every loop starts from the same weights"
    optimizer = AdamW(other.parameters(), lr=1e-2, weight_decay=config.train.weight_decay)
    labels = torch.tensor([label for _, label in seen[0]])
    expected = F.cross_entropy(other(ids, (ids != 0).long()), labels)
    expected.backward()
    optimizer.step()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    for (name, ours), theirs in zip(loop.model.named_parameters(), other.parameters(), strict=True):
        # one step of at most the learning rate; float32 sums in one order
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5, msg=name)


def test_levers_change_the_speed_and_not_what_is_learned(config) -> None:
    """The same batches, so that only rounding differs; bfloat16's is 2^-8."""
    data, accelerator = load_data(config.data), Accelerator(cpu=True, mixed_precision="no")
    losses = {}
    for name, levers in {
        "plain": [],
        "row-wise": ["fused", "row-wise"],
        "bf16": ["bf16"],
        "recurrence": ["recurrence"],
    }.items():
        trainer = make_trainer(config, data, accelerator, frozenset(levers))
        batches = iter(trainer._batches())
        for _ in range(9):
            trainer._step(next(batches))
            trainer.state.step += 1
        losses[name] = float(trainer._window[0] / trainer._window[2])
    assert losses["row-wise"] == pytest.approx(losses["plain"], abs=1e-5)
    assert losses["recurrence"] == pytest.approx(losses["plain"], abs=1e-5)
    assert losses["bf16"] == pytest.approx(losses["plain"], abs=1e-2)


def test_every_lever_is_measured_alone_and_left_out_or_added() -> None:
    recommended = frozenset({"buckets", "bf16"})
    found = combinations(["buckets", "bf16", "compile"], recommended)
    assert found["together"] == recommended and found["no levers"] == frozenset()
    assert found["bf16 alone"] == {"bf16"}
    assert found["together, no buckets"] == {"bf16"}
    assert found["together and compile"] == recommended | {"compile"}
    assert list(combinations([], recommended)) == ["together"]


def test_the_reference_computes_with_torchs_own_dropout_and_gru(config, monkeypatch) -> None:
    config.model.arguments |= {"dropout": 0.5, "num_layers": 2}
    monkeypatch.setattr("models.dropout._SMALL", 0)
    data, accelerator = load_data(config.data), Accelerator(cpu=True, mixed_precision="no")
    ours = make_trainer(config, data, accelerator, together(config, CPU))
    batches = iter(ours._batches())
    used = []
    monkeypatch.setattr(
        "models.dropout._random_steps", lambda shape: used.append("mask") or torch.zeros(shape)
    )
    apply = recurrence.Recurrence.apply
    monkeypatch.setattr(
        recurrence.Recurrence, "apply", lambda *given: used.append("recurrence") or apply(*given)
    )
    reference_loop(config, data, CPU).step()
    assert used == []
    ours._step(next(batches))
    assert set(used) == {"mask", "recurrence"}


def test_the_benchmark_writes_ratios_of_the_same_rounds_and_a_plot(tmp_path) -> None:
    output = tmp_path / "t.json"
    throughput.main([*SMALL, "--experiments", "1-gru", "--levers", "--threads", "1",
                     "--output", str(output)])  # fmt: skip
    (row,) = json.loads(output.read_text())["experiments"]
    reference, together = row["contenders"]
    (of_reference,), (of_ours,) = reference["seconds_a_review"], together["seconds_a_review"]
    assert reference["ratio_to_reference"] == 1
    assert together["ratio_to_reference"] == pytest.approx(of_reference / of_ours)
    assert output.with_suffix(".png").stat().st_size > 1000


def test_the_share_of_the_peak_is_of_the_operations_that_the_reviews_need(tmp_path) -> None:
    output = tmp_path / "t.json"
    throughput.main([*SMALL, "--experiments", "3-transformer", "--levers", "--threads", "1",
                     "--output", str(output)])  # fmt: skip
    written = json.loads(output.read_text())
    (row,) = written["experiments"]
    for contender, precision in zip(row["contenders"], ("float32", "bfloat16"), strict=True):
        assert contender["precision"] == precision
        done = contender["reviews_per_second"] * row["operations_a_review"]
        peak = written["peak_operations_per_second"][precision]
        assert contender["share_of_peak"] == pytest.approx(done / peak)


@pytest.mark.parametrize("experiment", ["1-gru", "4-transformer-deep"])
def test_the_mean_operations_of_reviews_are_the_mean_of_each_ones(experiment) -> None:
    config = load_experiment(experiment, [])
    model = registry.build(config.model.architecture, vocabulary_size=9, **config.model.arguments)
    lengths = np.array([3, 20, 120])
    each = [operations.counted(model, int(length)) for length in lengths]
    assert operations.mean_operations(model, lengths) == pytest.approx(np.mean(each), rel=1e-6)


def test_attention_is_counted() -> None:
    """Forward QKᵀ and AV, and a gradient of either factor: six products of T² · D at each layer."""
    config = load_experiment("3-transformer", [])
    arguments = config.model.arguments | {"num_layers": 1, "pooling": "mean", "dropout": 0.0}
    model = registry.build(config.model.architecture, vocabulary_size=9, **arguments)
    # The class token comes first. What is not of the second degree vanishes in this difference.
    found = np.diff([operations.counted(model, length) for length in (9, 19, 29)], 2)
    expected = 6 * 2 * arguments["embed_dim"] * np.diff([t**2 for t in (10, 20, 30)], 2)
    assert found == pytest.approx(expected)


def test_on_a_gpu_bf16_is_recommended_and_what_only_cpus_compute_is_left_out(config) -> None:
    assert together(config, CUDA) == {"buckets", "bf16", "fused"}
    assert contenders.useless(config, CUDA) == {"compile", "masks", "recurrence"}
    assert contenders.useless(config, CPU) == {"compile"}
    for levers, precision in ((["bf16"], "bfloat16"), ([], "tf32")):
        assert contenders.precision(config, frozenset(levers), CUDA) == precision
        assert contenders.precision(config, frozenset(levers), CPU) == "float32"


def test_loss_curves_of_all_loops_start_alike_and_fall(tmp_path) -> None:
    output = tmp_path / "c.json"
    loss_curves.main(["--data", "embedded:200", "--batch", "8", "--steps", "4", "--every", "2",
                      "--held-out", "10", "--seeds", "0", "--output", str(output)])  # fmt: skip
    curves = {c["loop"]: c["losses"] for c in json.loads(output.read_text())["curves"]}
    assert set(curves) == {"reference", "no levers", "together"}
    for losses in curves.values():
        assert len(losses) == 2 and np.isfinite(losses).all()
        # an untrained model of two classes: log 2, give or take a few steps
        assert losses[0] == pytest.approx(np.log(2), abs=0.1)


def test_a_ring_moves_each_byte_twice_but_for_the_own_share() -> None:
    assert scaling_estimate.ring(100.0, 1, bandwidth=10.0, latency=1.0) == 0
    # two processes: half of it out, half of it back, and a message for each
    assert scaling_estimate.ring(100.0, 2, bandwidth=10.0, latency=1.0) == 10 + 2
    many = scaling_estimate.ring(100.0, 1000, bandwidth=10.0, latency=0.0)
    assert many == pytest.approx(20, rel=2e-3)
    assert scaling_estimate.efficiency(3.0, 1.0) == (0.75, 1.0)


def test_a_grus_operations_are_those_of_its_products() -> None:
    operations, _ = scaling_estimate.count("1-gru", 1, 100)
    # Two directions; a product of the input and one of the state with three gates each step;
    # forward, and a gradient of either factor.
    by_hand = 2 * 100 * (2 * 128 * 3 * 128 + 2 * 128 * 3 * 128) * 3
    assert operations == pytest.approx(by_hand, rel=0.01)


def test_the_largest_batch_of_a_memory_is_the_last_that_fits() -> None:
    row = {"lengths": [{"bytes_a_review": 10.0, "fixed_bytes": 100.0}]}
    assert activation_memory.largest(row, 139) == 3
    assert activation_memory.largest(row, 140) == 4
    assert activation_memory.largest(row, 50) == 0


@pytest.mark.parametrize(
    ("flag", "value"), [("--batch", "0"), ("--reviews", "4"), ("--rounds", "-1")]
)
def test_senseless_sizes_are_refused(flag, value, capsys) -> None:
    with pytest.raises(SystemExit) as exit:
        throughput.parse(["--batch", "8", flag, value])
    assert exit.value.code == 2 and f"{flag} {value}" in capsys.readouterr().err
