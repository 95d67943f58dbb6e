"""The training loop: every step can be the last or the first."""

import copy
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tmt import machine
from tmt.checkpoint import save_weights
from tmt.config import RunConfig
from tmt.errors import InputError
from tmt.model.base import LanguageModel
from tmt.run_folder import STATE
from tmt.tokens import TokenStream
from tmt.training.distributed import Ranks
from tmt.training.interrupt import Interrupt
from tmt.training.log import MetricsLog, Progress
from tmt.training.state import load_state, save_state
from tmt.training.step import Diverged, Stepper, StepResult
from tmt.training.threads import Threads

ROUNDING = 1e-9
"""Shares of the budget that differ by less are the same."""
LONGEST_LAG = 50
"""Steps between two readings at most, however rarely they are logged."""
CURE = "Start again with a lower --lr, or with --precision fp32"


class Trainer(Stepper):
    """Trains a model on a stream of tokens into a run folder, inside a budget."""

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
        super().__init__(config, model, stream, ranks)
        self.folder, self.validate = folder, validate
        self.best, self.next_eval = math.inf, config.train.eval_every

    def run(self, progress: Progress, log: MetricsLog | None) -> bool:
        """Train to the end of the budget; returns False when interrupted (the state is saved).

        Only the rank that is given a `log` evaluates.

        Raises:
            InputError: a loss or gradient is not finite; the state before that step is saved.
        """
        self.prime()
        with Interrupt() as interrupt:
            try:
                finished = self._run(progress, log, interrupt)
            except Diverged as error:
                self.save()
                raise InputError(f"{error}; the state before it is saved in {self.folder}. {CURE}") from error
        self.save()
        return finished

    def _run(self, progress: Progress, log: MetricsLog | None, interrupt: Interrupt) -> bool:
        saved, tokens = time.monotonic(), self.config.train.tokens_per_step * self.ranks.size
        threads = Threads(not self.config.train.on_a_clock, self.ranks.device, progress.say)
        while self.share < 1:
            threads.follow()
            started, worked = time.monotonic(), time.process_time()
            results = self._advance(interrupt)
            result = results[-1]
            seconds = self.ranks.share(time.monotonic() - started)
            self.elapsed += seconds
            self.core_seconds += self.ranks.share(time.process_time() - worked)
            speed = len(results) * tokens / seconds
            progress.update(self.share, self.step, result.loss, speed, result.depth)
            if log is not None and self.step % self.config.train.log_every == 0:
                log.write(self.step, **self._figures(result, speed))
            if self._evaluation_is_due():
                self._evaluate(progress, log)
            if self.ranks.any(interrupt.requested):
                return False
            if time.monotonic() - saved > self.config.train.save_every:
                self.save()
                saved = time.monotonic()
        return True

    def _advance(self, interrupt: Interrupt) -> list[StepResult]:
        """The steps as far as the next reading: one where they do not lag.

        Steps that lag are read together. If one was not finite, all are taken again from the last reading
        on, each looked at before it changes anything; until then a copy of the state is kept.
        """
        if not self.lags:
            return [self.take_step()]
        held, results = copy.deepcopy(self.state()), [self.take_step()]
        while not self._reading_is_due(len(results), interrupt):
            results.append(self.take_step())
        if not any(result.not_finite() for result in results):
            return results
        self.restore(held)
        self.lags = False
        try:
            return [self.take_step() for _ in results]
        finally:
            self.lags = True

    def _reading_is_due(self, steps: int, interrupt: Interrupt) -> bool:
        """After so many steps without one; every rank must come to the same answer."""
        wanted = self.step % self.config.train.log_every == 0 or steps >= LONGEST_LAG
        alone = self.ranks.size == 1 and interrupt.requested
        return wanted or alone or self._evaluation_is_due()

    def _evaluation_is_due(self) -> bool:
        return self.share + ROUNDING >= min(1.0, self.next_eval)

    def prime(self) -> None:
        """Steps that leave compiled code and allocated memory and no other trace, before a clock runs.

        Raises:
            InputError: a loss or gradient is not finite; nothing is saved.
        """
        train = self.config.train
        if not (train.on_a_clock and train.priming):
            return
        start = copy.deepcopy(self.state())
        try:
            for share in (0.0, 1.0):
                for _ in range(train.priming):
                    self._take_step(share)
        except Diverged as error:
            raise InputError(f"{error}, which was to prime the run; nothing is saved. {CURE}") from error
        finally:
            self.restore(start)

    def _figures(self, result: StepResult, speed: float) -> dict[str, Any]:
        return {
            **self._spent(),
            "loss": result.loss,
            "lr": self.factor * self.config.optim.lr,
            "grad_norm": result.grad_norm,
            "tokens_per_second": round(speed),
            "mean_depth": result.depth,
            **self.model.figures(),
        }

    def _spent(self) -> dict[str, Any]:
        figures = {"tokens": self.tokens, "elapsed": round(self.elapsed, 3)}
        figures["core_seconds"] = round(self.core_seconds, 3)
        return figures | ({"flops": self.flops} if self.flops else {})

    def plan_evaluation(self) -> None:
        """The next one comes with the next part of the budget, as it is now."""
        every = self.config.train.eval_every
        self.next_eval = (math.floor(self.share / every + ROUNDING) + 1) * every

    def _evaluate(self, progress: Progress, log: MetricsLog | None) -> None:
        self.plan_evaluation()
        if log is not None:
            nats = self.validate(self.evaluated_model.eval())
            log.write(self.step, valid_nats=nats, **self._spent())
            progress.say(f"step {self.step}: {nats:.4f} nats/token on validation")
            if nats < self.best:
                self.best = nats
                save_weights(self.evaluated_model, self.folder)
        self.ranks.wait()

    def save(self) -> None:
        """Write the full training state into the folder's last/."""
        if self.ranks.first:
            save_state(self.state_path(self.folder), self.state())

    def resume(self) -> None:
        """Continue where :meth:`save` was called, to the bit (in as many threads, if nobody names them)."""
        state = load_state(self.state_path(self.folder))
        self.restore(state)
        if not self.config.train.on_a_clock and not machine.THREADS_ARE_GIVEN:
            torch.set_num_threads(state.get("threads", torch.get_num_threads()))

    def state(self) -> dict[str, Any]:
        """See :class:`Stepper`."""
        own = {"best": self.best, "next_eval": self.next_eval, "threads": torch.get_num_threads()}
        return {**super().state(), **own}

    def restore(self, state: dict[str, Any]) -> None:
        """See :class:`Stepper`."""
        super().restore(state)
        self.best, self.next_eval = state["best"], state["next_eval"]

    @staticmethod
    def state_path(folder: Path) -> Path:
        """Where the training state lies in a run folder."""
        return folder / STATE
