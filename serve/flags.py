"""The arguments of serving and archiving, and what they say."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serve.archive import ARTEFACTS, ServingConfig
from serve.command import flag_of, given_path
from serve.requests import Limits
from serve.served_model import Model
from serve.server_config import ServerConfig

PAGE_PORT = 8083


def parse_model(text: str) -> Model:
    """`[NAME[@VERSION]=]FOLDER` -> the model.

    Without a name it is the folder's, or the parent's where the folder is a run's `best`. A
    ready-made archive has its own name and version.

    Raises:
        ValueError, FileNotFoundError: an archive that is not there, is broken, or is another's; a
            name, a version or a folder that is announced and not there.
    """
    given, separator, folder = text.rpartition("=")
    source = Path(folder)
    name, at, version = given.partition("@")
    if not folder or (separator and not name) or (at and not version):
        raise ValueError(f"{text}: give BUNDLE, NAME=BUNDLE or NAME@VERSION=BUNDLE")
    if source.suffix == ".mar":
        return Model.of_archive(source, name, version)
    if not separator:
        resolved = source.resolve()
        name = resolved.parent.name if resolved.name == "best" else resolved.stem
    return Model(source, name, version or "1.0")


def parse_models(texts: Sequence[str], options: argparse.Namespace) -> list[Model]:
    """The models. Errors as `parse_model`'s; `ValueError` also where a flag of `add_serving_flags`
    that was given asks for what a ready-made archive will not do."""
    models = [parse_model(each) for each in texts]
    for model in models:
        model.check_flags(given_flags(options))
    return models


def given_flags(options: argparse.Namespace) -> dict[str, Any]:
    """The flags of `add_serving_flags` that somebody gave, by their names in `options`."""
    return {name: getattr(options, name) for name in getattr(options, "given", ())}


class _Noted(argparse.Action):
    """Stores a value, and its name in `given`: a default is not what somebody asked for."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, values)
        namespace.given = (*getattr(namespace, "given", ()), self.dest)


def serving_config(options: argparse.Namespace) -> ServingConfig:
    """What the flags of `add_serving_flags` say."""
    return ServingConfig(
        workers=options.workers,
        threads=options.threads,
        batch_size=options.batch_size,
        batch_delay=options.batch_delay,
        queue=options.queue,
        response_timeout=options.response_timeout,
        limits=Limits(
            body_bytes=options.max_body_bytes,
            text_bytes=options.max_text_bytes,
            items=options.max_items,
        ),
    )


def add_serving_flags(parser: argparse.ArgumentParser) -> None:
    """The flags about an archive's workers."""
    standard = ServingConfig()
    limits = standard.limits
    parser.add_argument(
        "--backend", action=_Noted, default="onnx", choices=ARTEFACTS, help="default: onnx"
    )
    group = parser.add_argument_group("workers of each model")
    for flag, default, text in (
        ("--workers", standard.workers, "processes"),
        ("--threads", standard.threads, "threads of the engine in each"),
        ("--batch-size", standard.batch_size, "requests computed together, at most"),
        ("--batch-delay", standard.batch_delay, "milliseconds a request waits for others"),
        ("--queue", standard.queue, "requests that wait, at most; more get 503"),
        ("--response-timeout", standard.response_timeout, "seconds until a worker is given up"),
        ("--max-body-bytes", limits.body_bytes, "of a request"),
        ("--max-text-bytes", limits.text_bytes, "of a text"),
        ("--max-items", limits.items, "texts in a request"),
    ):
        group.add_argument(
            flag,
            action=_Noted,
            type=int,
            default=default,
            metavar="N",
            help=f"{text} (default: {default})",
        )


def add_server_flags(parser: argparse.ArgumentParser) -> None:
    """The flags about the server around the workers."""
    standard = ServerConfig()
    group = parser.add_argument_group("server")
    group.add_argument("--port", type=int, default=8080, metavar="N", help="default: 8080")
    for flag, text in (("--management-port", "8081"), ("--metrics-port", "8082")):
        group.add_argument(flag, type=int, default=int(text), metavar="N", help=f"default: {text}")
    group.add_argument(
        "--token-minutes",
        type=int,
        default=standard.token_minutes,
        metavar="N",
        help=f"until tokens expire (default: {standard.token_minutes})",
    )
    group.add_argument("--logs", type=given_path, metavar="FOLDER", help="keep the logs here")
    group.add_argument(
        "--nginx-token-file",
        type=given_path,
        metavar="FILE",
        help="keep the inference token here, as serve/deploy/nginx.conf includes it",
    )
    for flag, value in (
        ("--start-timeout", standard.start_timeout),
        ("--drain-timeout", standard.drain_timeout),
    ):
        group.add_argument(
            flag, type=float, default=value, metavar="S", help=f"seconds (default: {value:.0f})"
        )
    group.add_argument(
        "--no-buffered-socket",
        action="store_true",
        help="TorchServe's own reading of its workers' sockets: slower",
    )
    group.add_argument(
        "--fast-start",
        action="store_true",
        help="faster for the first thousands of requests and slower after them",
    )
    group.add_argument("--page", action="store_true", help="also a page to try and compare models")
    group.add_argument("--page-port", type=int, metavar="N", help=f"default: {PAGE_PORT}")


def server_config(options: argparse.Namespace) -> ServerConfig:
    """What all the flags say."""
    return ServerConfig(
        backend=options.backend,
        port=options.port,
        management_port=options.management_port,
        metrics_port=options.metrics_port,
        token_minutes=options.token_minutes,
        buffered_socket=not options.no_buffered_socket,
        fast_start=options.fast_start,
        logs=options.logs,
        nginx_token_file=options.nginx_token_file,
        start_timeout=options.start_timeout,
        drain_timeout=options.drain_timeout,
        serving=serving_config(options),
    )


def page_port(options: argparse.Namespace) -> int | None:
    """The page's port, None where no page is asked for.

    Raises:
        ValueError: a port without a page, or one that is another door's.
    """
    if not options.page and options.page_port is not None:
        raise ValueError(f"--page-port: got {options.page_port} without --page; give that, too")
    if not options.page:
        return None
    port = PAGE_PORT if options.page_port is None else int(options.page_port)
    for name in ("port", "management_port", "metrics_port"):
        if port == getattr(options, name) != 0:
            raise ValueError(
                f"--page-port: got {port}, which is {flag_of(name)} too; give another port"
            )
    return port
