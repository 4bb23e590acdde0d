"""Whether a GRU in int8 beats ONNX Runtime's float32 operator, which has no int8 kernel.

    python -m export.int8_gru runs/1-gru/best --output docs/benchmarks/int8_gru.json

The int8 one is a loop over steps: the inputs' share of every gate is one int8 product ahead of the
loop, the state's share an int8 product a step. What is exported (`export.quantize`) is what won.
T steps, B reviews, I input size, H hidden size; gates in ONNX's order z, r, n.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.quantize import symmetric
from export.saturation import products_saturate
from models.command import command

SHAPES = ((1, 128), (4, 128), (8, 128), (32, 128))
"""B reviews of T tokens, none padded."""


def step_wise(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with every `GRU` as int8 products in a `Scan`; what is not a GRU stays as it is."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    del made.graph.value_info[:]
    weights = {each.name: numpy_helper.to_array(each) for each in made.graph.initializer}
    for node in [node for node in made.graph.node if node.op_type == "GRU"]:
        position = list(made.graph.node).index(node)
        made.graph.node.remove(node)
        for offset, each in enumerate(_StepWise(node, weights, made.graph).nodes()):
            made.graph.node.insert(position + offset, each)
    if all(entry.domain != "com.microsoft" for entry in made.opset_import):
        made.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return made


class _StepWise:
    """The nodes in the place of one `GRU`."""

    def __init__(
        self, node: onnx.NodeProto, weights: dict[str, NDArray[Any]], graph: onnx.GraphProto
    ) -> None:
        self.node, self.graph = node, graph
        self.name = node.output[0] or node.output[1]
        attributes = {each.name: each for each in node.attribute}
        word = attributes["direction"].s.decode()
        self.backward = {"forward": [0], "reverse": [1], "bidirectional": [0, 1]}[word]
        self.hidden = attributes["hidden_size"].i
        self.w, self.r, self.b = (weights[node.input[index]] for index in (1, 2, 3))
        self.initial = node.input[5] if len(node.input) > 5 else ""

    def nodes(self) -> list[onnx.NodeProto]:
        x, lengths = self.node.input[0], self.node.input[4]
        nodes = self._real(x, lengths)
        outputs, states = [], []
        for number, backward in enumerate(self.backward):
            each, last = f"{self.name}_y{number}", f"{self.name}_h{number}"
            nodes += self._direction(x, number, backward, each, last)
            outputs.append(each)
            states.append(last)
        for given, found, axis in ((0, outputs, 1), (1, states, 0)):
            if len(self.node.output) > given and self.node.output[given]:
                nodes += self._stacked(found, axis, self.node.output[given])
        return nodes

    def _constant(self, part: str, value: NDArray[Any]) -> str:
        name = f"{self.name}_{part}"
        if all(each.name != name for each in self.graph.initializer):
            self.graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def _real(self, x: str, lengths: str) -> list[onnx.NodeProto]:
        """Which steps of which review are real: (T, B, 1)."""
        n = self.name
        zero, one = (self._constant(f"const{i}", np.array(i, np.int64)) for i in (0, 1))
        first, last = self._constant("a0", np.array([0])), self._constant("a2", np.array([2]))
        step = self._constant("a1", np.array([1]))
        made = [
            ("Shape", [x], f"{n}_shape"),
            ("Gather", [f"{n}_shape", zero], f"{n}_steps"),
            ("Gather", [f"{n}_shape", step], f"{n}_batch"),
            ("Range", [zero, f"{n}_steps", one], f"{n}_range"),
            ("Unsqueeze", [f"{n}_range", step], f"{n}_column"),
            ("Cast", [lengths], f"{n}_lengths64"),
            ("Unsqueeze", [f"{n}_lengths64", first], f"{n}_row"),
            ("Less", [f"{n}_column", f"{n}_row"], f"{n}_less"),
            ("Unsqueeze", [f"{n}_less", last], f"{n}_real"),
        ]
        return [helper.make_node(op, i, [o], **_attributes(op)) for op, i, o in made]

    def _direction(
        self, x: str, number: int, backward: int, each: str, last: str
    ) -> list[onnx.NodeProto]:
        n, h = f"{self.name}_{number}", self.hidden
        bias_w, bias_r = self.b[number, : 3 * h].copy(), self.b[number, 3 * h :].copy()
        bias_w[: 2 * h] += bias_r[: 2 * h]  # z and r add both; n's second one stays with r ⊙
        bias_r[: 2 * h] = 0
        product = self._product(x, f"x{number}", self.w[number], bias_w, f"{n}_gates")
        if self.initial:
            at = self._constant(f"at{number}", np.array(number, np.int64))
            start = [helper.make_node("Gather", [self.initial, at], [f"{n}_start"], axis=0)]
        else:
            width = self._constant("width", np.array([h], np.int64))
            start = [
                helper.make_node("Concat", [f"{self.name}_batch", width], [f"{n}_size"], axis=0),
                helper.make_node("ConstantOfShape", [f"{n}_size"], [f"{n}_start"]),
            ]
        scan = helper.make_node(
            "Scan",
            [f"{n}_start", f"{n}_gates", f"{self.name}_real"],
            [last, each],
            body=self._body(number, bias_r),
            num_scan_inputs=2,
            scan_input_directions=[backward, backward],
            scan_output_directions=[backward],
        )
        return [product, *start, scan]

    def _product(
        self, a: str, part: str, weight: NDArray[Any], bias: NDArray[Any], output: str
    ) -> onnx.NodeProto:
        limit = 63 if products_saturate() else 127
        quantised, scale = symmetric(weight, 0, limit)  # (3H, ·), (3H, 1)
        inputs = [
            a,
            self._constant(f"{part}_int8", np.ascontiguousarray(quantised.T)),
            self._constant(f"{part}_scale", scale.reshape(-1)),
            "",
            self._constant(f"{part}_bias", bias.astype(np.float32)),
        ]
        return helper.make_node("DynamicQuantizeMatMul", inputs, [output], domain="com.microsoft")

    def _body(self, number: int, bias: NDArray[Any]) -> onnx.GraphProto:
        """One step: the state (B, H), the inputs' gates (B, 3H), real (B, 1)."""
        h, two = self.hidden, self._constant("halves", np.array([2 * self.hidden, self.hidden]))
        one = self._constant("ones", np.array([h, h]))
        nothing = self._constant("nothing", np.zeros(1, np.float32))
        steps = [
            ("Split", ["gates", two], ["zr_x", "n_x"]),
            ("Split", ["from_h", two], ["zr_h", "n_h"]),
            ("Add", ["zr_x", "zr_h"], ["zr_sum"]),
            ("Sigmoid", ["zr_sum"], ["zr"]),
            ("Split", ["zr", one], ["z", "r"]),
            ("Mul", ["r", "n_h"], ["reset"]),
            ("Add", ["n_x", "reset"], ["n_sum"]),
            ("Tanh", ["n_sum"], ["n"]),
            ("Sub", ["h", "n"], ["apart"]),
            ("Mul", ["z", "apart"], ["kept"]),
            ("Add", ["n", "kept"], ["next"]),
            ("Where", ["real", "next", "h"], ["state"]),
            ("Where", ["real", "next", nothing], ["output"]),
        ]
        nodes = [self._product("h", f"h{number}", self.r[number], bias, "from_h")]
        for op, inputs, outputs in steps:
            nodes.append(helper.make_node(op, inputs, outputs, **_attributes(op)))
        shapes = {"h": h, "gates": 3 * h, "real": 1}
        kinds = {"real": TensorProto.BOOL}
        return helper.make_graph(
            nodes,
            f"{self.name}_step{number}",
            [
                helper.make_tensor_value_info(n, kinds.get(n, TensorProto.FLOAT), ["B", width])
                for n, width in shapes.items()
            ],
            [
                helper.make_tensor_value_info(n, TensorProto.FLOAT, ["B", h])
                for n in ("state", "output")
            ],
        )

    def _stacked(self, parts: list[str], axis: int, output: str) -> list[onnx.NodeProto]:
        at = self._constant(f"axis{axis}", np.array([axis]))
        wide = [f"{part}_wide" for part in parts]
        nodes = [
            helper.make_node("Unsqueeze", [part, at], [name])
            for part, name in zip(parts, wide, strict=True)
        ]
        return [*nodes, helper.make_node("Concat", wide, [output], axis=axis)]


def _attributes(op: str) -> dict[str, Any]:
    attributes: dict[str, dict[str, Any]] = {
        "Cast": {"to": TensorProto.INT64},
        "Split": {"axis": 1},
    }
    return attributes.get(op, {})


def measure(folder: Path, threads: int, rounds: int, source: str) -> dict[str, Any]:
    """Milliseconds a call, both in turns: whole batches, and one of 32 real reviews in parts."""
    from tokenizers import Tokenizer

    from export.backends import Backend
    from export.cases import padded
    from export.certificate import read_artefact, read_config
    from export.metadata import vocabulary_size
    from export.onnx_engine import onnx_engine
    from export.padding import skip_padding
    from export.reviews import labelled_set
    from export.timing import in_turns

    config = read_config(folder)
    model = onnx.load_from_string(read_artefact(folder, "model.onnx")[0])
    if all(node.op_type != "GRU" for node in model.graph.node):
        raise ValueError(f"{folder}: its model.onnx has no GRU; give a recurrent bundle")
    contents = {"float32": model, "int8": step_wise(model)}
    engines = {
        name: onnx_engine(each.SerializeToString(), name, "cpu", threads)
        for name, each in contents.items()
    }
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ragged = padded(labelled_set(source, tokenizer, config["max_length"], 32).rows)
    random, size = np.random.default_rng(0), vocabulary_size(config)
    rows = []
    for batch, label, parts in (
        *((_full(random, size, shape), f"{shape[0]} x {shape[1]}", 0) for shape in SHAPES),
        *((ragged, f"32 real reviews, parts of {parts}", parts) for parts in (4, 16, 32)),
    ):
        run = {name: skip_padding(e, parts) if parts else e for name, e in engines.items()}
        backends = {
            name: Backend(name, "cpu", config["labels"], config["max_length"], size, engine)
            for name, engine in run.items()
        }
        times = in_turns(backends, [batch], rounds, lambda: None)
        medians = {name: 1e3 * float(np.median(each)) for name, each in times.items()}
        rows.append({"batch": label, "ms": medians,
                     "int8_times_faster": medians["float32"] / medians["int8"]})  # fmt: skip
    difference = np.abs(engines["int8"](*ragged) - engines["float32"](*ragged)).max()
    return {
        "architecture": config["architecture"],
        "weights_sha256": config["weights_sha256"],
        "threads": threads,
        "rounds": rounds,
        "reviews": source,
        "max_abs_difference": float(difference),
        "rows": rows,
    }


def _full(
    random: np.random.Generator, size: int, shape: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return random.integers(1, size, shape), np.ones(shape, np.int64)


@command
def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write JSON; a user's mistake is one line and exit status 2."""
    from models.files import write_whole

    parser = argparse.ArgumentParser(
        prog="python -m export.int8_gru",
        description="Time an int8 GRU, step by step, against ONNX Runtime's float32 operator.",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="with a model.onnx")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="of the JSON")
    parser.add_argument("--threads", type=int, default=1, metavar="N")
    parser.add_argument("--rounds", type=int, default=20, metavar="N")
    parser.add_argument("--reviews", metavar="SOURCE", default="embedded:10000")
    given = parser.parse_args(arguments)
    for option, value in (("threads", given.threads), ("rounds", given.rounds)):
        if value < 1:
            raise ValueError(f"--{option}: got {value}; give at least 1")
    measured = measure(given.bundle, given.threads, given.rounds, given.reviews)
    write_whole(given.output, json.dumps(measured, indent=1) + "\n")
    for row in measured["rows"]:
        times = ", ".join(f"{name} {ms:.2f} ms" for name, ms in row["ms"].items())
        print(f"{row['batch']:>32}: {times}: int8 {row['int8_times_faster']:.2f}x")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
