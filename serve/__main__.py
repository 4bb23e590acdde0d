"""`python -m serve BUNDLE...`: the endpoint; and commands, each with a --help of its own."""

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from rich.console import Console

from models.command import command, fail
from serve import archive_command, ask_command, health_command, predict_command, triton_command
from serve.client import Client
from serve.command import command_parser
from serve.flags import (
    add_server_flags,
    add_serving_flags,
    page_port,
    parse_models,
    server_config,
)
from serve.page import PageServer
from serve.server import Server, ServerError
from serve.stopping import Stopped, stoppable

EPILOG = """\
examples:
  python -m serve runs/1-gru/best                      one model, on port 8080
  python -m serve old@1.0=runs/a/best old@2.0=runs/b/best
                                                       two versions of one model
  python -m serve runs/1-gru/best runs/3-transformer/best --page
                                                       two models, and a page to compare them
  python -m serve ask runs/1-gru/best "Broke after a week."
                                                       start, ask over HTTP, stop: a smoke test
  python -m serve archive runs/1-gru/best reviews.mar  an archive for a TorchServe elsewhere
  python -m serve predict reviews.csv scored.csv --bundle runs/1-gru/best
  python -m serve health                               exit 0 where all is ready; for probes
  python -m serve triton runs/1-gru/best repository    the same model for NVIDIA Triton
  python -m serve.benchmark --help                     how fast it is here

The endpoint listens on the loopback interface and asks for a token: put a reverse proxy in front of
it (docs/serve.md has one). Ctrl+C or SIGTERM answers what was accepted, then ends.
"""
COMMANDS = {
    "archive": archive_command.main,
    "ask": ask_command.main,
    "health": health_command.main,
    "predict": predict_command.main,
    "triton": triton_command.main,
}


@command
def main(arguments: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in COMMANDS:
        return COMMANDS[given[0]](given[1:])
    options = _parser().parse_args(given)
    with stoppable():
        return _serve(options)


def _serve(options: argparse.Namespace) -> int:
    console = Console(highlight=False, soft_wrap=True)
    page = None
    try:
        models, config = parse_models(options.bundles, options), server_config(options)
        port = page_port(options)
        if port is not None:  # first, so that nothing starts where this port cannot be had
            page = PageServer({}, port)
        with Server(models, config) as server:
            return _run(server, page, console)
    except Stopped:
        print("interrupted before it was ready; nothing is left behind", file=sys.stderr)
        return 130
    except ServerError as error:
        return fail(error, 1)
    finally:
        if page is not None:
            page.stop()


def _run(server: Server, page: PageServer | None, console: Console) -> int:
    try:
        announce(server, console)
        if page is not None:
            page.clients = endpoints(server)
            page.start()
            console.print(f"page        {page.url}")
        while server.alive():
            time.sleep(0.2)
    except Stopped:
        with suppress(OSError):  # the terminal may be what has ended
            console.print("answering what was accepted, then ending")
        if not server.stop():
            raise ServerError(
                f"{server.config.drain_timeout:.0f} s (--drain-timeout) were over before every "
                "client had its answer or went; what was under way was cut off"
            ) from None
        return 0
    finally:
        if page is not None:
            page.stop()
    raise ServerError(
        f"TorchServe's front end ended by itself (status {server.process.returncode}); start again"
    )


def announce(server: Server, console: Console) -> None:
    """Where to ask, and a line that works."""
    ports = server.instance.ports
    for model in server.models:
        console.print(f"ready       {server.url}/predictions/{model.name}/{model.version}")
    console.print(f"management  http://127.0.0.1:{ports.management}")
    console.print(f"metrics     http://127.0.0.1:{ports.metrics}/metrics")
    console.print(f"token file  {server.key_file}")
    console.print("try it:\n" + curl_line(server))


def endpoints(server: Server) -> dict[str, Client]:
    """A client for each model, by a name to show."""
    management = f"http://127.0.0.1:{server.instance.ports.management}"
    return {
        f"{model.name} {model.version}": Client(
            f"{server.url}/predictions/{model.name}/{model.version}",
            token_file=server.key_file,
            management_url=management,
        )
        for model in server.models
    }


def curl_line(server: Server) -> str:
    """A shell command that asks the first model; it reads the token from its file."""
    read = (
        f"{sys.executable} -c 'import json; "
        f'print(json.load(open("{server.key_file}"))["inference"]["key"])\''
    )
    model = server.models[0]
    return (
        f'curl -H "Authorization: Bearer $({read})" -H "Content-Type: application/json" '
        f'-d \'{{"text": "Broke after a week. Avoid."}}\' '
        f"{server.url}/predictions/{model.name}/{model.version}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "serve", "Pack bundles into archives and serve them with TorchServe.", EPILOG
    )
    parser.add_argument(
        "bundles",
        nargs="+",
        metavar="[NAME[@VERSION]=]BUNDLE",
        help="a bundle's folder with the backend's artefact (see python -m export), or a .mar",
    )
    add_serving_flags(parser)
    add_server_flags(parser)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
