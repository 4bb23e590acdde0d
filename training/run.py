"""One experiment from reviews to `result.json`, in one folder that says how it came about."""

import os
import time
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.tracking import LOGGER_TYPE_TO_CLASS
from accelerate.utils import GradientAccumulationPlugin, ProjectConfiguration

from models import bundle, recurrence, registry
from models.classifier import Classifier
from training import row_wise
from training.best import measure_best
from training.config import as_dict, flatten
from training.data import ReviewData, load_data
from training.distillation import check_teacher, teacher_logits, with_unlabelled
from training.folder import alone, begin_run, check_run, write_result
from training.initialisation import initialise_blocks, initialise_embeddings, scale_drawn
from training.launch import check_environment, check_processes, ignored_accumulation
from training.loop import Trainer, make_optimizer
from training.measure import device_name
from training.objective import Objective
from training.progress import Progress
from training.result import describe
from training.settings import Config
from training.state import TrainState

LABELS = ["negative", "positive"]
RECURRENT = {"gru-encoder", "gru-encoder-decoder", "custom-gru"}


@alone
def run(config: Config, output: Path, restart: bool = False) -> dict[str, Any]:
    """Train, keep the best, test it, write everything; resume what an earlier call began.

    Returns the content of `result.json`, on the main process.

    Raises:
        ValueError: settings that do not fit one another, the data or the folder; one line.
        training.loop.Interrupted: a signal asked to stop; the same call goes on from there.
    """
    began = time.perf_counter()
    if config.variant == "distilled" and config.distill.teacher is None:
        raise ValueError(
            f"--experiment {config.experiment} learns from a teacher; give one with --set "
            "distill.teacher=FOLDER, such as the best/ of a 6-bert-finetuned run"
        )
    accelerator = make_accelerator(config, output)
    progress = Progress(accelerator.is_main_process)
    if ignored := ignored_accumulation():
        progress.say(ignored)
    done = check_run(config, output, restart, accelerator)
    if done:
        progress.say(f"already finished: {output / 'result.json'} (--restart trains it again)")
        return done
    progress.say(
        f"{device_name(accelerator.device)}: {accelerator.num_processes} process(es), "
        f"{torch.get_num_threads()} thread(s) each, precision {accelerator.mixed_precision}"
    )
    if config.distill.teacher is not None:
        check_teacher(config.distill.teacher, LABELS)
    _check_model(config)
    _choose_recurrence(config, accelerator.device, progress)
    # Its file locks let one process tokenise while the others wait, however long that takes.
    data = load_data(config.data, progress if accelerator.is_main_process else None)
    data_seconds = time.perf_counter() - began
    torch.manual_seed(config.train.seed)
    arguments = model_arguments(config, data)
    model = registry.build(config.model.architecture, **arguments)
    if config.initial.deviation is not None:
        scale_drawn(model, config.initial.deviation)
    if config.initial.embeddings is not None:
        initialise_embeddings(model, config.initial.embeddings)
    if config.initial.blocks is not None:
        initialise_blocks(model, config.initial.blocks)
    _check_fit(config, data, model)
    trainer = _trainer(config, output, accelerator, progress, data, model, arguments)
    if config.distill.teacher is not None:
        _take_lessons(trainer, data)
    begin_run(config, output, restart, accelerator)
    trainer.resume()
    trainer.state.data_seconds += data_seconds
    _start_tracker(config, accelerator, trainer.state.step)
    trainer.run()
    tests_began = time.perf_counter()
    measured = measure_best(trainer, data)
    test_seconds = time.perf_counter() - tests_began
    result: dict[str, Any] = {}
    if accelerator.is_main_process:
        result = describe(config, trainer, data, model, arguments) | measured
        result["best"]["weights_sha256"] = bundle.verify(output / "best")["weights_sha256"]
        result["time"]["test_seconds"] = test_seconds
        result["time"]["total_seconds"] = sum(
            result["time"][f"{part}_seconds"]
            for part in ("data", "teacher", "train", "evaluation", "test")
        )
        write_result(output, result)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return result


def make_accelerator(config: Config, output: Path) -> Accelerator:
    """Accelerate's own view of the machine, with our precision and tracker where set.

    Raises:
        ValueError: fp16 without an accelerator, a tracker that is unknown or not installed, or a
            launch that compiles or shards the model.
    """
    check_environment()
    tracker = config.train.tracker
    known = sorted(str(name) for name in LOGGER_TYPE_TO_CLASS)
    if tracker not in (*known, "none"):
        raise ValueError(f"train.tracker={tracker}: known are none, {', '.join(known)}")
    # Accelerate reads this variable where the configuration leaves the precision open.
    precision = config.train.mixed_precision or os.environ.get("ACCELERATE_MIXED_PRECISION")
    if precision == "fp16" and not torch.cuda.is_available():
        raise ValueError(
            "mixed precision fp16 needs a GPU; here --set train.mixed_precision=bf16 or =no"
        )
    try:
        accelerator = Accelerator(
            # Said outright, since several processes on CPUs are not found out by themselves. CPU
            # or CUDA: Apple's MPS has no float64, in which the sums are kept.
            cpu=not torch.cuda.is_available(),
            mixed_precision=config.train.mixed_precision,
            log_with=None if tracker == "none" else tracker,
            # said outright: else the environment's number of steps divides the loss
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
            project_config=ProjectConfiguration(
                project_dir=str(output), logging_dir=str(output / "tensorboard")
            ),
        )
    except (ValueError, ImportError) as error:
        raise ValueError(f"train.mixed_precision={config.train.mixed_precision}, "
                         f"train.tracker={tracker}: {error}") from error  # fmt: skip
    if tracker != "none" and not accelerator.log_with:
        raise ValueError(f"train.tracker={tracker} is not installed; install it, or --set "
                         "train.tracker=tensorboard")  # fmt: skip
    check_processes(accelerator)
    return accelerator


def model_arguments(config: Config, data: ReviewData) -> dict[str, Any]:
    """The configured arguments, with the vocabulary's size where the architecture takes one."""
    arguments = dict(config.model.arguments)
    if config.model.architecture != "bert":
        arguments.setdefault("vocabulary_size", data.tokenizer.get_vocab_size())
    return arguments


def _check_model(config: Config) -> None:
    """Builds the model once without storage, so that a mistyped setting is told before millions of
    reviews are read, and not after. Of a pretrained encoder the configuration is read instead.

    Raises:
        ValueError: an unknown architecture or argument, or a value that is not allowed.
    """
    architecture, arguments = config.model.architecture, config.model.arguments
    if architecture == "bert":
        from models.pretrained import backbone_config  # imports transformers

        registry.check_arguments(architecture, arguments)
        if isinstance(arguments["backbone"], str):
            backbone_config(arguments["backbone"], arguments.get("encoder_dropout"))
        return
    arguments = {"vocabulary_size": 1000} | arguments
    bundle.empty_model({"architecture": architecture, "arguments": arguments})


def _choose_recurrence(config: Config, device: torch.device, progress: Progress) -> None:
    """How this process's GRUs take their steps.

    Raises:
        ValueError: kernels for a model or on a device that has no use for them, or no Triton.
    """
    architecture, wanted = config.model.architecture, config.train.recurrence
    if wanted == "triton" and architecture != "custom-gru":
        raise ValueError(
            f"train.recurrence=triton: on a GPU {architecture} does not take its steps by "
            "models.recurrence, only custom-gru does; leave it at loop"
        )
    recurrence.use(wanted)
    if wanted == "triton":
        if not recurrence.kernels_for(torch.empty(0, device=device)):
            raise ValueError(f"train.recurrence=triton: needs a GPU, and the device is {device}; "
                             "leave it at loop")  # fmt: skip
        progress.say("recurrence: Triton kernels")


def _check_fit(config: Config, data: ReviewData, model: Classifier) -> None:
    """The longest review of the last token id goes through, or says before training why not.

    Raises:
        ValueError: more tokens, or longer reviews, than the model has embeddings for, or another
            number of logits than the reviews have labels.
    """
    size, length = data.tokenizer.get_vocab_size(), config.data.max_length
    ids = torch.full((1, length), size - 1)
    try:
        with torch.inference_mode():
            given = model.eval()(ids, torch.ones_like(ids)).shape[-1]
    except (IndexError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"data.max_length={length} and the tokenizer's {size} tokens do not fit "
            f"model.architecture={config.model.architecture}: {error}"
        ) from error
    if given != len(LABELS):
        raise ValueError(
            f"model.arguments.num_labels={given}: the reviews have {len(LABELS)} labels "
            f"({', '.join(LABELS)}); leave it out"
        )
    if config.train.compile and config.model.architecture in RECURRENT:
        raise ValueError(
            f"train.compile: torch.compile unrolls {config.model.architecture} over the steps and "
            "compiles it anew for every length; leave it off for recurrent models"
        )


def _trainer(
    config: Config,
    output: Path,
    accelerator: Accelerator,
    progress: Progress,
    data: ReviewData,
    model: Classifier,
    arguments: dict[str, Any],
) -> Trainer:
    row_wise.prepare(config, model, accelerator.mixed_precision)
    optimizer = make_optimizer(config, model)
    runs = torch.compile(model, dynamic=True) if config.train.compile else model
    runs, optimizer = accelerator.prepare(runs, optimizer)

    def save_best(state: TrainState) -> None:
        metrics = {"validation_accuracy": state.best_accuracy, "validation_loss": state.best_loss}
        provenance = {
            "experiment": config.experiment,
            "config": as_dict(config),
            "step": state.step,
        }
        best = bundle.Bundle(
            model=model,
            tokenizer=data.tokenizer,
            architecture=config.model.architecture,
            arguments=arguments,
            labels=LABELS,
            max_length=config.data.max_length,
            provenance=provenance,
            metrics=metrics,
        )
        bundle.save(best, output / "best")

    return Trainer(
        config, runs, model, optimizer, accelerator, data.train, data.validation, output, progress,
        save_best, Objective.of(config),
    )  # fmt: skip


def _take_lessons(trainer: Trainer, data: ReviewData) -> None:
    """Texts without labels join the training reviews, and a teacher says what it thinks of all."""
    config, accelerator, progress = trainer.config, trainer.accelerator, trainer.progress
    began = time.perf_counter()
    table = with_unlabelled(config, data, progress if accelerator.is_main_process else None)
    trainer.learn_from(table, teacher_logits(config, data, table, accelerator, progress))
    trainer.state.teacher_seconds += time.perf_counter() - began


def _start_tracker(config: Config, accelerator: Accelerator, step: int) -> None:
    if config.train.tracker == "none":
        return
    settings = flatten(as_dict(config))
    plain = {k: v for k, v in settings.items() if isinstance(v, bool | int | float | str)}
    # TensorBoard then hides what a killed run wrote of steps that are about to be done again.
    accelerator.init_trackers(
        "text-classifier-audit",
        config=plain,
        init_kwargs={"tensorboard": {"purge_step": step + 1}} if step else {},
    )
