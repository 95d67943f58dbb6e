"""Steps of decoding with static shapes: the logits of the ordinary ones, and nothing of the host in them."""

import pytest
import torch
from builders import SWITCHES, build, draw_tokens, switched
from torch import Tensor

from graph_stand_in import Nowhere, offer_meta, pretend
from tmt.errors import InputError
from tmt.generate import static_decoder
from tmt.generate.captured import WARM_UP
from tmt.generate.static_decoder import StaticDecoder
from tmt.model.base import LanguageModel

DEPENDS_ON_WHAT_WAS_READ = [
    "hyena-relaxed", "toeplitz-relaxed", "toeplitz-relaxed-fir", "random-graph", "recent-graph",
    "stream-memory",
]  # fmt: skip
STATIC = [name for name in SWITCHES if name not in DEPENDS_ON_WHAT_WAS_READ]
EVERY_KIND = [
    "transformer", "golf-record", "triangular-heads", "hyena", "toeplitz-mean-short",
    "toeplitz-decay-endless", "toeplitz-expsum-state", "toeplitz-expsum-direct", "tmt", "dense-middle",
    "hierarchical", "project-exited", "published", "everything", "streaming",
]  # fmt: skip
"""A model for each way of remembering, of looking back, and of leaving."""
STREAMING = dict(stream_memory=True, exit_objective="none", memory_momentum=0.5)
LENGTHS = (6, 2, 5)
STEPS = 9


def model_of(name: str) -> LanguageModel:
    return (
        build(dtype=torch.float32, **STREAMING)
        if name == "streaming"
        else switched(name, dtype=torch.float32)
    )


@torch.inference_mode()
def begin(model: LanguageModel, lengths: tuple[int, ...] = LENGTHS) -> tuple[Tensor, ...]:
    """The state after prompts of these lengths."""
    tokens = draw_tokens(len(lengths), max(lengths))
    state = model(tokens, lengths=torch.tensor(lengths), last_only=True, return_state=True).state
    return tuple(tensor.clone() for tensor in state)


@torch.inference_mode()
def ordinary(model: LanguageModel, state: tuple[Tensor, ...], steps: int = STEPS) -> list[Tensor]:
    """Logits of so many steps."""
    found = []
    for step in range(steps):
        output = model(draw_tokens(len(state[0]), 1, seed=step), state, return_diagnostics=False)
        state = output.state
        found.append(output.logits[:, -1])
    return found


def static(decoder: StaticDecoder, rows: int, steps: int = STEPS) -> list[Tensor]:
    return [decoder(draw_tokens(rows, 1, seed=step)).clone() for step in range(steps)]


def assert_close(actual: list[Tensor], expected: list[Tensor]) -> None:
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=3e-5)


@pytest.fixture
def small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that they are doubled twice in a test."""
    monkeypatch.setattr(static_decoder, "LEAST", 8)


@pytest.mark.usefixtures("small_buffers")
@pytest.mark.parametrize("name", [name for name in STATIC if name not in EVERY_KIND])
def test_a_static_step_equals_the_ordinary_one(name: str):
    model = model_of(name)
    decoder = StaticDecoder(model, begin(model), max(LENGTHS), max(LENGTHS) + STEPS)
    assert_close(static(decoder, len(LENGTHS)), ordinary(model, begin(model)))


@pytest.mark.usefixtures("small_buffers")
@pytest.mark.parametrize("name", EVERY_KIND)
def test_a_replay_of_what_was_captured_equals_the_ordinary_step(name: str, monkeypatch: pytest.MonkeyPatch):
    graphs, model = pretend(monkeypatch), model_of(name)
    decoder = StaticDecoder(model, begin(model), max(LENGTHS), max(LENGTHS) + STEPS)
    written = static(decoder, len(LENGTHS))
    assert [graph.replays for graph in graphs] == [6 - WARM_UP, 3 - WARM_UP]
    assert_close(written, ordinary(model, begin(model)))


@pytest.mark.parametrize("name", EVERY_KIND)
def test_a_static_step_looks_at_no_data(name: str, monkeypatch: pytest.MonkeyPatch):
    model = model_of(name)
    state = begin(model)
    offer_meta(monkeypatch)
    model, state = model.to("meta"), tuple(tensor.to("meta") for tensor in state)
    with torch.inference_mode(), Nowhere():
        tokens = torch.empty(len(LENGTHS), 1, dtype=torch.long, device="meta")
        output = model(tokens, state, last_only=True, return_diagnostics=False, capacity=64)
    assert output.logits.shape == (len(LENGTHS), 1, model.config.vocab_size)


def test_the_device_without_data_notices_a_look(monkeypatch: pytest.MonkeyPatch):
    model = model_of("transformer")
    state = tuple(tensor.to("meta") for tensor in begin(model))
    offer_meta(monkeypatch)
    tokens = torch.empty(len(LENGTHS), 1, dtype=torch.long, device="meta")
    model.to("meta")
    with torch.inference_mode(), Nowhere():
        with pytest.raises(RuntimeError, match="meta"):
            model(tokens, state)
        with pytest.raises(AssertionError, match="tensor of the host"):
            model.embedding.weight[torch.zeros(1, dtype=torch.long)]


@pytest.mark.parametrize("name", DEPENDS_ON_WHAT_WAS_READ)
def test_other_models_offer_no_static_step(name: str):
    model = model_of(name)
    assert not model.decodes_statically
    with pytest.raises(InputError, match="none can be captured"):
        StaticDecoder(model, begin(model), max(LENGTHS), 20)


@pytest.mark.usefixtures("small_buffers")
def test_a_replay_reads_the_weights_as_they_are_under_autocast(monkeypatch: pytest.MonkeyPatch):
    """And not what an autocast that ends before it has kept of them."""
    pretend(monkeypatch)
    model, twin = (model_of("transformer-untied") for _ in range(2))
    decoders = [StaticDecoder(each, begin(each), max(LENGTHS), 20) for each in (model, twin)]
    for turned in (False, True):
        if turned:
            with torch.no_grad():
                model.head.weight.neg_()
        with torch.autocast("cpu", torch.bfloat16):
            logits, others = (static(decoder, len(LENGTHS), 4)[-1] for decoder in decoders)
        assert torch.equal(logits, -others if turned else others)


def test_a_row_has_no_more_tokens_than_announced():
    model = model_of("transformer")
    decoder = StaticDecoder(model, begin(model), max(LENGTHS), max(LENGTHS) + 1)
    static(decoder, len(LENGTHS), 1)
    with pytest.raises(InputError, match="7 tokens that were announced"):
        static(decoder, len(LENGTHS), 1)
    with pytest.raises(InputError, match="97 tokens exceeds max_seq_len=96"):
        StaticDecoder(model, begin(model), max(LENGTHS), 97)


@pytest.mark.parametrize(("width", "options"), [(1, dict(lengths=torch.tensor([1, 1, 1]))), (2, {})])
def test_a_capacity_is_for_one_more_token(width: int, options: dict[str, Tensor]):
    model = model_of("transformer")
    with pytest.raises(InputError, match="one more token a row"):
        model(draw_tokens(3, width), begin(model), capacity=20, **options)
    with pytest.raises(InputError, match="one more token a row"):
        model(draw_tokens(3, 1), capacity=20)
