"""AdamW on the rows of an embedding table that a step uses, in the place of all of them.

A batch of 64 reviews uses some 2,500 of the tokenizer's 30,522 tokens. Dense AdamW nevertheless
reads and writes the gradient, both moments and the weights of every row, since a row without a
gradient still moves: by what is left of its momentum, and by weight decay. Both are known in
advance, so a row can sleep until it is used again and then be brought up to date at once.

Let a row be last used at step t, with moments m and v, and let a_s, P_s be the learning rate and
the product of (1 - a · decay) up to step s. Of dense AdamW (Loshchilov & Hutter 2019,
https://arxiv.org/abs/1711.05101) at a later step s without a gradient remains

    w_s = (1 - a_s · decay) w_{s-1} - a_s b_s m / (c_s sqrt(v) + eps),
    b_s = beta1^(s-t) / (1 - beta1^s),   c_s = sqrt(beta2^(s-t) / (1 - beta2^s)),

so that w_s = P_s (w_t / P_t - S_ts m / (sqrt(v) + eps / C_ts)) with sums over the steps between,
S_ts of a b / (c P), which depend on t and s alone and are kept up for all t at once. C_ts is the
mean of c under the weights of S_ts: the one approximation, of the second order in eps / sqrt(v),
and nothing where eps is small beside it. V rows in the table, D its width, U rows in use.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from training.data import TokenTable
from training.settings import Config

_TAIL = 512  # steps after which what is left of a momentum, (beta1 / sqrt(beta2))^512, is nothing
_TABLES = {
    "gru-encoder": "backbone.encoder.embedding.weight",
    "gru-encoder-decoder": "backbone.encoder.embedding.weight",
    "custom-gru": "backbone.embedding.weight",
    "transformer": "backbone.embedding.weight",
    "bert": "backbone.encoder.embeddings.word_embeddings.weight",
}
_ALWAYS = (0, 1)  # padding, whose row stays the first; and the token of a made-up review


class RowWise:
    """Narrows the table to the rows of a step, and widens it again after it.

    Between steps the parameter, and its moments in the optimiser's state, are those of the whole
    table, of which `last_step` (V,) says how far each row has come; `flush` brings all up to date,
    as whoever reads the weights needs them. Within a step the parameter *is* the (U, D) rows in
    use, with their moments, so that backward, clipping, all-reduce and AdamW see nothing else. The
    graph of a step must be gone when the next begins: autograd keeps a parameter's shape with it.
    """

    def __init__(
        self,
        table: nn.Parameter,
        optimizer: Optimizer,
        learning_rate: Callable[[int], float],
        betas: tuple[float, float],
        epsilon: float,
        weight_decay: float,
    ) -> None:
        self.table, self.optimizer = table, optimizer
        self.whole = table.data  # (V, D)
        self.tails = _Tails(learning_rate, betas, weight_decay)
        self.betas, self.epsilon = betas, epsilon
        self._place = torch.zeros(len(table), dtype=torch.int64, device=table.device)  # (V,)

    @classmethod
    def of(
        cls,
        config: Config,
        model: nn.Module,
        optimizer: Optimizer,
        learning_rate: Callable[[int], float],
    ) -> "RowWise | None":
        """That of a model's one table (see `embedding_table`); None where it is not asked for."""
        if not config.train.row_wise_embeddings:
            return None
        c, (table, _) = config.train, embedding_table(config, model)
        return cls(
            table, optimizer, learning_rate, c.adam_betas, c.adam_epsilon, c.weight_decay
        )  # fmt: skip

    def begin(self, step: int, train: TokenTable, batch: NDArray[np.integer]) -> None:
        """Narrow the table to the tokens of this global batch, each row as after `step` steps."""
        in_use = np.zeros(len(self.whole), bool)  # (V,): cheaper than sorting the ids
        in_use[list(_ALWAYS)] = True
        in_use[np.concatenate([train.ids(int(row)) for row in batch])] = True
        used = np.flatnonzero(in_use)
        self._rows = torch.from_numpy(used.astype(np.int64)).to(self.whole.device)  # (U,)
        self._place[self._rows] = torch.arange(len(used), device=self.whole.device)
        self._kept = self._state()
        weights, first, second = self._up_to_date(self._rows, step)
        self.table.data = weights
        self.optimizer.state[self.table] = {
            "step": self._kept["step"], "exp_avg": first, "exp_avg_sq": second
        }  # fmt: skip

    def local(self, input_ids: Tensor) -> Tensor:
        """Token ids as row numbers of the narrowed table."""
        return self._place[input_ids]

    def reduce(self, processes: int) -> None:
        """The mean of the gradient over processes; the wrapper of the model leaves it to us."""
        if processes > 1:
            gradient = self.table.grad
            assert gradient is not None
            torch.distributed.all_reduce(gradient)
            gradient.div_(processes)

    def end(self, step: int) -> None:
        """Write the rows back after the optimiser's step, which was the one numbered `step`."""
        kept, narrow = self._kept, self.optimizer.state[self.table]
        # by whole rows, which is many times faster than indexing is on a CPU
        self.whole.index_copy_(0, self._rows, self.table.data)
        kept["exp_avg"].index_copy_(0, self._rows, narrow["exp_avg"])
        kept["exp_avg_sq"].index_copy_(0, self._rows, narrow["exp_avg_sq"])
        kept["last_step"].index_fill_(0, self._rows, step + 1)
        kept["step"] = narrow["step"]
        self.table.data, self.table.grad = self.whole, None
        self.optimizer.state[self.table] = kept

    def flush(self, step: int) -> None:
        """Every row as dense AdamW has it after `step` steps."""
        state, rows = self._state(), torch.arange(len(self.whole), device=self.whole.device)
        weights, first, second = self._up_to_date(rows, step)
        self.whole.copy_(weights)
        state["exp_avg"].copy_(first)
        state["exp_avg_sq"].copy_(second)
        state["last_step"].fill_(step)

    def _state(self) -> dict[str, Any]:
        """The whole table's moments, as a saved state has them too; zeros before the first step."""
        state = self.optimizer.state[self.table]
        if not state:
            state |= {
                "step": torch.zeros((), device=self.whole.device),
                "exp_avg": torch.zeros_like(self.whole),
                "exp_avg_sq": torch.zeros_like(self.whole),
                # a float, as the optimiser makes of it anyhow on loading: exact up to 2^24 steps
                "last_step": torch.zeros(len(self.whole), device=self.whole.device),
            }
        return state

    def _up_to_date(self, rows: Tensor, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Weights and moments (U, D) of these rows after `step` steps."""
        state, weights = self._state(), self.whole.index_select(0, rows)
        first = state["exp_avg"].index_select(0, rows)
        second = state["exp_avg_sq"].index_select(0, rows)
        last = state["last_step"].index_select(0, rows).cpu().numpy().astype(np.int64)  # (U,)
        decay, total, softened = (
            torch.from_numpy(x).to(weights)[:, None]  # (U, 1)
            for x in self.tails.since(last, step)
        )
        divisor = second.sqrt().add_(self.epsilon * softened)
        weights.sub_((total * first).div_(divisor)).mul_(decay)
        slept = torch.from_numpy(step - last).to(weights)[:, None]
        return weights, first.mul_(self.betas[0] ** slept), second.mul_(self.betas[1] ** slept)


class _Tails:
    """S_ts · P_t and 1 / C_ts of the module's docstring, for every t up to the newest s.

    A function of the learning rates alone: a resumed run computes them anew.
    """

    def __init__(
        self, learning_rate: Callable[[int], float], betas: tuple[float, float], decay: float
    ) -> None:
        self.learning_rate, self.betas, self.weight_decay = learning_rate, betas, decay
        self.log_decay = np.zeros(1)  # log P_t
        self.sums, self.softened = np.zeros(1), np.zeros(1)  # sums of a b P_t / (c P_s), and 1 / c

    def since(
        self, last: NDArray[np.integer], step: int
    ) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]:
        """P_s / P_t, S_ts · P_t and 1 / C_ts for rows last used at steps `last`, each (U,)."""
        while len(self.sums) <= step:
            self._extend()
        assert len(self.sums) == step + 1, "steps are taken in order"
        decay = np.exp(self.log_decay[step] - self.log_decay[last])
        total = self.sums[last]
        softened = np.divide(self.softened[last], total, out=np.ones_like(total), where=total > 0)
        return decay, total, softened

    def _extend(self) -> None:
        """Take in the next step, s."""
        s, (beta1, beta2) = len(self.sums), self.betas
        rate = self.learning_rate(s - 1)
        self.log_decay = np.append(
            self.log_decay, self.log_decay[-1] + np.log1p(-rate * self.weight_decay)
        )
        first = max(0, s - _TAIL)
        slept = s - np.arange(first, s)  # s - t
        b = beta1**slept / (1 - beta1**s)
        c = np.sqrt(beta2**slept / (1 - beta2**s))
        term = rate * b / c * np.exp(self.log_decay[first:s] - self.log_decay[s])
        self.sums[first:] += term
        self.softened[first:] += term / c
        self.sums, self.softened = np.append(self.sums, 0.0), np.append(self.softened, 0.0)


def prepare(config: Config, model: nn.Module, precision: str) -> None:
    """Check that the settings fit, and have the wrapper for several processes skip the table.

    Raises:
        ValueError: what cannot be had together; one line.
    """
    if not config.train.row_wise_embeddings:
        return
    _, name = embedding_table(config, model)
    c = config.train
    others = {
        "train.compile, which compiles anew for every size of the table": c.compile,
        "fp16, which may skip a step": precision == "fp16",
    }
    for other, wanted in others.items():
        if wanted:
            raise ValueError(f"train.row_wise_embeddings: not with {other}; set one of them off")
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, [name])


def embedding_table(config: Config, model: nn.Module) -> tuple[nn.Parameter, str]:
    """The one learning table that the token ids go into, and its name.

    Raises:
        ValueError: a model without one, or whose ids have another use too.
    """
    place = _TABLES.get(config.model.architecture)
    table = model.get_parameter(place) if place else None
    if table is None or place is None or not table.requires_grad:
        raise ValueError(
            f"train.row_wise_embeddings: {config.model.architecture} has no table that token ids "
            "alone go into and that learns; set it to false"
        )
    return table, place
