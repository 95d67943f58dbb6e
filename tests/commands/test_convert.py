import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import pytest
import torch

from tiny_runs import Result
from tmt.checkpoint import load_run, save_weights
from tmt.commands.convert import ConvertOptions, convert
from tmt.errors import InputError

pytest_plugins = ["command_line"]

Command = Callable[..., Result]


@pytest.fixture(scope="module")
def smooth(runs: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run whose kernels are two damped oscillations each."""
    folder = tmp_path_factory.mktemp("smooth") / "run"
    copytree(runs["toeplitz"], folder)
    model = load_run(folder).model
    k = torch.arange(48.0)
    with torch.no_grad():
        for layer, block in enumerate(model.blocks):
            weight = block.mixer.convolutions[0].kernel.weight
            weight[0, 0] = 0.4 * 0.8**k
            weight[1, 0] = 0.3 * 0.9**k * torch.cos((0.4 + layer) * k)
    save_weights(model, folder)
    return str(folder)


def run(capsys: pytest.CaptureFixture[str], folder: str, **options) -> str:
    convert(ConvertOptions(**{"run": folder, "tokens": 200, **options}))
    return capsys.readouterr().out


def test_several_ranks_are_compared_and_nothing_is_written(
    smooth: str, runs: dict[str, str], capsys: pytest.CaptureFixture[str]
):
    records = [json.loads(line) for line in run(capsys, smooth, rank="0,1,2", json=True).splitlines()]
    assert [record["rank"] for record in records] == [0, 1, 2]
    assert records[1]["kl"] < 1e-6 < 0.01 < records[0]["kl"]
    assert records[1]["agreement"] == records[2]["agreement"] == 1
    for record in records:
        assert record["tokens"] == 192
        assert len(record["kernels"]) == 4
        for kernel in record["kernels"]:
            assert kernel["lower_bound"] <= kernel["relative_l1"] + 1e-6
            assert kernel["output_bound"] >= kernel["relative_l1"]
    assert "rank" in run(capsys, runs["toeplitz"], rank="1,8")


def test_the_written_run_decodes_from_its_state(
    smooth: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "state"
    run(capsys, smooth, rank="2", head=1, out=out)
    source, converted = load_run(smooth), load_run(out)
    assert converted.config.init_from == smooth
    assert converted.model.ops()["decoding"] == "state"
    tokens = torch.arange(40)[None] % 200
    with torch.inference_mode():
        full, other = source.model(tokens).logits, converted.model(tokens).logits
        state = converted.model(tokens[:, :30], return_state=True).state
        step = converted.model(tokens[:, 30:31], state).logits
    torch.testing.assert_close(other, full, rtol=0, atol=1e-4)
    torch.testing.assert_close(step, other[:, 30:31], rtol=0, atol=1e-4)
    (again,) = run(capsys, str(out), rank="30", json=True).splitlines()
    assert json.loads(again)["kl"] == 0
    assert all(kernel["relative_l1"] == 0 for kernel in json.loads(again)["kernels"])


def test_a_kernel_that_does_not_fit_is_refused_with_the_way_out(runs: dict[str, str], tmp_path: Path):
    out = tmp_path / "state"
    with pytest.raises(
        InputError, match=r"kernel \d, head \d does not fit into rank 1 .*--tolerance accepts"
    ):
        convert(ConvertOptions(runs["toeplitz"], rank="1", out=out, tokens=100))
    assert not out.exists()


def test_what_cannot_be_converted_is_refused(runs: dict[str, str], tmp_path: Path):
    with pytest.raises(InputError, match="only the kernels of --arch toeplitz"):
        convert(ConvertOptions(runs["transformer"]))
    for rank in ("x", "4,", "-1"):
        with pytest.raises(InputError, match="rank="):
            convert(ConvertOptions(runs["toeplitz"], rank=rank))
    with pytest.raises(InputError, match="--out takes one rank"):
        convert(ConvertOptions(runs["toeplitz"], rank="1,2", out=tmp_path / "a"))
    with pytest.raises(InputError, match="holds a run already"):
        ConvertOptions(runs["toeplitz"], out=Path(runs["plain"])).verify(frozenset())


def test_a_policy_for_long_sequences_is_an_argument(runs: dict[str, str], tmt: Command):
    long = ("generate", runs["toeplitz"], "--prompt=The", "--max-new-tokens=60", "--device=cpu", "--json")
    assert "kernel_length=48" in tmt(*long).complaint
    relaxed = ["--set=model.beyond=fir", "--set=model.decode=relaxed"]
    for policy in (["--set=model.beyond=fir"], ["--recrop"], relaxed):
        assert json.loads(tmt(*long, *policy).out)["finish"] in ("length", "stop")
    evaluated = ("eval", runs["toeplitz"], "--context=192", "--limit=400", "--device=cpu", "--json")
    assert "kernel_length=48" in tmt(*evaluated).complaint
    record = json.loads(tmt(*evaluated, "--set=model.beyond=fir").out)
    assert list(record["nats_by_position"])[-1] == "129-192"
    assert all(nats is not None for nats in record["nats_by_position"].values())
    assert "model.field=value only" in tmt(*long, "--set=train.steps=3").complaint
    assert "unknown" in tmt(*long, "--set=model.beyondd=fir").complaint
