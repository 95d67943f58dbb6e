import json
from collections.abc import Iterator

import pytest

from tiny_models import BYTES
from tmt.commands import generate as module
from tmt.commands.generate import Continuation, GenerateOptions, generate
from tmt.errors import InputError

pytest_plugins = ["command_line"]

PROMPTS = ["The mesh", "Ünïcode 漢"]


def run(capsys: pytest.CaptureFixture[str], folder: str, **options) -> str:
    generate(GenerateOptions(**{"run": folder, "device": "cpu", "max_new_tokens": 20, **options}))
    return capsys.readouterr().out


@pytest.mark.parametrize("variant", ["plain", "transformer"])
def test_json_lines(variant: str, runs: dict[str, str], capsys: pytest.CaptureFixture[str]):
    printed = run(capsys, runs[variant], prompt=PROMPTS, json=True, seed=7)
    records = [json.loads(line) for line in printed.splitlines()]
    assert [record["prompt"] for record in records] == PROMPTS
    for record in records:
        assert record.keys() == {"prompt", "text", "tokens", "finish", "seed"}
        assert record["seed"] == 7
        assert (record["finish"] == "length") == (record["tokens"] == 20)


def test_a_single_prompt_streams_the_text_of_its_record(
    runs: dict[str, str], capsys: pytest.CaptureFixture[str]
):
    record = json.loads(run(capsys, runs["plain"], prompt=PROMPTS[1:], json=True))
    assert run(capsys, runs["plain"], prompt=PROMPTS[1:]) == record["prompt"] + record["text"] + "\n"


def test_several_prompts_have_headings(runs: dict[str, str], capsys: pytest.CaptureFixture[str]):
    printed = run(capsys, runs["plain"], prompt=PROMPTS)
    for index, prompt in enumerate(PROMPTS, 1):
        assert f"── {index} of 2 ──\n{prompt}" in printed


def test_an_empty_prompt_starts_a_document(runs: dict[str, str], capsys: pytest.CaptureFixture[str]):
    assert json.loads(run(capsys, runs["plain"], prompt=[""], json=True))["prompt"] == ""


def test_characters_come_out_whole():
    row = Continuation("a", BYTES, [])
    assert [row.add(byte) for byte in "é!".encode()] == ["", "é", "!"]
    assert row.add(0xC3) == ""
    assert row.flush() == "\ufffd"
    assert row.text == "é!\ufffd"
    assert row.tokens == 4


def writing(*tokens: int, then: BaseException | None = None):
    """A stand-in for the engine that writes these tokens into every row."""

    def steps(model, prompts: list[list[int]], **options) -> Iterator[list[int]]:
        assert all(prompt[0] == BYTES.eot_id for prompt in prompts)
        for token in tokens:
            yield [token] * len(prompts)
        if then is not None:
            raise then

    return steps


def test_a_document_that_ends_is_a_stop(
    runs: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "generate_tokens", writing(104, 105, BYTES.eot_id))
    record = json.loads(run(capsys, runs["plain"], prompt=["x"], json=True))
    assert (record["text"], record["tokens"], record["finish"]) == ("hi", 3, "stop")


@pytest.mark.parametrize(
    ("options", "printed"),
    [
        (dict(prompt=["x"]), "xh\ufffd\n"),
        (dict(prompt=["x"], json=True), '"finish": "interrupted"'),
        (dict(prompt=["x", "y"]), "yh\ufffd\n"),
    ],
)
def test_ctrl_c_leaves_what_is_there(
    options: dict,
    printed: str,
    runs: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(module, "generate_tokens", writing(104, 0xC3, then=KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        run(capsys, runs["plain"], **options)
    assert printed in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "named"),
    [(dict(prompt=[]), "--prompt"), (dict(temperature=-1), "temperature"), (dict(seed=-1), "seed"),
     (dict(max_new_tokens=320), "max_seq_len")],
)  # fmt: skip
def test_mistakes_are_named_before_anything_is_printed(
    options: dict, named: str, runs: dict[str, str], capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(InputError, match=named):
        run(capsys, runs["plain"], **{"prompt": ["x"], **options})
    assert capsys.readouterr().out == ""


def test_a_stop_string_ends_a_text_and_is_left_out(runs: dict[str, str], capsys: pytest.CaptureFixture[str]):
    record = json.loads(run(capsys, runs["plain"], prompt=PROMPTS[:1], json=True))
    stop = record["text"][4:6]
    ends = record["text"].index(stop)
    options = {"prompt": PROMPTS[:1], "stop": ["never", stop]}
    stopped = json.loads(run(capsys, runs["plain"], json=True, **options))
    assert (stopped["text"], stopped["finish"]) == (record["text"][:ends], "stop")
    assert stopped["tokens"] < record["tokens"]
    assert run(capsys, runs["plain"], **options) == PROMPTS[0] + record["text"][:ends] + "\n"
    both = run(capsys, runs["plain"], prompt=PROMPTS, stop=[stop], json=True).splitlines()
    assert json.loads(both[0])["text"] == record["text"][:ends]


def test_choices_are_the_sampler_s(runs: dict[str, str], capsys: pytest.CaptureFixture[str]):
    texts = {
        name: json.loads(run(capsys, runs["plain"], prompt=PROMPTS[:1], json=True, **options))["text"]
        for name, options in {
            "greedy": dict(temperature=0.0),
            "the likeliest alone": dict(temperature=5.0, min_p=1.0),
            "free": dict(temperature=5.0),
            "penalised": dict(temperature=0.0, repetition_penalty=100.0),
        }.items()
    }
    assert texts["greedy"] == texts["the likeliest alone"] != texts["free"]
    assert texts["penalised"] != texts["greedy"]


def test_what_means_nothing_at_temperature_0_is_refused(trained, tmt):
    for option in ("--top-k=3", "--top-p=0.5", "--min-p=0.5"):
        complaint = tmt("generate", trained, "--prompt=a", "--temperature=0", option).complaint
        assert "has no effect: temperature 0 takes the likeliest token; leave it out" in complaint
