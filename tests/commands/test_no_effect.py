"""No option of `tmt train` is taken and ignored."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tiny_runs import Result
from tmt.cli import parse
from tmt.config import RunConfig
from tmt.errors import InputError
from tmt.options.train import resolve

pytest_plugins = ["command_line"]


def resolved(*arguments: str) -> RunConfig:
    return resolve(parse(["train", *arguments])[1], vocab_size=50)


IGNORED = {
    "train.priming=2": ["--steps=3"],
    "optim.momentum=0.9": ["--recipe=paper"],
    "optim.momentum_start=0.9": ["--set=optim.optimizer=adamw"],
    "optim.equal_rows=true": ["--recipe=paper"],
    "optim.orthogonaliser=polar-express": ["--recipe=paper"],
    "optim.momentum_warmup=0.2": [],
    "optim.momentum_start=0.8": [],
    "optim.warmdown=0.5": [],
    "optim.ema_ramp=true": ["--recipe=paper"],
    "optim.exit_gate_coeff=0.5": ["--arch=transformer"],
    "model.target_depth=0.8": ["--set=model.exit_objective=none"],
    "model.exit_gate=random": ["--set=model.entry_layers=3"],
    "model.exited_kv=project": ["--set=model.exit_objective=none"],
    "model.exit_threshold=0.5": [],
    "model.graph_k=5": ["--set=model.graph=dense"],
    "model.successors=false": ["--set=model.graph=none"],
    "model.graph_block=32": ["--set=model.graph=random"],
    "model.k_global=2": ["--set=model.graph=recent"],
    "model.exact_until=64": ["--set=model.graph=dense"],
    "model.decay_horizon=64": [],
    "model.memory_momentum=0.5": [],
    "model.anchor_query=rotated": [],
    "model.stream_memory=true": [],
    "model.loops_from=0.5": ["--arch=golf", "--set=model.loop_passes=1"],
    "model.loop_start=1": ["--arch=golf", "--set=model.loop_passes=1"],
    "model.loop_end=1": ["--arch=golf", "--set=model.loop_passes=1"],
    "model.parallel_from=3": ["--arch=golf", "--set=model.parallel=none"],
    "model.lane_retention=1.5": ["--arch=golf", "--set=model.parallel=simple"],
    "model.rope_length=64": ["--arch=golf", "--set=model.rope_dims=0"],
    "model.kernel_rank=4": ["--arch=toeplitz"],
    "model.kernel_head=2": ["--arch=toeplitz", "--set=model.kernel=decay"],
    "model.inner_bias=false": ["--arch=toeplitz"],
    "model.output_bias=false": ["--arch=toeplitz", "--set=model.n_heads=0"],
    "model.bias=position": ["--arch=toeplitz", "--set=model.kernel=ones"],
    "model.bias=channel": ["--arch=toeplitz", "--set=model.kernel=ones"],
    "model.embedding_std=0.2": ["--arch=hyena", "--set=model.init=kaiming"],
}
USED = {
    "train.priming=2": ["--minutes=3"],
    "optim.momentum=0.9": [],
    "optim.momentum_start=0.9": ["--recipe=golf"],
    "optim.equal_rows=true": [],
    "optim.orthogonaliser=polar-express": [],
    "optim.momentum_warmup=0.2": ["--set=optim.momentum_start=0.5"],
    "optim.momentum_start=0.8": ["--set=optim.momentum_warmup=0.5"],
    "optim.warmdown=0.5": ["--set=optim.schedule=warmdown"],
    "optim.ema_ramp=true": [],
    "optim.exit_gate_coeff=0.5": [],
    "model.target_depth=0.8": [],
    "model.exit_gate=random": [],
    "model.exited_kv=project": [],
    "model.exit_threshold=0.5": ["--set=model.target_depth=null"],
    "model.graph_k=5": ["--set=model.graph=random"],
    "model.successors=false": ["--set=model.graph=recent"],
    "model.graph_block=32": [],
    "model.k_global=2": [],
    "model.exact_until=64": [],
    "model.decay_horizon=64": ["--set=model.channel_decay=true"],
    "model.memory_momentum=0.5": ["--set=model.memory_anchors=3"],
    "model.anchor_query=rotated": ["--set=model.memory_anchors=3"],
    "model.stream_memory=true": ["--set=model.memory_anchors=3"],
    "model.loops_from=0.5": ["--arch=golf"],
    "model.loop_start=1": ["--arch=golf"],
    "model.loop_end=1": ["--arch=golf"],
    "model.parallel_from=3": ["--arch=golf"],
    "model.lane_retention=1.5": ["--arch=golf"],
    "model.rope_length=64": ["--arch=golf"],
    "model.kernel_rank=4": ["--arch=toeplitz", "--set=model.kernel=expsum"],
    "model.kernel_head=2": ["--arch=toeplitz", "--set=model.kernel=expsum"],
    "model.inner_bias=false": ["--arch=toeplitz", "--set=model.expanded=true"],
    "model.output_bias=false": ["--arch=toeplitz"],
    "model.bias=position": ["--arch=toeplitz"],
    "model.bias=channel": ["--arch=toeplitz"],
    "model.embedding_std=0.2": ["--arch=hyena"],
}


@pytest.mark.parametrize("setting", IGNORED)
def test_a_field_without_effect_is_refused(setting: str):
    name = setting.split("=")[0]
    with pytest.raises(InputError, match=rf"^{name}=.* has no effect: .*; leave it out$"):
        resolved(f"--set={setting}", *IGNORED[setting])
    resolved(f"--set={setting}", *USED[setting])


def test_a_trained_run_and_a_task_are_held_to_the_same(trained: Path, tmt: Callable[..., Result]):
    for command in (["generate", trained, "--prompt=a"], ["eval", trained], ["score", trained]):
        complaint = tmt(*command, "--set=model.exit_threshold=0.5").complaint
        assert complaint.startswith("model.exit_threshold=0.5 has no effect: target_depth=0.75 sets it")
    complaint = tmt("tasks", "copy", "--arch=toeplitz", "--set=model.kernel_rank=4").complaint
    assert complaint == "model.kernel_rank=4 has no effect: kernel=delta has none; leave it out"


def test_what_a_recipe_sets_and_what_is_the_default_is_no_mistake():
    assert resolved("--recipe=golf", "--steps=3").train.priming == 2
    resolved("--recipe=golf", "--set=optim.optimizer=adamw")
    resolved("--recipe=paper", "--set=optim.momentum=0.95")


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (["inspect", "RUN", "--ops", "--text=a"], "--text has no effect: --ops shows no text"),
        (["inspect", "RUN", "--operator", "--layer=1"], "--layer has no effect: --operator shows no text"),
        (["inspect", "RUN", "--operator", "--ops"], "--ops and --operator show different things"),
        (["convert", "RUN", "--tolerance=1"], "--tolerance has no effect: without --out nothing is written"),
        (["tasks", "list", "--steps=3"], "--steps has no effect: list only shows the tasks"),
    ],
)
def test_options_of_other_commands(command: list[str], named: str, trained: Path, tmt: Callable[..., Result]):
    assert named in tmt(*(str(trained) if part == "RUN" else part for part in command)).complaint
