"""`tmt.load` and what is at the top of the package: the same as the commands, as values."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import tmt as package
from tiny_models import tiny
from tiny_runs import Result
from tmt import _PLACES, InputError, LoadedRun, load
from tmt.model import architecture, build_model

pytest_plugins = ["command_line"]

TEXT = "The state of the union is strong.\n\n\nAnd its naïve gate lets easy tokens leave."


@pytest.fixture
def run(trained: Path) -> LoadedRun:
    return load(trained, device="cpu")


def test_every_name_at_the_top_is_there_and_no_other():
    assert sorted(name for names in _PLACES.values() for name in names) == sorted(package.__all__)
    for name in package.__all__:
        assert getattr(package, name).__name__ == name
        assert name in dir(package)
    with pytest.raises(AttributeError, match="no attribute 'loads'"):
        package.loads  # noqa: B018


def test_logits_of_a_text_are_those_of_its_tokens(run: LoadedRun):
    ids = [run.tokenizer.eot_id, *run.tokenizer.encode(TEXT)]
    logits = run.logits(TEXT)
    assert logits.shape == (len(ids), run.model.config.vocab_size)
    assert not logits.requires_grad
    with torch.no_grad():
        assert torch.equal(logits, run.model(torch.tensor([ids])).logits[0])
    assert torch.equal(logits, run.logits(ids))
    assert torch.equal(logits, run.logits(torch.tensor(ids)))
    torch.testing.assert_close(run.logits(ids[:5]), logits[:5])


@pytest.mark.parametrize(
    ("ids", "said"),
    [([[1, 2]], r"shape \(1, 1, 2\)"), ([0.5], "float32"), ([], "float32"), ([999], "vocabulary")],
)
def test_ids_of_another_shape_are_named(ids: list, said: str, run: LoadedRun):
    with pytest.raises(InputError, match=said):
        run.logits(ids)


def test_it_writes_what_the_command_writes(run: LoadedRun, trained: Path, tmt: Callable[..., Result]):
    prompts = ["The mesh", "of tokens sees"]
    said = tmt("generate", trained, *(f"--prompt={p}" for p in prompts), "--json", "--top-k=9", "--seed=3",
                   "--max-new-tokens=12", "--device=cpu")  # fmt: skip
    texts = run.generate(prompts, max_new_tokens=12, top_k=9, seed=3)
    assert texts == [json.loads(line)["text"] for line in said.out.splitlines()]
    assert run.generate(prompts[0], max_new_tokens=12, top_k=9, seed=3) == texts[0]
    greedy = run.generate(max_new_tokens=12, temperature=0)
    assert greedy == run.generate("", max_new_tokens=12, temperature=0, seed=7)
    assert len(greedy) > 3
    assert run.generate(max_new_tokens=12, temperature=0, stop=greedy[3]) == greedy[: greedy.index(greedy[3])]


def test_it_scores_as_the_command_does(
    run: LoadedRun, trained: Path, tmp_path: Path, tmt: Callable[..., Result]
):
    options = ["--context=16", "--stride=5", "--limit=120", "--json", "--device=cpu"]
    chosen = {"context": 16, "stride": 5, "limit": 120}
    assert run.evaluate(split="valid", **chosen) == json.loads(
        tmt("eval", trained, "--split=valid", *options).out
    )
    file = tmp_path / "text.txt"
    file.write_text(TEXT.replace("\n\n\n", " ") * 3, encoding="utf-8")
    record = run.evaluate(file, **chosen)
    assert record == json.loads(tmt("eval", trained, f"--data={file}", *options).out)
    given = run.evaluate(file.read_text(encoding="utf-8"), **chosen)
    assert given == record | {"data": "the given text"}


def test_a_text_is_one_document_and_what_it_costs_is_summed(run: LoadedRun):
    record = run.evaluate(TEXT)
    ids = torch.tensor([run.tokenizer.eot_id, *run.tokenizer.encode(TEXT)])
    with torch.no_grad():
        nll = run.model(ids[None, :-1], targets=ids[None, 1:]).nll
    assert record["tokens"] == len(ids) - 1
    assert record["bytes"] == len(TEXT.encode())
    assert len(ids) - 1 > record["context"]  # several windows, each with less past than the whole
    assert record["nats"] == pytest.approx(nll.mean().item(), rel=0.05)
    assert run.evaluate(TEXT, context=len(ids) - 1)["nats"] == pytest.approx(nll.mean().item(), rel=1e-5)


def test_an_artifact_is_loaded_like_its_run(
    run: LoadedRun, trained: Path, tmp_path: Path, tmt: Callable[..., Result]
):
    artifact = tmp_path / "small.tmt"
    assert tmt("pack", trained, f"--out={artifact}", "--tokens=64", "--check=0").code == 0
    packed = load(artifact)
    assert packed.logits(TEXT).shape == run.logits(TEXT).shape
    assert packed.folder == artifact


def test_overrides_and_mistakes(trained: Path):
    assert load(trained, overrides=["model.local_window=3"]).model.config.local_window == 3
    with pytest.raises(InputError, match="there is no run folder nowhere"):
        load("nowhere")
    with pytest.raises(InputError, match="no code of its own"):
        load(trained, trust="mine.py")


def test_it_says_what_it_is_in_one_line(run: LoadedRun, trained: Path):
    size = run.model.param_count()
    assert repr(run) == f"LoadedRun({trained}: tmt, {size:,} parameters, bytes)"


@pytest.mark.parametrize("call", ["forward", "encode"])
@pytest.mark.parametrize(
    ("tokens", "said"),
    [([1, 2], "not a list"), (torch.arange(4), r"not a torch.int64 tensor of shape \(4,\)"),
     (torch.zeros(1, 4), r"not a torch.float32 tensor of shape \(1, 4\)"),
     (torch.zeros(1, 0, dtype=torch.int64), "hold no token")],
)  # fmt: skip
def test_what_are_no_tokens_is_named(tokens: object, said: str, call: str):
    with pytest.raises(InputError, match=said):
        getattr(tiny("transformer"), call)(tokens)


@pytest.mark.parametrize("arch", ["transformer", "toeplitz", "golf"])
def test_the_cost_of_a_replaced_part_is_not_counted(arch: str):
    config = architecture(arch).configure("nano", dict(d_model=24, n_heads=2, vocab_size=64))
    model, tokens = build_model(arch, config).eval(), torch.arange(9)[None]
    before = model(tokens)
    name = "ffn" if hasattr(model.blocks[0], "ffn") else "mlp"
    assert before.flops == model.flops(9)
    setattr(model.blocks[0], name, torch.nn.Sequential(getattr(model.blocks[0], name)))
    after = model(tokens)
    assert torch.equal(after.logits, before.logits)
    assert after.flops != after.flops
    assert model.flops(9) != model.flops(9)


def test_the_page_does_what_it_says(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/mine").symlink_to(trained)
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[1] / "docs/python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/python.md", "exec"), names)
    assert set(re.findall(r"\| `run\.(\w+)", page)) <= set(dir(names["run"]))
    assert len(blocks) == 3
