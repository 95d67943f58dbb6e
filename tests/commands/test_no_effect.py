"""No option of `tmt train` is taken and ignored."""

import pytest

from tmt.cli import parse
from tmt.config import RunConfig
from tmt.errors import InputError
from tmt.options.train import resolve


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
}


@pytest.mark.parametrize("setting", IGNORED)
def test_a_field_without_effect_is_refused(setting: str):
    name = setting.split("=")[0]
    with pytest.raises(InputError, match=rf"^{name}=.* has no effect: .*; leave it out$"):
        resolved(f"--set={setting}", *IGNORED[setting])
    resolved(f"--set={setting}", *USED[setting])


def test_what_a_recipe_sets_and_what_is_the_default_is_no_mistake():
    assert resolved("--recipe=golf", "--steps=3").train.priming == 2
    resolved("--recipe=golf", "--set=optim.optimizer=adamw")
    resolved("--recipe=paper", "--set=optim.momentum=0.95")
