"""The dense baseline as a Qwen3 of transformers: the same logits, tokens and texts, there and back."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tiny_runs import Result
from tmt import InputError, TransformerConfig, load
from tmt.qwen3.names import from_shape, to_shape
from tmt.qwen3.writing import tokenizer_of
from tmt.tokens.byte_level import ByteTokenizer, train_bpe

transformers = pytest.importorskip("transformers")
pytest_plugins = ["command_line"]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

TEXT = "The mesh sees no later token."
HOSTILE = [
    "", " ", "\n\n\t x", "naïve café", "日本語のテキスト", "👩‍👩‍👧‍👦 🇩🇪",
    "a<|endoftext|>b", "\u202eabc\u0000\x1b[31m", "</s>[INST]", "e\u0301", "x" * 3000,
]  # fmt: skip
Tmt = Callable[..., Result]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, cache: Path, corpus: Path) -> tuple[Path, Path]:
    """A run of the dense baseline, and what it is exported to."""
    from tiny_runs import options_of
    from tmt.cli import main

    folder = tmp_path_factory.mktemp("dense")
    run, out = folder / "run", folder / "hf"
    assert main(["train", *options_of("transformer", corpus, run), "--tokenizer=bpe:300", "--steps=3"]) == 0
    assert main(["export", str(run), str(out)]) == 0
    return run, out


@pytest.fixture(scope="module")
def model(exported: tuple[Path, Path]) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(exported[1]).eval()


@pytest.fixture(scope="module")
def tokenizer(exported: tuple[Path, Path]) -> Any:
    return transformers.AutoTokenizer.from_pretrained(exported[1])


def test_it_is_a_stock_model_with_our_logits(exported: tuple[Path, Path], model: Any, tokenizer: Any):
    assert type(model).__name__ == "Qwen3ForCausalLM"
    run = load(exported[0], device="cpu")
    ids = tokenizer(TEXT).input_ids
    assert ids == run.ids(TEXT)
    with torch.no_grad():
        torch.testing.assert_close(
            model(torch.tensor([ids])).logits[0], run.logits(TEXT), rtol=1e-5, atol=1e-5
        )
        far = torch.randint(300, (1, 200), generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(model(far).logits[0], run.logits(far[0]), rtol=1e-5, atol=1e-5)
    assert sum(p.numel() for p in model.parameters()) == run.model.param_count()


def test_it_writes_what_ours_writes(exported: tuple[Path, Path], model: Any, tokenizer: Any):
    run, prompts = load(exported[0], device="cpu"), [TEXT, "Mesh"]
    assert tokenizer.padding_side == "left"
    batch = tokenizer(prompts, return_tensors="pt", padding=True)
    found = model.generate(**batch, max_new_tokens=6, do_sample=False)
    new = [tokenizer.decode(row[batch.input_ids.shape[1] :], skip_special_tokens=True) for row in found]
    assert new == run.generate(prompts, max_new_tokens=6, temperature=0)


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_become_the_same_tokens(text: str, exported: tuple[Path, Path], tokenizer: Any):
    run = load(exported[0], device="cpu")
    assert tokenizer(text).input_ids == run.ids(text)
    byte_ids = tokenizer_of(ByteTokenizer(), "bytes")
    byte_ids.encode_special_tokens = True
    assert byte_ids.encode(text).ids == [256, *text.encode()]
    assert byte_ids.decode([*text.encode()]) == text


def test_the_card_says_what_the_run_knows(exported: tuple[Path, Path]):
    card = (exported[1] / "README.md").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in (exported[0] / "metrics.jsonl").read_text().splitlines()]
    best = min(line["valid_nats"] for line in lines if "valid_nats" in line)
    assert f"| validation during training, nats a token | {best:.4f} |" in card
    assert "Licence of the text: not known here" in card
    assert card.startswith("---\nlibrary_name: transformers\n")


def test_it_is_a_run_again(exported: tuple[Path, Path], tmt: Tmt, tmp_path: Path):
    run, out = exported
    first, again = load(run, device="cpu"), load(out, device="cpu")
    assert torch.equal(first.logits(TEXT), again.logits(TEXT))
    assert first.config.data == again.config.data
    options = ["--limit=64", "--device=cpu", "--json"]
    assert json.loads(tmt("eval", out, *options).out) == json.loads(tmt("eval", run, *options).out)
    further = ["--arch=transformer", "--steps=1", "--batch-size=2", "--seq-len=32", "--device=cpu"]
    assert tmt("train", f"--init-from={out}", f"--out={tmp_path / 'more'}", *further).code == 0
    assert load(tmp_path / "more").config.init_from == str(out)


def test_a_model_that_was_not_ours_is_read(
    exported: tuple[Path, Path], model: Any, tokenizer: Any, tmp_path: Path
):
    shape = transformers.Qwen3Config(**{**to_shape(TransformerConfig.preset("nano")), "vocab_size": 300,
        "num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 2, "num_key_value_heads": 2,
        "head_dim": 16, "intermediate_size": 24, "max_position_embeddings": 64,
        "tie_word_embeddings": False})  # fmt: skip
    torch.manual_seed(3)
    other = transformers.Qwen3ForCausalLM(shape).eval()
    other.save_pretrained(tmp_path / "other")
    tokenizer.save_pretrained(tmp_path / "other")
    run = load(tmp_path / "other", device="cpu")
    assert not run.model.config.tie_embeddings
    tokens = torch.arange(20)
    with torch.no_grad():
        torch.testing.assert_close(run.logits(tokens), other(tokens[None]).logits[0], rtol=1e-5, atol=1e-5)
    (tmp_path / "other" / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"weight model.embed_tokens.weight is missing from the files in"):
        load(tmp_path / "other")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"num_key_value_heads": 1}, "num_key_value_heads=1"),
        ({"head_dim": 64}, "head_dim=64"),
        ({"rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}}, "rope_theta"),
        ({"rope_parameters": {"rope_theta": 1e4, "rope_type": "yarn", "factor": 4.0}}, "rope_parameters"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu'"),
        ({"attention_bias": True}, "attention_bias=True"),
        ({"use_sliding_window": True}, "use_sliding_window=True"),
        ({"hidden_size": None}, "hidden_size"),
    ],
)
def test_another_shape_is_named(changed: dict, said: str):
    shape = to_shape(TransformerConfig.preset("nano")) | changed
    if changed == {"hidden_size": None}:
        del shape["hidden_size"]
    with pytest.raises(InputError, match=said):
        from_shape(shape)


def test_what_has_no_such_form_is_refused(
    exported: tuple[Path, Path], trained: Path, tmt: Tmt, tmp_path: Path
):
    assert "is a tmt; only the dense baseline" in tmt("export", trained, tmp_path / "x").complaint
    assert not (tmp_path / "x").exists()
    assert "is there already" in tmt("export", exported[0], exported[1]).complaint
    assert "there is no run folder" in tmt("export", "nowhere", tmp_path / "x").complaint
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
    assert "holds a bert of transformers" in tmt("eval", tmp_path / "bert").complaint
    (tmp_path / "bert" / "config.json").write_text("{")
    assert "config.json is damaged" in tmt("eval", tmp_path / "bert").complaint


def test_a_bpe_tokenizer_keeps_its_ids():
    own = train_bpe([TEXT * 3, "naïve"], 270, progress=False)
    theirs = tokenizer_of(own, "bpe:270")
    theirs.encode_special_tokens = True
    for text in HOSTILE:
        assert theirs.encode(text).ids == [own.eot_id, *own.encode(text)]


def test_what_the_page_says_works(
    exported: tuple[Path, Path],
    tmt: Tmt,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/dense").symlink_to(exported[0])
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs/export.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(sh|python)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    shorter = {
        "eval": ["--limit=64"],
        "train": [
            "--minutes=null",
            "--steps=1",
            "--batch-size=2",
            "--seq-len=32",
            "--set=train.eval_tokens=64",
        ],
    }
    for kind, text in blocks:
        if kind == "python":
            exec(compile(text, "docs/export.md", "exec"), {})
            continue
        for line in text.splitlines():
            name, *words = shlex.split(line)[1:]
            assert tmt(name, *words, *shorter.get(name, [])).code == 0
    assert [kind for kind, _ in blocks] == ["sh", "python", "sh"]
