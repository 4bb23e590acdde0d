"""Train an experiment: `python -m training --experiment NAME --data SOURCE... --output DIR`."""

import argparse
import os
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from models.command import command
from training.config import dump, experiment_names, load_experiment
from training.settings import Config

_EPILOG = """\
examples:
  python -m training --list
  python -m training --experiment demo --output runs/demo
  python -m training --experiment 1-gru --data fancyzhx/amazon_polarity --output runs/1-gru
  python -m training --experiment 3-transformer --data reviews.csv --test other.csv \\
      --output runs/3 --set data.tokenizer=./bert-base-uncased train.epochs=2
  accelerate launch --config_file accelerate_config.yaml -m training --experiment demo \\
      --output runs/demo
  python -m training --task mlm --augment counterfactual --data embedded:5000 --output runs/mlm

A source is a name on the hub, a folder, a file (parquet, csv, tsv, jsonl, fastText's txt; .gz and
.bz2 too), `embedded` or `embedded:N`. The same command resumes a run that was interrupted.
"""


@command
def main(arguments: list[str] | None = None) -> int:
    """Parse, run, and turn a user's mistake into one line and exit status 2."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.list:
        _print_experiments()
        return 0
    if given.task == "mlm":
        return _train_masked(given, parser)
    if given.augment or given.swaps:
        parser.error("--augment and --swaps belong to --task mlm")
    if not given.experiment or not (given.output or given.show):
        parser.error("--experiment NAME and --output DIR are needed (--list shows the experiments)")
    config = _config(given)
    if given.show:
        print(dump(config), end="")
        return 0
    return _train(config, Path(given.output), given.restart)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training",
        description="Train a text classifier, keep its best checkpoint as a bundle, and test it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--list", action="store_true", help="show the experiments and leave")
    parser.add_argument("--task", choices=["classification", "mlm"], default="classification",
                        help="mlm trains a masked language model, for the bias audit")  # fmt: skip
    parser.add_argument("--augment", choices=["none", "counterfactual"],
                        help="of --task mlm: also train on gender-swapped copies")  # fmt: skip
    parser.add_argument("--swaps", metavar="FILE", help="word pairs in place of our own list")
    parser.add_argument("--experiment", metavar="NAME", help="an experiment, or its .yaml file")
    parser.add_argument("--data", nargs="+", metavar="SOURCE", help="sources of reviews, joined")
    parser.add_argument(
        "--test", nargs="+", metavar="SOURCE", help="further sources, only tested on"
    )
    parser.add_argument("--output", metavar="DIR", help="folder of the run")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE",
                        help="settings over the experiment's, such as train.epochs=2")  # fmt: skip
    parser.add_argument("--show", action="store_true", help="print the resolved settings and leave")
    parser.add_argument("--restart", action="store_true", help="drop what DIR holds of this run")
    return parser


def _config(given: argparse.Namespace) -> Config:
    config = load_experiment(given.experiment, given.set)
    if given.data:
        config.data.sources = given.data
    if given.test:
        config.data.tests = given.test
    return config


def _train_masked(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from training.mlm.config import as_dict, masked_config

    if given.experiment or given.test:
        parser.error("--experiment and --test belong to --task classification")
    if not (given.output or given.show):
        parser.error("--output DIR is needed")
    config = masked_config(given.set, sources=given.data, augment=given.augment, swaps=given.swaps)
    if given.show:
        import yaml

        print(yaml.safe_dump(as_dict(config), sort_keys=False, allow_unicode=True), end="")
        return 0
    from training.loop import Interrupted
    from training.mlm.run import run_masked

    try:
        run_masked(config, Path(given.output), given.restart)
    except Interrupted as stop:
        print(f"{stop}; the same command resumes it", file=sys.stderr)
        return 130
    return 0


def _train(config: Config, output: Path, restart: bool) -> int:
    # torch and transformers take seconds to import: not for --help or a mistyped name
    import torch

    from training.loop import Interrupted
    from training.run import run
    from training.tfidf import run_tfidf

    try:
        if config.model.architecture == "tfidf":
            if os.environ.get("RANK", "0") == "0":  # scikit-learn's is one process's work
                run_tfidf(config, output, restart)
        else:
            run(config, output, restart)
    except Interrupted as stop:
        print(f"{stop}; the same command resumes it", file=sys.stderr)
        return 130
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        train = config.train
        size = min(train.micro_batch_size, train.batch_size)
        print(f"error: out of memory; the same command with --set train.micro_batch_size="
              f"{max(1, size // 2)} (now {train.micro_batch_size}) takes fewer reviews a forward "
              "pass, still "
              f"{train.batch_size} an optimiser step, and goes on from the last saved state; "
              f"train.evaluation_batch_size is {train.evaluation_batch_size}, data.max_length "
              f"{config.data.max_length}", file=sys.stderr)  # fmt: skip
        return 1
    if int(os.environ.get("RANK", "0")) == 0:
        print(f"finished: {output / 'result.json'}; pictures and findings: "
              f"python -m training.results {output} --output {output / 'report'}")  # fmt: skip
    return 0


def _is_out_of_memory(error: BaseException) -> bool:
    """torch on CPU raises a plain RuntimeError for it."""
    import torch

    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        "can't allocate memory" in text
        or "not enough memory" in text
        or "out of memory" in text
        or "alloc_failed" in text
    )


def _print_experiments() -> None:
    table = Table("experiment", "number", "variant", "what", box=None)
    configs = [load_experiment(name) for name in experiment_names()]
    for config in sorted(configs, key=lambda c: (c.number or 99, c.variant, c.experiment)):
        table.add_row(config.experiment, str(config.number or ""), config.variant, config.title)
    Console().print(table)


if __name__ == "__main__":
    raise SystemExit(main())
