"""Tasks of EleutherAI's lm-evaluation-harness (https://github.com/EleutherAI/lm-evaluation-harness).

Importing this module needs the `eval` extra and takes seconds.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from contextlib import redirect_stdout
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

import lm_eval
import numpy as np
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager
from tqdm import tqdm

from tmt.errors import InputError, reason
from tmt.evaluate.continuations import encode_pairs, score_continuations
from tmt.evaluate.perplexity import score
from tmt.generate import Sampler, generate_until
from tmt.model.base import LanguageModel
from tmt.tokens import Tokenizer

DEFAULT_NEW_TOKENS = 256
"""Tokens to write at most where a task does not say."""
_NAMES_OF_NEW_TOKENS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_KNOWN = {"until", "do_sample", "temperature", "top_k", "top_p", *_NAMES_OF_NEW_TOKENS}


def evaluate_tasks(
    model: "HarnessModel", tasks: Sequence[str], *, folder: str | Path | None = None, limit: int | None = None
) -> dict[str, Any]:
    """Let the harness score a model; what it says on the way goes to stderr.

    Args:
        model: the model as the harness calls it.
        tasks: names of tasks, groups or tags, or patterns such as "arc_*".
        folder: of YAML files with own tasks, which come before the harness's own of the same name.
        limit: score only so many samples of each task.

    Returns:
        The harness's own results; among them "results" (metrics by task) and "n-samples".

    Raises:
        InputError: there is no such folder or task, `limit` is below 1, or a task's data or one of its
            packages is missing.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit={limit} must be at least 1")
    names = [name for task in tasks if (name := task.strip())]
    if not names:
        raise InputError("no harness task is named; give one or several with commas between")
    with redirect_stdout(sys.stderr):
        manager = _manager(names, folder)
        known = [match for name in names for match in _matches(manager, name)]
        try:
            results = lm_eval.simple_evaluate(
                model, tasks=known, task_manager=manager, limit=limit, log_samples=False
            )
        except (OSError, ImportError) as error:
            raise InputError(
                f"cannot load harness task {', '.join(names)}: {reason(error)}; most tasks fetch their data "
                "from the hub: check the network, or give tasks on local files with --harness-path"
            ) from error
    return cast("dict[str, Any]", results)


def _manager(names: list[str], folder: str | Path | None) -> TaskManager:
    """The index of all tasks; of the folder's alone, which is much faster, where that is enough."""
    if folder is None:
        return TaskManager()
    if not Path(folder).is_dir():
        raise InputError(f"there is no folder {folder} of harness tasks")
    own = TaskManager(include_path=str(folder), include_defaults=False)
    return own if set(names) <= set(own.all_subtasks) else TaskManager(include_path=str(folder))


def _matches(manager: TaskManager, name: str) -> list[str]:
    if matches := manager.match_tasks([name]):
        return matches
    near = get_close_matches(name, manager.all_tasks, n=3)
    advice = f"did you mean {' or '.join(near)}?" if near else "`lm-eval ls tasks` lists those it brings"
    raise InputError(f"unknown harness task {name!r}; {advice}")


class HarnessModel(LM):
    """A model as the harness calls it.

    Every text begins a document, so the model reads the tokenizer's document start before it.

    Args:
        model: any architecture, in eval mode.
        tokenizer: of the model.
        context: tokens to read at once, to score texts; default: the longest sequence of the model.
        stride: tokens scored per window of a long text; default: `context`.
        batch_size: rows at once.

    Raises:
        InputError: context, stride or batch_size is out of range.
    """

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        *,
        context: int | None = None,
        stride: int | None = None,
        batch_size: int = 8,
    ) -> None:
        super().__init__()
        longest = model.config.longest
        self.context = longest if context is None else context
        self.stride = self.context if stride is None else stride
        self.batch_size = batch_size
        for name, value, most in (
            ("context", self.context, longest),
            ("stride", self.stride, self.context),
            ("batch_size", batch_size, sys.maxsize),
        ):
            if not 1 <= value <= most:
                raise InputError(f"{name}={value} must be in [1, {most}]")
        self._model = model
        self._tokenizer = tokenizer

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """(nats, greedy) of the continuation of each (text, continuation)."""
        pairs = [cast("tuple[str, str]", request.args) for request in requests]
        found = score_continuations(
            self._model, encode_pairs(self._tokenizer, pairs, self.context), self.batch_size
        )
        return [(likelihood.log_probability, likelihood.greedy) for likelihood in found]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Nats of each whole text, cut into windows as in :func:`tmt.evaluate.score`."""
        texts = [request.args[0] for request in requests]
        return [self._whole(text) for text in tqdm(texts, desc="scoring", unit="text", disable=None)]

    def _whole(self, text: str) -> float:
        if not (ids := self._tokenizer.encode(text)):
            return 0.0
        result = score(
            self._model,
            np.array([self._tokenizer.eot_id, *ids]),
            self._tokenizer,
            context=self.context,
            stride=self.stride,
            batch_size=self.batch_size,
            progress=False,
        )
        return -result.total_nats

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """What the model writes after each (text, options), the options being those of the task."""
        asked = [cast("tuple[str, dict[str, Any]]", request.args) for request in requests]
        groups: dict[str, list[int]] = defaultdict(list)
        for index, (_, options) in enumerate(asked):
            groups[json.dumps(options, sort_keys=True)].append(index)
        written = [""] * len(requests)
        with tqdm(total=len(requests), desc="writing", unit="text", disable=None) as bar:
            for options, indices in groups.items():
                settings = writing(json.loads(options))
                indices.sort(key=lambda index: len(asked[index][0]), reverse=True)
                for start in range(0, len(indices), self.batch_size):
                    batch = indices[start : start + self.batch_size]
                    prompts = [asked[index][0] for index in batch]
                    texts = generate_until(self._model, self._tokenizer, prompts, numbers=batch, **settings)
                    for index, text in zip(batch, texts, strict=True):
                        written[index] = text
                    bar.update(len(batch))
        return written


def writing(options: dict[str, Any]) -> dict[str, Any]:
    """The arguments of :func:`tmt.generate.generate_until` that a task's generation options ask for.

    A task samples if it says `do_sample` or, saying nothing of that, a temperature above 0.

    Raises:
        InputError: for an option that is not known here.
    """
    odd = {name: value for name, value in options.items() if name not in _KNOWN}
    if odd not in ({}, {"num_beams": 1}):
        raise InputError(f"generation option {', '.join(odd)} of a harness task is not supported here")
    until = options.get("until") or []
    sampled = options.get("do_sample")
    temperature = float(options.get("temperature", 1.0 if sampled else 0.0))
    new = (options[name] for name in _NAMES_OF_NEW_TOKENS if options.get(name) is not None)
    return {
        "stops": [until] if isinstance(until, str) else until,
        "max_new_tokens": int(next(new, DEFAULT_NEW_TOKENS)),
        "sampler": Sampler(
            0.0 if sampled is False else temperature, options.get("top_k"), options.get("top_p")
        ),
    }
