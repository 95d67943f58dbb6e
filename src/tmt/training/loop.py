"""The training loop: one step fits a screen, and every step can be the last or the first."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from tmt import machine
from tmt.checkpoint import save_weights
from tmt.config import RunConfig
from tmt.errors import InputError
from tmt.model.base import LanguageModel
from tmt.tokens import TokenStream
from tmt.tokens.shard_loader import training_loader
from tmt.training.allocator import keep_freed_memory
from tmt.training.distributed import Ranks
from tmt.training.ema import weight_average
from tmt.training.interrupt import Interrupt
from tmt.training.log import MetricsLog, Progress
from tmt.training.optimizers import build_optimizers, parameter_groups
from tmt.training.precision import use_bf16
from tmt.training.scheduler import momentum, rate_factor
from tmt.training.state import load_state, save_state
from tmt.training.threads import Threads

EXIT_WARMUP = 0.2
"""Share of the budget over which the exits' own objective comes in."""

ROUNDING = 1e-9
"""Shares of the budget that differ by less are the same."""


@dataclass
class StepResult:
    """Figures of one optimiser step."""

    loss: float
    grad_norm: float
    depth: float
    figures: dict[str, float]


class Trainer:
    """Trains a model on a stream of tokens into a run folder, inside a budget of steps or minutes."""

    def __init__(
        self,
        config: RunConfig,
        model: LanguageModel,
        stream: TokenStream,
        folder: Path,
        ranks: Ranks,
        validate: Callable[[LanguageModel], float],
    ):
        """`validate` returns nats per validation token of a model in eval mode."""
        keep_freed_memory()
        self.config, self.folder, self.ranks, self.validate = config, folder, ranks, validate
        self.model = model.to(ranks.device)
        self.optimizers = build_optimizers(parameter_groups(self.model, config.optim), config.optim)
        decay, train = config.optim.ema_decay, config.train
        self.average = weight_average(self.model, decay, config.optim.ema_ramp) if decay else None
        self.loader = training_loader(
            stream,
            batch_size=train.batch_size,
            seq_len=train.seq_len,
            seed=train.seed,
            rank=ranks.rank,
            world_size=ranks.size,
        )
        self.bf16 = use_bf16(train.precision, ranks.device)
        self.step, self.elapsed, self.best, self.next_eval = 0, 0.0, math.inf, train.eval_every

    @property
    def share(self) -> float:
        """Part of the budget that is used."""
        train = self.config.train
        return self.step / train.steps if train.steps else self.elapsed / (60 * (train.minutes or 0))

    @property
    def evaluated_model(self) -> LanguageModel:
        """The model whose weights are scored and kept: the moving average, where there is one."""
        return self.model if self.average is None else cast("LanguageModel", self.average.module)

    def run(self, progress: Progress, log: MetricsLog | None) -> bool:
        """Train to the end of the budget; returns False when interrupted (the state is saved).

        Only the rank that is given a `log` evaluates.
        """
        self.prime()
        saved, tokens = time.monotonic(), self._tokens_per_step()
        threads = Threads(self.config.train.steps is not None, self.ranks.device, progress.say)
        with Interrupt() as interrupt:
            while self.share < 1:
                threads.follow()
                started = time.monotonic()
                result = self.take_step()
                seconds = self.ranks.share(time.monotonic() - started)
                self.elapsed += seconds
                progress.update(self.share, self.step, result.loss, tokens / seconds, result.depth)
                if log is not None and self.step % self.config.train.log_every == 0:
                    log.write(self.step, **self._figures(result, tokens, seconds))
                if self.share + ROUNDING >= min(1.0, self.next_eval):
                    self._evaluate(progress, log)
                if self.ranks.any(interrupt.requested):
                    self.save()
                    return False
                if time.monotonic() - saved > self.config.train.save_every:
                    self.save()
                    saved = time.monotonic()
        self.save()
        return True

    def prime(self) -> None:
        """Steps that leave compiled code and allocated memory and no other trace, before a clock runs."""
        train = self.config.train
        if train.minutes is None or not train.priming:
            return
        start = copy.deepcopy(self.state())
        for share in (0.0, 1.0):
            for _ in range(train.priming):
                self._take_step(share)
        self._restore(start)

    def take_step(self) -> StepResult:
        """One optimiser step on the next batches; InputError if the loss or the gradient is not finite."""
        return self._take_step(self.share)

    def _take_step(self, share: float) -> StepResult:
        self.model.train()
        self.model.set_progress(share)
        self._set_rates(share)
        losses, layers, statistics = [], 0.0, {}
        penalty_weight = self.config.optim.exit_gate_coeff * min(1.0, share / EXIT_WARMUP)
        for _ in range(self.config.train.accumulate):
            inputs, targets = (x.to(self.ranks.device) for x in next(self.loader))
            with torch.autocast(self.ranks.device.type, torch.bfloat16, enabled=self.bf16):
                output = self.model(inputs, targets=targets)
            objective = (
                output.loss if output.penalty is None else output.loss + penalty_weight * output.penalty
            )
            (objective / self.config.train.accumulate).backward()
            losses.append(output.loss.detach())
            layers += sum(output.layer_tokens) / inputs.numel() / len(output.layer_tokens)
            _add(statistics, output.statistics)
        loss = float(self.ranks.sum(torch.stack(losses).mean()) / self.ranks.size)
        self.ranks.average_gradients(self.model.parameters())
        limit = self.config.optim.grad_clip or math.inf
        grad_norm = float(clip_grad_norm_(self.model.parameters(), limit))
        for name, value in (("loss", loss), ("gradient norm", grad_norm)):
            if not math.isfinite(value):
                self._stop(f"the {name} became {value}")
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        figures = self.model.after_step({name: self.ranks.sum(x) for name, x in statistics.items()})
        if self.average is not None:
            self.average.update_parameters(self.model)
        self.step += 1
        return StepResult(loss, grad_norm, layers / self.config.train.accumulate, figures)

    def _set_rates(self, share: float) -> None:
        optim = self.config.optim
        self.factor = rate_factor(share, optim)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * self.factor
                if "momentum" in group:
                    group["momentum"] = momentum(share, optim)

    def _stop(self, reason: str) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        self.save()
        raise InputError(
            f"{reason} at step {self.step + 1}; the state before it is saved in "
            f"{self.folder}. Start again with a lower --lr, or with --precision fp32"
        )

    def _figures(self, result: StepResult, tokens: int, seconds: float) -> dict[str, Any]:
        return {
            "tokens": self.step * tokens,
            "elapsed": round(self.elapsed, 3),
            "loss": result.loss,
            "lr": self.factor * self.config.optim.lr,
            "grad_norm": result.grad_norm,
            "tokens_per_second": round(tokens / seconds),
            "mean_depth": result.depth,
            **result.figures,
        }

    def _evaluate(self, progress: Progress, log: MetricsLog | None) -> None:
        every = self.config.train.eval_every
        self.next_eval = (math.floor(self.share / every + ROUNDING) + 1) * every
        if log is not None:
            nats = self.validate(self.evaluated_model.eval())
            log.write(self.step, valid_nats=nats)
            progress.say(f"step {self.step}: {nats:.4f} nats/token on validation")
            if nats < self.best:
                self.best = nats
                save_weights(self.evaluated_model, self.folder)
        self.ranks.wait()

    def _tokens_per_step(self) -> int:
        return self.config.train.tokens_per_step * self.ranks.size

    def save(self) -> None:
        """Write the full training state into the folder's last/."""
        if self.ranks.first:
            save_state(self.state_path(self.folder), self.state())

    def resume(self) -> None:
        """Continue where :meth:`save` was called, to the bit (in as many threads, if nobody names them)."""
        state = load_state(self.state_path(self.folder))
        self._restore(state)
        if self.config.train.steps and not machine.THREADS_ARE_GIVEN:
            torch.set_num_threads(state.get("threads", torch.get_num_threads()))

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on; tensors are shared, not copied."""
        return {
            "step": self.step,
            "elapsed": self.elapsed,
            "best": self.best,
            "next_eval": self.next_eval,
            "model": self.model.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "loader": self.loader.state_dict(),
            "threads": torch.get_num_threads(),
            "random": torch.get_rng_state(),
            "device_random": torch.cuda.get_rng_state(self.ranks.device) if self._on_cuda else None,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.step, self.elapsed = state["step"], state["elapsed"]
        self.best, self.next_eval = state["best"], state["next_eval"]
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.loader.load_state_dict(state["loader"])
        torch.set_rng_state(state["random"])
        if self._on_cuda:
            torch.cuda.set_rng_state(state["device_random"], self.ranks.device)

    @property
    def _on_cuda(self) -> bool:
        return self.ranks.device.type == "cuda"

    @staticmethod
    def state_path(folder: Path) -> Path:
        """Where the training state lies in a run folder."""
        return folder / "last" / "training.safetensors"


def _add(total: dict[str, Tensor], new: dict[str, Tensor]) -> None:
    for name, tensor in new.items():
        total[name] = total[name] + tensor if name in total else tensor
