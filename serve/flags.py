"""The flags that say how an archive's workers run: shared by serving and by archiving."""

import argparse

from serve.archive import ARTEFACTS, ServingConfig
from serve.requests import Limits


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
    parser.add_argument("--backend", default="onnx", choices=ARTEFACTS, help="default: onnx")
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
            flag, type=int, default=default, metavar="N", help=f"{text} (default: {default})"
        )
