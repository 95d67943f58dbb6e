"""The models under the clock: random weights from one seed, exits off unless a depth is asked for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any, cast

import torch
from torch import Tensor

from tmt.bench import llama
from tmt.bench.mesh import MESH
from tmt.bench.series import DTYPES, Precision, Settings
from tmt.model.base import LanguageModel
from tmt.model.common_config import ModelConfig
from tmt.model.config import TMTConfig
from tmt.model.registry import ARCHITECTURES, architecture, build_model
from tmt.ops.toeplitz import toeplitz_impl

BASELINE = "transformer"
"""The peer of every other architecture."""
CONVOLUTIONAL = ("toeplitz", "hyena")
"""Those that mix tokens by a Toeplitz product."""
SEED = 0
DEPTH = 0.5
"""Mean share of the layers that a token runs where exits are measured."""
EXITS_OFF = {"exit_objective": "none"}


@dataclass(frozen=True)
class Match:
    """An architecture and the peer that it is timed against."""

    arch: str
    peer: str
    lengths: tuple[int, ...] = field(default=(), compare=False)
    """Tokens of the sequences, which the path of a Toeplitz product depends on."""

    def impl(self, dtype: Precision, device: torch.device) -> str:
        """The path that its own op takes on whole sequences, or the paths; "torch" where it has none."""
        if self.arch == "tmt":
            return MESH.impl(dtype, device)
        if self.arch not in CONVOLUTIONAL:
            return "torch"
        x = torch.empty(1, dtype=DTYPES[dtype], device=device)
        sizes = ((x.expand(1, n, 1, 1), x.expand(1, 1, n)) for n in self.lengths)
        return " + ".join(dict.fromkeys(toeplitz_impl(*size) for size in sizes))


def matches(settings: Settings) -> Iterator[Match]:
    """Everything against the dense baseline; the baseline against `transformers`, where it is installed."""
    for arch in ARCHITECTURES if settings.arch is None else (settings.arch,):
        if arch != BASELINE:
            yield Match(arch, BASELINE, settings.lengths)
        elif llama.installed():
            yield Match(arch, llama.NAME, settings.lengths)


def has_exits(arch: str) -> bool:
    """Whether tokens of the architecture can leave before the last layer."""
    return "exit_objective" in {field.name for field in fields(architecture(arch).config)}


def build(
    arch: str, settings: Settings, room: int = 0, depth: float | None = None, **overrides: Any
) -> LanguageModel:
    """A preset with overrides in eval mode that takes the longest sequence and `room` more tokens."""
    torch.manual_seed(SEED)
    config = _config(BASELINE if arch == llama.NAME else arch, settings.preset, depth, overrides)
    config = config.for_length(max(settings.lengths) + room)
    model = llama.build(config) if arch == llama.NAME else build_model(arch, config)
    return model.to(settings.device).eval()


def _config(arch: str, preset: str, depth: float | None, overrides: dict[str, Any]) -> ModelConfig:
    """A preset; a depth that its fixed layers alone would reach takes the landing layers from it."""
    entry = architecture(arch)
    plain: dict[str, Any] = {"dropout": 0.0} | overrides
    full = entry.configure(preset, plain | (EXITS_OFF if has_exits(arch) else {}))
    if depth is None:
        return full
    full = cast("TMTConfig", full)
    fixed = full.entry_layers + full.landing_layers
    landing = full.landing_layers if fixed < depth * full.n_layers else 0
    return entry.configure(preset, plain | {"target_depth": depth, "landing_layers": landing})


def draw_tokens(model: LanguageModel, batch: int, length: int) -> Tensor:
    """(B, S) random tokens on the model's device."""
    generator = torch.Generator().manual_seed(SEED)
    tokens = torch.randint(model.config.vocab_size, (batch, length), generator=generator)
    return tokens.to(next(model.parameters()).device)


def inference(call: Callable[[], Any], dtype: Precision, device: torch.device) -> Callable[[], Any]:
    """The call without gradients, its products in bfloat16 for "bf16"."""

    @torch.no_grad()
    def run() -> Any:
        with torch.autocast(device.type, torch.bfloat16, enabled=DTYPES[dtype] == torch.bfloat16):
            return call()

    return run
