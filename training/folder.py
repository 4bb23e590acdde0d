"""A run's folder: of one configuration, resumable, and finished when `result.json` is there."""

import contextlib
import functools
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from models.files import exclusive, is_partial, write_whole
from training.config import differences, dump, parse
from training.measure import environment
from training.settings import Config

Run = Callable[..., dict[str, Any]]

# What may change before a run is resumed: another way to the same model.
_FREE = {
    "data.cache_dir",
    "train.evaluation_batch_size",
    "train.loader_workers",
    "train.log_every",
    "train.micro_batch_size",
    "train.save_every",
    "train.tracker",
}


def alone(run: Run) -> Run:
    """Nobody else trains into `output` while `run(config, output, ...)` does; of several processes
    of one launch the first holds the folder."""

    @functools.wraps(run)
    def guarded(config: Any, output: Path, *arguments: Any, **named: Any) -> dict[str, Any]:
        if int(os.environ.get("RANK", "0")) > 0 or output.is_file():
            return run(config, output, *arguments, **named)
        made = not output.exists()
        output.mkdir(parents=True, exist_ok=True)
        try:
            with exclusive(output):
                return run(config, output, *arguments, **named)
        finally:
            if made:  # a run that was refused leaves none
                with contextlib.suppress(OSError):
                    output.rmdir()

    return guarded


def empty(folder: Path) -> None:
    """Removes what is in it, and not the folder, which is held; the configuration, by which it is
    known as a run's, last."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == "config.yaml"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def check_folder(
    output: Path, restart: bool, changed: Callable[[Path], list[str]]
) -> dict[str, Any] | None:
    """A finished run's result, None where there is something to do; changes nothing.

    Args:
        changed: the settings that differ from a stored `config.yaml`.

    Raises:
        ValueError: the folder holds a run of other settings, or something that is not a run.
    """
    stored, result = output / "config.yaml", output / "result.json"
    if not stored.is_file():
        refuse_strangers(output)
    elif restart:
        return None
    elif is_begun(output) and (different := changed(stored)):
        raise ValueError(
            f"--output {output} holds a run of other settings ({'; '.join(different)}); give "
            "another folder, or --restart to replace it"
        )
    if result.is_file():
        return dict(json.loads(result.read_text(encoding="utf-8")))
    return None


def begin_folder(output: Path, restart: bool, config: str, facts: dict[str, Any]) -> None:
    """Makes it the run's, once nothing can be refused any more: with `restart` what it held is gone
    from here on. `config` is the text of `config.yaml`, by which it is known as a run's."""
    if restart and (output / "config.yaml").is_file():
        empty(output)
    output.mkdir(parents=True, exist_ok=True)
    write_whole(output / "config.yaml", config)
    write_whole(output / "environment.json", json.dumps(facts, indent=1))


def check_run(
    config: Config, output: Path, restart: bool, accelerator: Accelerator | None = None
) -> dict[str, Any] | None:
    """`check_folder` for a run of this configuration. The main process decides and tells the
    others, which need not see its disk."""
    decided: list[dict[str, Any] | None] = [None]
    if accelerator is None or accelerator.is_main_process:
        decided = [check_folder(output, restart, lambda stored: _changed(config, stored))]
    if accelerator is not None:
        broadcast_object_list(decided)
    return decided[0]


def begin_run(
    config: Config, output: Path, restart: bool, accelerator: Accelerator | None = None
) -> None:
    """`begin_folder` for a run of this configuration, by the main process before the others."""
    processes = accelerator.num_processes if accelerator else 1
    device = accelerator.device if accelerator else torch.device("cpu")
    if accelerator is None or accelerator.is_main_process:
        facts = environment(device, processes, config.train.seed, sys.orig_argv)
        begin_folder(output, restart, dump(config), facts)
    if accelerator is not None:
        accelerator.wait_for_everyone()
        output.mkdir(parents=True, exist_ok=True)  # on another machine's disk


def is_begun(output: Path) -> bool:
    """Whether a step was taken; without one (a mistyped source) all settings may change."""
    return (output / "history.jsonl").is_file()


def write_result(output: Path, result: dict[str, Any]) -> None:
    """`result.json`, last and whole: where it is, the run is finished."""
    write_whole(output / "result.json", json.dumps(result, indent=1))
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(output / "state")


def refuse_strangers(output: Path) -> None:
    """A folder without a configuration must be empty, but for what a run leaves that was killed
    while it wrote one; that is removed.

    Raises:
        ValueError: a file, or a folder that holds something else.
    """
    if output.is_file() or not all(map(is_partial, output.glob("*"))):
        raise ValueError(f"--output {output} is not empty and not a run; give another folder")
    for leftover in output.glob("*"):
        leftover.unlink(missing_ok=True)


def _changed(config: Config, stored: Path) -> list[str]:
    other = parse(yaml.safe_load(stored.read_text(encoding="utf-8")))
    return [d for d in differences(other, config) if d.split(":")[0] not in _FREE]
