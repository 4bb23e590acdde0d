"""`python -m serve archive BUNDLE FILE.mar`: an archive for a TorchServe elsewhere."""

import hashlib
from collections.abc import Sequence

from models.command import command
from serve.archive import write_archive
from serve.command import command_parser, given_path
from serve.flags import add_serving_flags, serving_config

EPILOG = """\
examples:
  python -m serve archive runs/1-gru/best store/reviews.mar
  python -m serve archive runs/1-gru/best store/reviews.mar --version 2.0 --backend torchscript

  torchserve --start --model-store store --models reviews.mar
"""


@command
def main(arguments: Sequence[str]) -> int:
    parser = command_parser(
        "serve archive",
        "Pack a bundle's artefact into a TorchServe archive that carries its handler.",
        EPILOG,
    )
    parser.add_argument("bundle", type=given_path, metavar="BUNDLE", help="a bundle's folder")
    parser.add_argument("target", type=given_path, metavar="FILE.mar", help="the archive to write")
    parser.add_argument("--name", help="of the model in URLs (default: the file's)")
    parser.add_argument("--version", default="1.0", help="of the model (default: 1.0)")
    add_serving_flags(parser)
    options = parser.parse_args(arguments)
    if options.target.suffix != ".mar":
        raise ValueError(f"FILE.mar: got {options.target}; TorchServe wants a name in .mar")
    path = write_archive(
        options.bundle,
        options.target,
        name=options.name or options.target.stem,
        version=options.version,
        backend=options.backend,
        config=serving_config(options),
    )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    print(f"{path}: {path.stat().st_size:,} bytes, SHA-256 {digest}")
    return 0
