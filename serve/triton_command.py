"""`python -m serve triton BUNDLE FOLDER`: a model repository for NVIDIA Triton, the way out of
TorchServe, whose upstream has stopped.

Triton runs the ONNX artefact itself; texts are turned into ids before, by the tokenizer.json that
is written beside it. Without Triton at hand, the names and types are taken from the artefact.
"""

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from export.certificate import read_artefact, read_config, read_tokenizer
from models.command import command
from serve.archive import ARTEFACTS, check_name
from serve.command import command_parser, given_path

BATCH_SIZE, QUEUE_MICROSECONDS = 32, 1000
EPILOG = """\
example:
  python -m serve triton runs/1-gru/best repository --name sentiment
  tritonserver --model-repository repository

Another --version is added to a model that is there; Triton serves the newest.
"""
# ONNX's names of types -> Triton's, of those that the artefacts have
_TYPES = {"tensor(int64)": "TYPE_INT64", "tensor(float)": "TYPE_FP32"}


@command
def main(arguments: Sequence[str]) -> int:
    backends = [name for name, file in ARTEFACTS.items() if file.endswith(".onnx")]
    parser = command_parser(
        "serve triton", "Write a Triton model repository from a bundle's ONNX artefact.", EPILOG
    )
    parser.add_argument("bundle", type=given_path, metavar="BUNDLE", help="a bundle's folder")
    parser.add_argument(
        "repository", type=given_path, metavar="FOLDER", help="Triton's model repository"
    )
    parser.add_argument("--name", default="sentiment", help="of the model (default: sentiment)")
    parser.add_argument("--version", type=int, default=1, help="of the model (default: 1)")
    parser.add_argument("--backend", default="onnx", choices=backends, help="default: onnx")
    options = parser.parse_args(arguments)
    target = write_model(
        options.bundle, options.repository, options.name, options.version, options.backend
    )
    print(f"{target}: tritonserver --model-repository {options.repository}")
    return 0


def write_model(
    bundle: Path, repository: Path, name: str, version: int = 1, backend: str = "onnx"
) -> Path:
    """Writes the model's folder in the repository, or a version of a model that is there, whole or
    not at all; returns the model's folder.

    Raises:
        ValueError: an artefact without its proof; the version is there already, or the model's
            other versions have another tokenizer, length, labels or interface, which all versions
            share.
    """
    check_name(name)
    target = repository / name
    if version < 1:
        raise ValueError(f"--version: got {version}; Triton's begin at 1")
    config = read_config(bundle)
    content, _ = read_artefact(bundle, ARTEFACTS[backend])
    shared = {
        "config.pbtxt": model_config(content, name, config["max_length"]).encode(),
        "labels.txt": ("\n".join(config["labels"]) + "\n").encode(),
        "tokenizer.json": read_tokenizer(bundle, config),
    }
    if target.exists():
        _check_version(target, version, shared)
    repository.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=repository))
    try:
        made = new / str(version)
        made.mkdir()
        (made / "model.onnx").write_bytes(content)
        if target.exists():
            os.rename(made, target / str(version))
            new.rmdir()
        else:
            for file, each in shared.items():
                (new / file).write_bytes(each)
            new.chmod(0o755)
            os.rename(new, target)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    return target


def _check_version(target: Path, version: int, shared: Mapping[str, bytes]) -> None:
    if (target / str(version)).exists():
        raise ValueError(
            f"{target / str(version)}: is there already; remove it, or give another --version or "
            "--name"
        )
    for file, content in shared.items():
        if not (target / file).is_file() or (target / file).read_bytes() != content:
            raise ValueError(
                f"{target / file}: is not this bundle's, and a model's versions share it; give "
                "another --name"
            )


def model_config(content: bytes, name: str, max_length: int) -> str:
    """Triton's config.pbtxt: what the artefact takes and gives, batching of like lengths, and how
    many tokens of a text the caller gives."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    inputs = [_tensor(each.name, each.type, [-1]) for each in session.get_inputs()]
    outputs = [
        _tensor(each.name, each.type, each.shape[1:], "labels.txt")
        for each in session.get_outputs()
    ]
    return (
        f'name: "{name}"\n'
        'platform: "onnxruntime_onnx"\n'
        f"max_batch_size: {BATCH_SIZE}\n"
        f"input [\n{','.join(inputs)}\n]\n"
        f"output [\n{','.join(outputs)}\n]\n"
        # Triton batches requests of one length; send texts sorted by theirs.
        f"dynamic_batching {{ max_queue_delay_microseconds: {QUEUE_MICROSECONDS} }}\n"
        "instance_group [ { count: 1 kind: KIND_CPU } ]\n"
        f'parameters {{ key: "max_length" value {{ string_value: "{max_length}" }} }}\n'
    )


def _tensor(name: str, kind: str, dims: list[int], labels: str = "") -> str:
    sizes = ", ".join(map(str, dims))
    file = f' label_filename: "{labels}"' if labels else ""
    return f'  {{ name: "{name}" data_type: {_TYPES[kind]} dims: [ {sizes} ]{file} }}'
