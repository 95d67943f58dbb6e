"""From a trained model to the bytes of an artifact."""

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from tmt.artifact.clip import deviation_scales, largest_scales
from tmt.artifact.gptq import gptq, round_rows
from tmt.artifact.hessians import Calibration
from tmt.artifact.lqer import correction
from tmt.artifact.settings import PackSettings, Treatment, treatments
from tmt.artifact.size import Size
from tmt.checkpoint import Run, model_state
from tmt.errors import InputError
from tmt.model.base import LanguageModel
from tmt.packed import Artifact, Encoded, Stored, encode

CORRECTED = 3
"""Matrices that get a low-rank correction: those with the largest error."""


@dataclass(frozen=True)
class Packing:
    """A packed model."""

    settings: PackSettings
    treatments: Mapping[str, Treatment]
    tensors: Mapping[str, Stored]
    errors: Mapping[str, float]
    """``‖W − Ŵ‖ / ‖W‖`` of every tensor, 0 where nothing is lost."""
    encoded: Encoded
    size: Size

    @property
    def parameters(self) -> int:
        """Elements of all tensors, buffers included."""
        return sum(map(_elements, self.tensors.values()))

    def restored(self, model: LanguageModel) -> LanguageModel:
        """A copy of the model that was packed, with the weights that come out of the artifact."""
        model = copy.deepcopy(model)
        model.load_state_dict({name: t.value() for name, t in self.tensors.items()}, strict=False)
        return model


class Packer:
    """Packs one run, once or with several settings."""

    def __init__(self, run: Run, calibration: Calibration, code_bytes: int) -> None:
        """`code_bytes` count towards the size; see :mod:`tmt.artifact.code_size`."""
        self.model = run.model
        self._calibration, self._code_bytes = calibration, code_bytes
        self._state = {name: tensor.cpu() for name, tensor in model_state(run.model).items()}
        self._files = _files(run)
        self._last: dict[str, tuple[Treatment, Stored]] = {}

    def elements(self, settings: PackSettings) -> dict[str, int]:
        """Weights in matrices and in embeddings that a clip width decides about, by group."""
        counts = {"matrix": 0, "embedding": 0}
        for name, treatment in treatments(self.model, self._state, settings).items():
            if treatment.group is not None:
                counts[treatment.group] += self._state[name].numel()
        return counts

    def pack(self, settings: PackSettings) -> Packing:
        """Quantise and encode; on one machine, with one number of threads, always to the same bytes.

        What the last settings treated the same is not quantised again.

        Raises:
            InputError: a tensor cannot be treated as the settings ask; see :func:`treatments`.
        """
        plan = treatments(self.model, self._state, settings)
        tensors = {}
        for name in tqdm(plan, desc="quantising", unit="tensor", disable=None):
            if self._last.get(name, (None,))[0] != plan[name]:
                self._last[name] = plan[name], self._stored(name, plan[name])
            tensors[name] = self._last[name][1]
        if settings.lqer:
            tensors |= self._corrected(plan, tensors, settings.lqer)
        notes = {"settings": asdict(settings), "calibration_tokens": self._calibration.tokens}
        encoded = encode(Artifact(self._files, tensors, notes))
        errors = {name: self._error(name, stored) for name, stored in tensors.items()}
        size = Size(len(encoded.content), self._code_bytes)
        return Packing(settings, plan, tensors, errors, encoded, size)

    def _stored(self, name: str, treatment: Treatment) -> Stored:
        tensor = self._state[name]
        if treatment.method in ("half", "exact"):
            return Stored(tensor.dtype, {"value": tensor.half() if treatment.method == "half" else tensor})
        rows, bits = tensor.reshape(-1, tensor.shape[-1]), treatment.bits
        if treatment.width is None:
            scales = largest_scales(rows, bits)
        else:
            scales = deviation_scales(rows, bits, treatment.width)
        if treatment.method == "gptq":
            try:
                codes = gptq(rows, self._hessian(name), scales, bits)
            except InputError as error:
                raise InputError(f"tensor {name}: {error}") from error
        else:
            codes = round_rows(rows, scales, bits)
        shape = tensor.shape[:-1]
        return Stored(tensor.dtype, {"codes": codes.view(tensor.shape), "scales": scales.view(shape)})

    def _hessian(self, name: str) -> Tensor:
        if name not in self._calibration.hessians:
            raise InputError(
                f"no input reached it in {self._calibration.tokens} tokens of calibration, so it has no "
                "Hessian; give more --tokens, or keep it in half precision with a larger --small"
            )
        return self._calibration.hessians[name]

    def _corrected(
        self, plan: Mapping[str, Treatment], tensors: Mapping[str, Stored], rank: int
    ) -> dict[str, Stored]:
        """The matrices that are furthest from what they were, with corrections of that rank."""
        matrices = (name for name, treatment in plan.items() if treatment.method == "gptq")
        left = {name: self._state[name].double() - tensors[name].value().double() for name in matrices}
        worst = sorted(left, key=lambda name: (-float(left[name].norm()), name))[:CORRECTED]
        return {
            name: Stored(tensors[name].dtype, {**tensors[name].arrays, **correction(left[name], rank)})
            for name in worst
        }

    def _error(self, name: str, stored: Stored) -> float:
        exact, value = self._state[name], stored.value()
        if torch.equal(exact, value):
            return 0.0
        return float((exact.double() - value.double()).norm() / exact.double().norm())


def _files(run: Run) -> dict[str, bytes]:
    """Configuration and tokenizer, as a run folder holds them."""
    with TemporaryDirectory(prefix="tmt-") as folder:
        run.config.save(Path(folder))
        tokenizer = run.tokenizer.save(folder)
        return {path.name: path.read_bytes() for path in (Path(folder) / "config.yaml", tokenizer)}


def describe(treatment: Treatment, stored: Stored) -> str:
    """A treatment in a few words: "int6 gptq", "float16"."""
    if "value" in stored.arrays:
        return str(stored.arrays["value"].dtype).removeprefix("torch.")
    corrected = " + low rank" if "left" in stored.arrays else ""
    return f"int{treatment.bits} {treatment.method}{corrected}"


def summary(packing: Packing) -> list[dict[str, Any]]:
    """One record for each kind of treatment: tensors, elements, the worst relative error."""
    kinds: dict[str, list[str]] = {}
    for name, treatment in packing.treatments.items():
        kinds.setdefault(describe(treatment, packing.tensors[name]), []).append(name)
    return [
        {
            "kind": kind,
            "tensors": len(names),
            "elements": sum(_elements(packing.tensors[name]) for name in names),
            "worst_error": max(packing.errors[name] for name in names),
            "worst": max(names, key=lambda name: packing.errors[name]),
        }
        for kind, names in sorted(kinds.items())
    ]


def _elements(stored: Stored) -> int:
    return stored.arrays["value" if "value" in stored.arrays else "codes"].numel()
