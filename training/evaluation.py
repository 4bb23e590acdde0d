"""Exact evaluation over any number of processes: every review once, none twice, none dropped."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import nn

from training.batches import collate
from training.data import TokenTable
from training.progress import Progress
from training.settings import Config


@torch.inference_mode()
def predict(
    model: nn.Module,
    table: TokenTable,
    accelerator: Accelerator,
    config: Config,
    progress: Progress,
    name: str,
) -> NDArray[np.float32]:
    """Logits (N, C) of all N reviews in the table's order, the same on every process.

    Each process fills the rows of its own batches in a table of zeros; the sum over the processes
    is the answer, so that uneven shares need no padding and no truncation.
    """
    model.eval()
    forward = accelerator.unwrap_model(model)
    order = np.argsort(table.lengths, kind="stable")
    size = config.train.evaluation_batch_size
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    own = batches[accelerator.process_index :: accelerator.num_processes]
    logits = torch.zeros(len(table), 2, device=accelerator.device)
    with progress.task(f"evaluate {name}", sum(map(len, own))) as task:
        for rows in own:
            batch = collate(table, rows, config.train.padding, config.data.max_length)
            batch = batch.to(accelerator.device)
            with accelerator.autocast():
                output = forward(batch.input_ids, batch.attention_mask)
            logits[torch.from_numpy(rows).to(accelerator.device)] = output.float()
            task.advance(len(rows))
    summed = accelerator.reduce(logits, "sum")
    model.train()
    answer: NDArray[np.float32] = summed.cpu().numpy()
    return answer


def write_predictions(
    path: Path, labels: NDArray[np.integer], logits: NDArray[np.floating]
) -> None:
    """Parquet with `label`, `negative` and `positive` logits, a row a review; whole or not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {
            "label": labels.astype(np.int8),
            "negative": logits[:, 0].astype(np.float32),
            "positive": logits[:, 1].astype(np.float32),
        }
    )
    partial = path.with_name(f".{path.name}.partial")
    pq.write_table(table, partial)
    partial.replace(path)
