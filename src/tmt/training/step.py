"""One optimiser step, and everything that the next one depends on."""

import math
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from tmt.config import RunConfig
from tmt.errors import InputError
from tmt.model.base import LanguageModel
from tmt.tokens import TokenStream
from tmt.tokens.device_batches import DeviceBatches
from tmt.tokens.shard_loader import training_loader
from tmt.training.allocator import keep_freed_memory
from tmt.training.distributed import Ranks
from tmt.training.ema import weight_average
from tmt.training.optimizers import build_optimizers, parameter_groups
from tmt.training.precision import use_bf16
from tmt.training.scheduler import momentum, rate_factor

EXIT_WARMUP = 0.2
"""Share of the budget over which the exits' own objective comes in."""
TRAINED_PER_FORWARD = 3
"""Operations of a forward and backward pass, in forward passes: every product has two in its gradient."""


class Diverged(InputError):
    """The loss or the gradient of a step is not finite; the step has changed nothing."""


@dataclass(frozen=True)
class StepResult:
    """Figures of one optimiser step. They lie on the device: a look at one waits until they are known."""

    device_loss: Tensor
    device_grad_norm: Tensor
    depth: float
    """Mean share of the layers that a token ran."""

    @property
    def loss(self) -> float:
        """Nats per token."""
        return float(self.device_loss)

    @property
    def grad_norm(self) -> float:
        """Before clipping."""
        return float(self.device_grad_norm)

    def not_finite(self) -> str | None:
        """What is not finite and what it is instead, or None."""
        for name, value in (("loss", self.loss), ("gradient norm", self.grad_norm)):
            if not math.isfinite(value):
                return f"the {name} became {value}"
        return None


class Stepper:
    """A model, its optimisers and its data, one step after the other.

    On CUDA a step waits for nothing: its figures are looked at later, by whoever takes it. Elsewhere they
    are looked at before the weights change.
    """

    def __init__(self, config: RunConfig, model: LanguageModel, stream: TokenStream, ranks: Ranks):
        keep_freed_memory()
        self.config, self.ranks = config, ranks
        self.model = model.to(ranks.device)
        self.forward = torch.compile(self.model) if config.train.compile else self.model
        """The model as steps call it; it has the model's own weights."""
        self.optimizers = build_optimizers(parameter_groups(self.model, config.optim), config.optim)
        decay, train = config.optim.ema_decay, config.train
        self.average = weight_average(self.model, decay, config.optim.ema_ramp) if decay else None
        loader = training_loader(
            stream,
            batch_size=train.batch_size,
            seq_len=train.seq_len,
            seed=train.seed,
            rank=ranks.rank,
            world_size=ranks.size,
        )
        self.lags = ranks.device.type == "cuda"
        self.loader = DeviceBatches(loader, ranks.device, ahead=self.lags)
        self.bf16 = use_bf16(train.precision, ranks.device)
        self.step, self.tokens, self.elapsed, self.core_seconds, self.flops = 0, 0, 0.0, 0.0, 0
        if train.budget == "flops" and math.isnan(model.flops(train.seq_len)):
            raise InputError(
                f"a budget of train.flops needs a model that counts them: give {type(model).__name__} a "
                "method flops(length), or take steps, minutes or tokens"
            )

    @property
    def share(self) -> float:
        """Part of the budget that is used."""
        train = self.config.train
        used = {
            "steps": self.step,
            "tokens": self.tokens,
            "flops": self.flops,
            "minutes": self.elapsed / 60,
            "core_minutes": self.core_seconds / 60,
        }
        return used[train.budget] / train.amount

    @property
    def evaluated_model(self) -> LanguageModel:
        """The model whose weights are scored and kept: the moving average, where there is one."""
        return self.model if self.average is None else cast("LanguageModel", self.average.module)

    def take_step(self) -> StepResult:
        """One optimiser step on the next batches; where it does not lag, Diverged if it is not finite."""
        return self._take_step(self.share)

    def _take_step(self, share: float) -> StepResult:
        self.model.train()
        self.model.set_progress(share)
        self._set_rates(share)
        self._part_from_other_ranks()
        result, statistics = self._differentiate(share)
        if not self.lags and (fault := result.not_finite()):
            self._forget_gradients()
            raise Diverged(f"{fault} at step {self.step + 1}")
        for optimizer in self.optimizers:
            optimizer.step()
        self._forget_gradients()
        self.model.after_step({name: self.ranks.sum(x) for name, x in statistics.items()})
        if self.average is not None:
            self.average.update_parameters(self.model)
        self.step += 1
        self.tokens += self.config.train.tokens_per_step * self.ranks.size
        return result

    def _differentiate(self, share: float) -> tuple[StepResult, dict[str, Tensor]]:
        """Clipped gradients of the micro-batches, averaged over the ranks, and the model's statistics."""
        losses, layers, statistics = [], 0.0, {}
        counted = not self.lags or self.config.train.budget == "flops"  # on a device, counting waits for it
        penalty_weight = self.config.optim.exit_gate_coeff * min(1.0, share / EXIT_WARMUP)
        for _ in range(self.config.train.accumulate):
            inputs, targets = next(self.loader)
            with torch.autocast(self.ranks.device.type, torch.bfloat16, enabled=self.bf16):
                output = self.forward(inputs, targets=targets)
            objective = (
                output.loss if output.penalty is None else output.loss + penalty_weight * output.penalty
            )
            (objective / self.config.train.accumulate).backward()
            losses.append(output.loss.detach())
            if counted and not math.isnan(output.flops):
                self.flops += int(self.ranks.share(TRAINED_PER_FORWARD * self.ranks.size * output.flops))
            layers += sum(output.layer_tokens) / inputs.numel() / len(output.layer_tokens)
            _add(statistics, output.statistics)
        loss = self.ranks.sum(torch.stack(losses).mean()) / self.ranks.size
        self.ranks.average_gradients(self.model.parameters())
        limit = self.config.optim.grad_clip or math.inf
        grad_norm = clip_grad_norm_(self.model.parameters(), limit)
        return StepResult(loss, grad_norm, layers / self.config.train.accumulate), statistics

    def _set_rates(self, share: float) -> None:
        optim = self.config.optim
        self.factor = rate_factor(share, optim)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * self.factor
                if "momentum" in group:
                    group["momentum"] = momentum(share, optim)

    def _part_from_other_ranks(self) -> None:
        """Draw other dropout masks than the first rank, whose generator is the one that is saved."""
        if not self.ranks.first:
            torch.manual_seed(hash((self.config.train.seed, self.ranks.rank, self.step)))

    def _forget_gradients(self) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on; tensors are shared, not copied."""
        on_cuda = self.ranks.device.type == "cuda"
        return {
            "step": self.step,
            "tokens": self.tokens,
            "elapsed": self.elapsed,
            "core_seconds": self.core_seconds,
            "flops": self.flops,
            "model": self.model.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "loader": self.loader.state_dict(),
            "random": torch.get_rng_state(),
            "device_random": torch.cuda.get_rng_state(self.ranks.device) if on_cuda else None,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Stand where :meth:`state` was taken, to the bit."""
        self._forget_gradients()
        self.step, self.elapsed = state["step"], state["elapsed"]
        per_step = self.config.train.tokens_per_step * self.ranks.size
        self.tokens = state.get("tokens", self.step * per_step)  # states without are of one batch size
        self.core_seconds, self.flops = state.get("core_seconds", 0.0), state.get("flops", 0)
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.loader.load_state_dict(state["loader"])
        torch.set_rng_state(state["random"])
        if self.ranks.device.type == "cuda":
            torch.cuda.set_rng_state(state["device_random"], self.ranks.device)


def _add(total: dict[str, Tensor], new: dict[str, Tensor]) -> None:
    for name, tensor in new.items():
        total[name] = total[name] + tensor if name in total else tensor
