"""A Toeplitz mixer with its kernels replaced by small states."""

from dataclasses import dataclass, replace
from typing import cast

from torch import Tensor, nn

from tmt.convert.bounds import gain, normalised_input_limit
from tmt.convert.hankel import ExponentialFit, fit_exponentials
from tmt.convert.rank import rank_needed
from tmt.errors import InputError
from tmt.layers.toeplitz_kernel import ExpSumKernel
from tmt.model.base import LanguageModel
from tmt.model.mixer import Norm
from tmt.model.toeplitz import ToeplitzMixer, ToeplitzMixing
from tmt.model.toeplitz_config import ToeplitzConfig


@dataclass(frozen=True)
class KernelFit:
    """How near one converted kernel, as its parameters hold it, is to the one it replaces."""

    kernel: str
    """Name as in :meth:`LanguageModel.kernels`."""
    head: int
    shift: int
    relative_l1: float
    """``‖e‖₁`` as a share of the kernel's."""
    lower_bound: float
    """No state of this size has a smaller relative error."""
    gain_error: float
    """``max_θ |E(e^{iθ})|``: largest error of the output's 2-norm for an input of norm 1."""
    output_bound: float | None
    """Largest error of any output, for the inputs that the layer's norm lets through; None where the input
    comes from another convolution."""


def to_state(model: LanguageModel, rank: int, head: int) -> tuple[ToeplitzMixer, list[KernelFit]]:
    """The same model with every kernel as `head` free taps and `rank` damped oscillations.

    A kernel that is of that form already, with no more of either, is kept as it is.

    Raises:
        InputError: the model has no kernels that a state could stand for.
    """
    if not isinstance(model, ToeplitzMixer):
        raise InputError("only the kernels of --arch toeplitz can become a state")
    config = model.config
    if config.mean:
        raise InputError("mean=true divides every output by its own sum, which no state of a kernel does")
    if rank < 0 or not 0 <= head <= config.kernel_length:
        raise InputError(
            f"rank={rank} and head={head} must be at least 0, head at most {config.kernel_length}"
        )
    exact = config.kernel == "expsum" and rank >= config.kernel_rank and head >= config.kernel_head
    if exact:
        rank, head = config.kernel_rank, config.kernel_head
    converted = ToeplitzMixer(_state_config(config, rank, head)).eval()
    own = model.state_dict()
    weights = own if exact else {name: weight for name, weight in own.items() if ".kernel." not in name}
    converted.load_state_dict(weights, strict=exact)
    bounds = {} if exact else _fit(model, converted)
    return converted, _compare(model, converted, bounds)


def require_fit(model: LanguageModel, fits: list[KernelFit], rank: int, head: int, tolerance: float) -> None:
    """InputError naming the worst kernel and the rank that it would need, where one is beyond `tolerance`."""
    worst = max(fits, key=lambda fit: fit.relative_l1)
    if worst.relative_l1 <= tolerance:
        return
    taps = model.kernels()[worst.kernel][worst.head, worst.shift]
    needed = rank_needed(taps, head, tolerance)
    hopeless = "no rank that saves anything would; train with --set model.kernel=expsum or decay"
    way_out = hopeless if needed is None else f"rank {needed} would fit it"
    raise InputError(
        f"kernel {worst.kernel}, head {worst.head} does not fit into rank {rank} and {head} free taps: "
        f"its relative error {worst.relative_l1:.3g} is above the tolerance of {tolerance:g}; {way_out}"
    )


def _state_config(config: ToeplitzConfig, rank: int, head: int) -> ToeplitzConfig:
    beyond = "error" if config.beyond == "fir" else config.beyond
    bias = "none" if config.kernel == "ones" else config.bias
    return replace(
        config, kernel="expsum", kernel_rank=rank, kernel_head=head, decode="auto", beyond=beyond, bias=bias
    )


def _fit(model: ToeplitzMixer, converted: ToeplitzMixer) -> dict[tuple[str, int, int], float]:
    """Fit every kernel; returns the lower bounds by kernel, head and shift.

    More oscillations can have huge coefficients that cancel, which the parameters' type does not hold: of the
    ranks r, r/2, r/4, … the one is taken whose kernel, as it is stored, is nearest.
    """
    config, bounds = converted.config, {}
    targets = _by_name(converted)
    for place, taps in _each(model).items():
        (name, head, shift), kernel = place, targets[place[0]]

        def store(fit: ExponentialFit, kernel=kernel, head=head, shift=shift) -> Tensor:
            kernel.assign(head, shift, fit.head, fit.modes, fit.coefficients)
            return kernel(kernel.length)[head, shift].detach().double()

        fits = [fit_exponentials(taps, rank, config.kernel_head) for rank in _halvings(config.kernel_rank)]
        errors = [float((taps - store(fit)).abs().sum()) for fit in fits]
        store(fits[errors.index(min(errors))])
        bounds[name, head, shift] = fits[0].lower_bound
    return bounds


def _halvings(rank: int) -> list[int]:
    """rank, rank // 2, …, down to 1 or 0."""
    return [rank] if rank < 2 else [rank, *_halvings(rank // 2)]


def _compare(
    model: ToeplitzMixer, converted: ToeplitzMixer, bounds: dict[tuple[str, int, int], float]
) -> list[KernelFit]:
    """Errors of the kernels that the converted model's own parameters make."""
    fits, limits, replaced = [], _input_limits(model), _each(converted)
    for place, taps in _each(model).items():
        error, (name, head, _) = taps - replaced[place], place
        lost, size = float(error.abs().sum()), float(taps.abs().sum())
        fits.append(
            KernelFit(
                *place,
                relative_l1=lost / size if size else lost,
                lower_bound=bounds.get(place, 0.0) / (size or 1.0),
                gain_error=float(gain(error)),
                output_bound=lost * limits[name][head] if name in limits else None,
            )
        )
    return fits


def _each(model: ToeplitzMixer) -> dict[tuple[str, int, int], Tensor]:
    """Every single kernel (n,) by name, head and shift."""
    return {
        (name, head, shift): taps
        for name, kernel in model.kernels().items()
        for head, shifts in enumerate(kernel)
        for shift, taps in enumerate(shifts)
    }


def _mixings(model: ToeplitzMixer) -> list[tuple[Norm, ToeplitzMixing]]:
    """The norm before each mixing, and the mixing."""
    return [(block.token_norm, cast("ToeplitzMixing", block.mixer)) for block in model.blocks]


def _by_name(model: ToeplitzMixer) -> dict[str, ExpSumKernel]:
    convolutions = (convolution for _, mixing in _mixings(model) for convolution in mixing.convolutions)
    kernels = (cast("ExpSumKernel", convolution.kernel) for convolution in convolutions)
    return dict(zip(model.kernels(), kernels, strict=True))


def _input_limits(model: ToeplitzMixer) -> dict[str, list[float]]:
    """Largest magnitude of an input per head of the convolutions that follow a norm, by kernel."""
    first = [name for name in model.kernels() if not name.endswith(".outer")]
    limits = {}
    for name, (norm, mixing) in zip(first, _mixings(model), strict=True):
        scale, bias = norm.weight.double(), getattr(norm, "bias", None)
        shift = None if bias is None else bias.double()
        linear = mixing.input if isinstance(mixing.input, nn.Linear) else None
        limit = normalised_input_limit(scale, shift, None if linear is None else linear.weight.double())
        if linear is not None:
            limit = limit + linear.bias.double().abs()
        limits[name] = limit.detach().view(mixing.heads, -1).amax(1).tolist()
    return limits
