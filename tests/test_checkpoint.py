"""Run folders: whole ones come back, damaged ones are named, a failed save harms nothing."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from tiny_models import MIXERS, tiny
from tiny_runs import Result
from tmt import checkpoint
from tmt.checkpoint import checked_device, load_run, load_weights, save_weights, write_safely
from tmt.config import FORMAT
from tmt.errors import InputError
from tmt.run_folder import load_config
from tmt.training import state as training_state
from tmt.training.loop import Trainer
from tmt.writer_lock import LOCK

pytest_plugins = ["command_line"]

CONFIG, WEIGHTS = "config.yaml", "model.safetensors"


def rewrite(name: str, old: str, new: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return damage


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def overwrite(name: str, content: bytes) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_bytes(content)


def truncate(name: str, share: float) -> Callable[[Path], Any]:
    def damage(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(share * len(content))])

    return damage


def change_weights(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], Any]:
    def damage(folder: Path) -> None:
        weights = load_file(folder / WEIGHTS)
        change(weights)
        save_file(weights, folder / WEIGHTS)

    return damage


DAMAGES = {
    "no config": (remove(CONFIG), "incomplete: it has no config.yaml; is this the folder"),
    "no weights": (remove(WEIGHTS), "incomplete: it has no model.safetensors; the run has no saved weights"),
    "no tokenizer": (remove("tokenizer.json"), "holds neither tokenizer.json nor tokenizer.model"),
    "other format": (
        rewrite(CONFIG, f"format: {FORMAT}", f"format: {FORMAT + 1}"),
        f"run format {FORMAT + 1} is unknown; this version of tmt reads {FORMAT}",
    ),
    "no format": (rewrite(CONFIG, "format:", "form:"), "config.yaml is damaged"),
    "no field": (rewrite(CONFIG, "preset:", "pre:"), "config.yaml is damaged"),
    "bad field": (rewrite(CONFIG, "d_model:", "d_modal:"), "unknown model field 'd_modal'; did you mean d_m"),
    "bad value": (rewrite(CONFIG, "d_model: 32", "d_model: wide"), "d_model='wide' is not of type int"),
    "bad arch": (rewrite(CONFIG, "arch: tmt", "arch: tnt"), "unknown architecture 'tnt'; did you mean tmt"),
    "cut yaml": (rewrite(CONFIG, "model:", "model: ["), "config.yaml is damaged"),
    "empty yaml": (overwrite(CONFIG, b""), "config.yaml is damaged"),
    "binary yaml": (overwrite(CONFIG, b"\xff\xfe\0"), "config.yaml is damaged"),
    "cut weights": (truncate(WEIGHTS, 0.6), "model.safetensors"),
    "empty weights": (overwrite(WEIGHTS, b""), "model.safetensors"),
    "weight missing": (change_weights(lambda w: w.pop("norm.weight")), "weight norm.weight is missing from"),
    "weight too many": (
        change_weights(lambda w: w.update(extra=torch.ones(1))),
        "weight extra is unknown to the model but in",
    ),
    "weight resized": (
        change_weights(lambda w: w.update({"norm.weight": torch.ones(7)})),
        "has shape (7,), the model needs (32,)",
    ),
    "bad tokenizer": (overwrite("tokenizer.json", b"{}"), "tokenizer.json"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_folders_are_named(damage: str, trained: Path, tmt: Callable[..., Result]):
    spoil, reason = DAMAGES[damage]
    spoil(trained)
    complaint = tmt("generate", trained, "--prompt=a", "--device=cpu").complaint
    assert reason in complaint
    assert str(trained) in complaint


def test_a_missing_folder_is_named(tmp_path: Path, tmt: Callable[..., Result]):
    complaint = tmt("eval", tmp_path / "nowhere").complaint
    assert f"there is no run folder {tmp_path / 'nowhere'}" in complaint
    assert "tmt train" in complaint


@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_a_damaged_training_state_is_named(
    content: bytes | None, trained: Path, train: Callable[..., Result]
):
    state = Trainer.state_path(trained)
    if content is None:
        save_file({"step": torch.ones(1)}, state)
    else:
        state.write_bytes(content)
    complaint = train(trained, "--steps=2", "--resume").complaint
    assert str(state) in complaint


@pytest.mark.parametrize("variant", ["plain", "forget", "transformer", *MIXERS])
@pytest.mark.parametrize("tied", [True, False])
def test_weights_come_back_to_the_bit(variant: str, tied: bool, tmp_path: Path):
    model, other = (tiny(variant, tie_embeddings=tied) for _ in range(2))
    assert any(not torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    save_weights(model, tmp_path)
    load_weights(other, tmp_path)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name
    assert (other.head.weight is other.embedding.weight) == tied


def test_a_run_comes_back_ready_to_use(trained: Path):
    run = load_run(trained)
    assert not run.model.training
    assert run.config == load_config(trained)
    assert (run.config.arch, run.config.model.d_model, run.config.train.steps) == ("tmt", 32, 2)
    assert run.tokenizer.decode(run.tokenizer.encode("mesh")) == "mesh"


@torch.no_grad()
def test_a_run_without_a_young_field_does_what_it_did(trained: Path):
    tokens, young = torch.arange(40)[None], load_run(trained).model
    rewrite(CONFIG, "  anchor_query: unrotated\n", "")(trained)
    old = load_run(trained).model
    assert (young.config.anchor_query, old.config.anchor_query) == ("unrotated", "rotated")
    asked = load_run(trained, overrides=["model.anchor_query=rotated"]).model
    assert torch.equal(old(tokens).logits, asked(tokens).logits)


FULL = [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("No space left on device")]


def writes_half_and_fails(error: Exception) -> Callable[..., None]:
    def save(tensors: dict[str, torch.Tensor], path: Path, *metadata: Any) -> None:
        Path(path).write_bytes(b"half")
        raise error

    return save


@pytest.mark.parametrize("error", FULL, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("module", [checkpoint, training_state], ids=["weights", "state"])
def test_a_full_disk_leaves_the_last_save(
    module: Any, error: Exception, trained: Path, monkeypatch: pytest.MonkeyPatch
):
    kept = [trained / WEIGHTS, Trainer.state_path(trained)]
    before = [path.read_bytes() for path in kept]
    monkeypatch.setattr(module, "save_file", writes_half_and_fails(error))
    saves = {
        checkpoint: lambda: save_weights(load_run(trained).model, trained),
        training_state: lambda: training_state.save_state(kept[1], {"step": 5}),
    }
    with pytest.raises(InputError, match="No space left on device; what was saved before is unharmed"):
        saves[module]()
    assert [path.read_bytes() for path in kept] == before
    assert {path.name for path in trained.rglob(".*")} <= {LOCK}


def test_a_full_disk_stops_training_with_one_line(
    train: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(training_state, "save_file", writes_half_and_fails(FULL[0]))
    result = train(tmp_path / "run", "--steps=2")
    assert result.code == 2
    assert "tmt: error: cannot save" in result.err.splitlines()[-1]
    assert "Traceback" not in result.err


def test_a_full_disk_while_logging_stops_with_one_line(
    train: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    opened = Path.open
    monkeypatch.setattr(
        Path, "open", lambda path, *a, **k: opened(full if path.name == "metrics.jsonl" else path, *a, **k)
    )
    result = train(tmp_path / "run", "--steps=2")
    assert result.code == 2
    assert result.err.splitlines()[-1].startswith("tmt: error: cannot write")
    assert "--resume" in result.err


def test_writing_is_all_or_nothing(tmp_path: Path):
    file = tmp_path / "file"
    write_safely(file, lambda temporary: temporary.write_text("first"))

    def interrupted(temporary: Path) -> None:
        temporary.write_text("sec")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_safely(file, interrupted)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert file.read_text() == "first"


def test_devices():
    assert checked_device("cpu") == torch.device("cpu")
    with pytest.raises(InputError, match="toaster"):
        checked_device("toaster")
