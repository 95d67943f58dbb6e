import pytest
import torch

from graph_stand_in import pretend
from tiny_models import tiny
from tmt.errors import InputError
from tmt.generate import Sampler, generate_tokens, static_decoder
from tmt.model.base import LanguageModel

GREEDY = Sampler(temperature=0)
PROMPTS = [[256, 5, 6, 7, 8, 9], [256, 70], [256, 70, 71, 70, 71, 70, 71, 70, 71, 70, 71, 70, 71, 70, 71]]
VARIANTS = ["transformer", "plain", "hierarchical", "decay", "forget", "project", "toeplitz"]


def write(model: LanguageModel, prompts: list[list[int]], count: int = 12, **options) -> list[list[int]]:
    """The new ids of every row, without what follows its end."""
    steps = generate_tokens(model, prompts, max_new_tokens=count, **{"sampler": GREEDY, **options})
    return [[token for token in row if token is not None] for row in zip(*steps, strict=True)]


def recompute(model: LanguageModel, prompt: list[int], count: int = 12) -> list[int]:
    """Greedy decoding that reads everything anew for each token."""
    ids = list(prompt)
    for _ in range(count):
        ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize("variant", VARIANTS)
def test_cached_ragged_batch_equals_recomputing_each_prompt(variant: str):
    model = tiny(variant)
    written = write(model, PROMPTS)
    assert written == [recompute(model, prompt) for prompt in PROMPTS]
    assert len({token for row in written for token in row}) > 3


@pytest.mark.parametrize("variant", ["transformer", "plain"])
def test_replayed_steps_write_the_same(variant: str, monkeypatch: pytest.MonkeyPatch):
    """As on CUDA: past a doubling of the buffers, and past the longest sequence, which is read anew."""
    model = tiny(variant, max_seq_len=40)
    expected = write(model, PROMPTS, count=30, recrop=True)
    graphs = pretend(monkeypatch)
    monkeypatch.setattr(static_decoder, "LEAST", 20)
    assert write(model, PROMPTS, count=30, recrop=True) == expected
    assert [graph.replays for graph in graphs] == [13, 8]


def test_tokens_leave_early_while_writing():
    assert len(tiny()(torch.tensor(PROMPTS[:1])).depth.unique()) > 1


@pytest.mark.parametrize("variant", ["transformer", "plain"])
def test_a_sampled_row_does_not_depend_on_the_others(variant: str):
    model = tiny(variant)
    together = write(model, PROMPTS, sampler=Sampler(1.0), seed=3)
    assert write(model, PROMPTS[:1], sampler=Sampler(1.0), seed=3) == together[:1]
    assert write(model, PROMPTS, sampler=Sampler(1.0), seed=4) != together


def test_a_row_ends_with_stop_and_the_others_go_on():
    model = tiny()
    free = write(model, PROMPTS)
    stop = free[0][3]
    first = free[0].index(stop)
    steps = list(generate_tokens(model, PROMPTS, max_new_tokens=12, sampler=GREEDY, stop=stop))
    rows = [list(row) for row in zip(*steps, strict=True)]
    assert rows[0][: first + 1] == free[0][: first + 1]
    assert set(rows[0][first + 1 :]) <= {None}
    for row, expected in zip(rows, free, strict=True):
        end = expected.index(stop) + 1 if stop in expected else 12
        assert [token for token in row if token is not None] == expected[:end]


def test_nothing_runs_once_every_row_has_ended():
    model = tiny()
    stop = write(model, PROMPTS[:1], count=1)[0][0]
    assert list(generate_tokens(model, PROMPTS[:1], max_new_tokens=9, sampler=GREEDY, stop=stop)) == [[stop]]


@pytest.mark.parametrize(
    ("prompts", "count", "named"),
    [([], 1, "no prompt"), ([[1], []], 1, "no token"), ([[1]], 0, "max_new_tokens=0"),
     ([[1], [1] * 60], 6, "max_seq_len=64"), ([[1, 300]], 1, "token id 300")],
)  # fmt: skip
def test_mistakes_are_named(prompts: list[list[int]], count: int, named: str):
    with pytest.raises(InputError, match=named):
        list(generate_tokens(tiny(), prompts, max_new_tokens=count, sampler=GREEDY))


@pytest.mark.parametrize("variant", ["transformer", "plain"])
def test_a_prompt_that_fills_the_model_gets_one_more_token(variant: str):
    model, prompt = tiny(variant), [7 * i % 200 for i in range(64)]
    (new,) = write(model, [prompt], count=1)
    assert new == [int(model(torch.tensor([prompt])).logits[0, -1].argmax())]
    assert len(write(model, [prompt[:60]], count=5)[0]) == 5


def test_a_row_that_has_ended_rests():
    """One that ended at the model's limit is read no further; the other is read anew once at most."""
    model, long, short = tiny("transformer"), [7 * i % 200 for i in range(63)], [9]
    stop = write(model, [long], count=1)[0][0]
    alone = write(model, [short], count=50)[0]
    assert stop not in alone
    shapes = []
    model.register_forward_pre_hook(lambda _, arguments: shapes.append(tuple(arguments[0].shape)))
    steps = generate_tokens(model, [long, short], max_new_tokens=50, sampler=GREEDY, stop=stop, recrop=True)
    rows = [*zip(*steps, strict=True)]
    assert rows[0] == (stop, *[None] * 49)
    assert [*rows[1]] == alone
    assert len([shape for shape in shapes if shape[1] > 1]) <= 2
    assert shapes[-1] == (1, 1)


def test_arguments_are_checked_before_the_first_step():
    with pytest.raises(InputError):
        generate_tokens(tiny(), [], max_new_tokens=1, sampler=GREEDY)


def test_the_whole_context_can_be_used():
    assert len(write(tiny(), [[1] * 60], count=4)[0]) == 4


def test_it_can_be_left_at_any_step_and_leaves_no_mode_behind():
    steps = generate_tokens(tiny(), PROMPTS, max_new_tokens=12, sampler=GREEDY)
    next(steps)
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    steps.close()
    assert list(steps) == []


@pytest.mark.parametrize("variant", ["transformer", "plain", "toeplitz"])
def test_recrop_reads_the_last_tokens_anew_once_the_model_is_full(variant: str):
    sizes = dict(kernel_length=20) if variant == "toeplitz" else dict(max_seq_len=20)
    model = tiny(variant, **sizes)
    for prompt in (PROMPTS[0], PROMPTS[2] * 2):
        ids = list(prompt)
        for _ in range(25):
            ids.append(int(model(torch.tensor([ids[-20:]])).logits[0, -1].argmax()))
        assert write(model, [prompt], count=25, recrop=True) == [ids[len(prompt) :]]
    with pytest.raises(InputError, match=r"6 tokens and 25 new ones exceed the model's .*=20.*recrop"):
        write(model, PROMPTS[:1], count=25)


def test_recrop_of_rows_that_differ_in_length():
    model = tiny("toeplitz", kernel_length=20)
    together = write(model, PROMPTS, count=30, recrop=True)
    full = max(map(len, PROMPTS))
    for row, prompt in zip(together, PROMPTS, strict=True):
        ids = list(prompt)
        for step in range(30):
            seen = ids[-20:] if full + step > 20 else ids
            ids.append(int(model(torch.tensor([seen])).logits[0, -1].argmax()))
        assert row == ids[len(prompt) :]
