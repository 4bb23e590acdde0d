"""Several machines, and sharded parameters, really run on one CPU."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from training.benchmarks import fsdp, scale_out, two_nodes

ROOT = Path(__file__).parents[2]


def test_two_nodes_in_namespaces_of_their_own_give_the_model_that_one_gives(
    tmp_path, train, small, environment
) -> None:
    """They have no network in common but the cable between them, and no folder."""
    reason = two_nodes.lacking()
    if reason:
        pytest.skip(reason)
    alone, output = tmp_path / "alone", tmp_path / "nodes"
    settings = ["model.arguments.dropout=0.0", "train.epochs=1"]
    train(alone, *settings, data="embedded:333")
    command = [sys.executable, "-m", "training.benchmarks.two_nodes", "--",
               *small(output, *settings, data="embedded:333")]  # fmt: skip
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((output / "node0/result.json").read_text())
    assert result["machine"]["processes"] == 2
    ours = load_file(output / "node0/best/model.safetensors")
    for name, value in load_file(alone / "best/model.safetensors").items():
        # AdamW divides by the gradient's own size, so float32 rounding is carried over 10 steps
        np.testing.assert_allclose(ours[name], value, atol=2e-4, err_msg=name)
    left = subprocess.run(["ip", "netns"], capture_output=True, text=True).stdout
    assert "node" not in left, "the namespaces are removed"


def test_a_sharded_backbone_learns_as_a_whole_one_and_keeps_half(tmp_path, environment) -> None:
    output = tmp_path / "fsdp.json"
    command = [sys.executable, "-m", "training.benchmarks.fsdp", "--output", str(output)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(output.read_text())
    one, sharded = result["one"], result["sharded"]
    assert one["losses"][0] != one["losses"][-1]
    # float32 sums in another order, over four steps
    assert sharded["losses"] == pytest.approx(one["losses"], abs=1e-4)
    assert sharded["kept_bytes"] == pytest.approx(one["kept_bytes"] / 2, rel=0.01)


def test_time_is_counted_by_token_and_not_by_review(tmp_path: Path) -> None:
    """Six lines: four that do not count, then 300 tokens in 2 s and 100 tokens in 3 s."""
    ends = [1.0, 2.0, 3.0, 4.0, 6.0, 9.0]
    tokens, reviews = [10, 10, 10, 10, 300, 100], [1, 1, 1, 1, 2, 4]
    lines: list[dict[str, object]] = []
    for i, end in enumerate(ends):
        took = end - (ends[i - 1] if i else 0.0)
        lines.append({"kind": "train", "seconds": end, "tokens_per_second": tokens[i] / took,
                      "reviews_per_second": reviews[i] / took})  # fmt: skip
    lines.insert(3, {"kind": "validation", "seconds": 99.0})
    (tmp_path / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    training = scale_out.windows(tmp_path)
    assert scale_out.speed(training) == pytest.approx(400 / 5)
    assert scale_out.mean_length(training) == pytest.approx(440 / 10)
    scale_out.check_read(training, 10)
    with pytest.raises(ValueError, match=r"--reviews 11: the data has 10 to train on"):
        scale_out.check_read(training, 11)


def test_too_few_reviews_to_time_are_refused(capsys) -> None:
    with pytest.raises(SystemExit) as exit:
        scale_out.main(["--reviews", "100"])
    assert exit.value.code == 2
    assert "--reviews 100: at least 2560" in capsys.readouterr().err


@pytest.mark.parametrize("batch", ["0", "7"])
def test_a_batch_that_two_processes_cannot_share_is_refused(batch, capsys) -> None:
    with pytest.raises(SystemExit) as exit:
        fsdp.main(["--batch", batch])
    assert exit.value.code == 2
    assert f"--batch {batch}: a multiple of 2" in capsys.readouterr().err
