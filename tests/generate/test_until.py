import pytest

from tiny_models import BYTES, tiny
from tmt.errors import InputError
from tmt.generate import Sampler, generate_tokens, generate_until

GREEDY = Sampler(temperature=0)
PROMPTS = ["The mesh of tokens", "sees", "Ünïcode"]


def write(model, prompts: list[str], stops: list[str], new: int = 12, sampler: Sampler = GREEDY) -> list[str]:
    return generate_until(model, BYTES, prompts, stops, max_new_tokens=new, sampler=sampler)


def by_hand(model, prompt: str, new: int = 12) -> str:
    ids = [BYTES.eot_id, *BYTES.encode(prompt)]
    steps = generate_tokens(model, [ids], max_new_tokens=new, sampler=GREEDY, stop=BYTES.eot_id)
    return BYTES.decode([token for (token,) in steps if token is not None])


@pytest.mark.parametrize("variant", ["plain", "transformer", "toeplitz"])
def test_without_a_stop_it_is_the_decoding_loop(variant: str):
    model = tiny(variant)
    assert write(model, PROMPTS, []) == [by_hand(model, prompt) for prompt in PROMPTS]


def test_each_text_ends_before_its_first_stop():
    model = tiny("transformer")
    whole = write(model, PROMPTS, [])
    stops = [whole[0][5:7], whole[0][3:5], ""]
    for text, found in zip(whole, write(model, PROMPTS, stops), strict=True):
        first = min((text.find(stop) for stop in stops if stop and stop in text), default=len(text))
        assert found == text[:first]
    assert len(write(model, PROMPTS[:1], stops)[0]) <= 3


def test_it_runs_no_further_than_the_last_text():
    model, calls = tiny("transformer"), []
    model.register_forward_pre_hook(lambda *_: calls.append(1))
    (whole,) = write(model, PROMPTS[:1], [])
    assert len(calls) == 12
    calls.clear()
    assert write(model, PROMPTS[:1], [whole[0]]) == [""]
    assert len(calls) < 12


def test_prompts_lose_their_start_to_make_room():
    model = tiny("transformer", max_seq_len=16)
    ids = list(b"x" * 30 + b"abcd")[-4:]
    steps = generate_tokens(model, [ids], max_new_tokens=12, sampler=GREEDY, stop=BYTES.eot_id)
    expected = BYTES.decode([token for (token,) in steps if token is not None])
    assert write(model, ["x" * 30 + "abcd"], []) == [expected]


def test_more_than_the_model_can_hold_is_written_by_reading_anew():
    model = tiny("transformer", max_seq_len=8)
    ids = [BYTES.eot_id, *b"abc"]
    steps = generate_tokens(model, [ids], max_new_tokens=20, sampler=GREEDY, stop=BYTES.eot_id, recrop=True)
    expected = BYTES.decode([token for (token,) in steps if token is not None])
    assert write(model, ["abc"], [], new=20) == [expected]


def test_the_seed_decides_what_is_drawn():
    model = tiny("transformer")
    drawn = [
        generate_until(model, BYTES, PROMPTS[:1], [], max_new_tokens=12, sampler=Sampler(1.0), seed=seed)
        for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_no_room_for_a_token_is_named():
    with pytest.raises(InputError, match="max_new_tokens=0"):
        write(tiny("transformer"), ["a"], [], new=0)
