"""`python -m serve ask TARGET TEXT...`: an endpoint's answers; a bundle's is started and stopped.

Asked of a bundle it is the smoke test of all that serving takes: packing, Java, workers, tokens,
the client, draining, and that nothing is left behind.
"""

import argparse
import sys
import time
from collections.abc import Sequence

import psutil
from rich.console import Console

from models.command import command, fail
from serve.client import Client, ClientError, Prediction, RequestRefused
from serve.command import command_parser, flag_of, given_path
from serve.flags import add_serving_flags, given_flags, parse_models, serving_config
from serve.server import Server, ServerError
from serve.server_config import ServerConfig
from serve.stopping import Stopped, stoppable

EPILOG = """\
examples:
  python -m serve ask runs/1-gru/best "Broke after a week. Avoid." "Just right."
  python -m serve ask runs/1-gru/best "Just right." --backend onnx-int8
  python -m serve ask http://127.0.0.1:8080/predictions/1-gru "Just right." \\
      --token-file key_file.json

A bundle is served on free ports of the loopback interface for as long as it takes to answer, one
request a text. Exit status: 0 every text was answered and nothing is left behind, 1 not so, 2 a
mistake in the call, 130 interrupted.
"""


@command
def main(arguments: Sequence[str]) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    try:
        if options.target.startswith(("http://", "https://")):
            if given := given_flags(options):
                flags = ", ".join(map(flag_of, given))
                raise ValueError(f"{flags}: {options.target} runs already; leave it out")
            _ask(Client(options.target, token_file=options.token_file), options.texts, console)
        else:
            with stoppable():
                _ask_bundle(options, console)
    except Stopped:
        print("interrupted; the endpoint is gone", file=sys.stderr)
        return 130
    except (ServerError, ClientError) as error:
        return fail(error, 1)
    return 0


def _ask_bundle(options: argparse.Namespace, console: Console) -> None:
    """Raises `ServerError` also where a request was lost or something of the server remains."""
    if options.token_file is not None:
        raise ValueError("--token-file: a bundle's endpoint has its own; leave it out")
    (model,) = parse_models([options.target], options)
    config = ServerConfig(backend=options.backend, fast_start=True, serving=serving_config(options))
    began = time.perf_counter()
    with Server([model], config) as server:
        url = f"{server.url}/predictions/{model.name}/{model.version}"
        console.print(f"ready     {url} after {time.perf_counter() - began:.1f} s")
        client = Client(url, token_file=server.key_file)
        _ask(client, options.texts, console)
        client.close()
        workers = server.worker_pids()
        drained = server.stop()
    if not drained:
        raise ServerError("it ended before everything that was accepted was answered")
    if left := leftovers(server, workers):
        raise ServerError(f"left behind: {', '.join(left)}")
    console.print("stopped   drained, nothing left behind")


def leftovers(server: Server, workers: Sequence[int]) -> list[str]:
    """What of a stopped server is still there, in few words; `workers` were its processes."""
    found = ["Java's process"] if server.alive() else []
    found += [f"worker {pid}" for pid in workers if psutil.pid_exists(pid)]
    folder = server.instance.folder
    return found + ([f"folder {folder}"] if folder.exists() else [])


def _ask(client: Client, texts: Sequence[str], console: Console) -> None:
    """One request a text, as users send them; each answer on a line, by its label and score."""
    for number, text in enumerate(texts, 1):
        began = time.perf_counter()
        try:
            (prediction,) = client.predict([text])
        except RequestRefused as error:
            raise error.moved(number) from None
        console.print(_line(prediction, text, time.perf_counter() - began))


def _line(prediction: Prediction, text: str, seconds: float) -> str:
    cut = " (cut)" if prediction.truncated else ""
    return f"{prediction.label:<9} {prediction.score:6.1%} in {1e3 * seconds:.1f} ms  {text}{cut}"


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "serve ask",
        "Ask an endpoint over HTTP; that of a bundle is started, then stopped again.",
        EPILOG,
    )
    parser.add_argument(
        "target", metavar="TARGET", help="[NAME[@VERSION]=]BUNDLE, a .mar, or a model's URL"
    )
    parser.add_argument("texts", nargs="+", metavar="TEXT", help="what to ask")
    parser.add_argument(
        "--token-file", type=given_path, metavar="FILE", help="of the URL's endpoint"
    )
    add_serving_flags(parser)
    return parser
