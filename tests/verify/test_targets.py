"""What a user may name, and one line for what cannot be tried."""

import pytest
import torch

from tmt.cli import main
from tmt.errors import InputError
from tmt.verify import check, open_target, subject_of

GOOD = """
import torch
class Mean(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = torch.nn.Embedding(17, 8), torch.nn.Linear(8, 17)
    def forward(self, tokens):
        count = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)[:, None]
        return self.head(self.embedding(tokens).cumsum(1) / count)
class Peeks(Mean):
    def forward(self, tokens):
        return self.head(self.embedding(tokens).mean(1, keepdim=True).expand(-1, tokens.shape[1], -1))
class Needs(Mean):
    def __init__(self, width):
        super().__init__()
class Wrong(Mean):
    def forward(self, tokens):
        return self.embedding(tokens).mean()
class Nothing(Mean):
    def forward(self, tokens):
        return None
class Nameless(torch.nn.Module):
    def forward(self, tokens):
        return torch.zeros(*tokens.shape, 5)
class Raises(Mean):
    def forward(self, tokens):
        raise KeyError("no\\nsuch")
def make():
    return Mean()
def text():
    return "no model"
model = Mean()
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(GOOD, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["Mean", "make", "model"])
def test_a_class_a_function_and_a_model_of_a_file(file, name: str):
    subject = open_target(f"{file}:{name}")
    assert subject.vocab_size == 17
    assert check(subject, length=10).passed


def test_a_name_of_a_package(monkeypatch: pytest.MonkeyPatch, file):
    monkeypatch.syspath_prepend(file.parent)
    assert open_target("mine:Mean").vocab_size == 17


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("{file}:Meen", "unknown name in .*did you mean Mean"),
        ("{file}:Needs", "cannot be called without arguments"),
        ("{file}:Wrong", r"makes \(\) of tokens"),
        ("{file}:Nothing", "returns NoneType, not logits"),
        ("{file}:Nameless", "does not say how many tokens it knows"),
        ("{file}:Raises", "KeyError"),
        ("{file}:text", "is a str, not a torch.nn.Module"),
        ("{folder}/none.py:Mean", "there is no file"),
        ("no.such.package:Mean", "cannot import no.such.package"),
        ("hf:{folder}/nothing", "cannot open hf:"),
        ("{folder}/nothing", "there is no run folder"),
        ("{broken}:Mean", "raises SyntaxError"),
    ],
)
def test_what_cannot_be_tried_gets_one_line(file, target: str, words: str):
    broken = file.parent / "broken.py"
    broken.write_text("class:", encoding="utf-8")
    with pytest.raises(InputError, match=words) as caught:
        open_target(target.format(file=file, folder=file.parent, broken=broken))
    assert "\n" not in str(caught.value)


def test_a_fresh_model_is_shaken_so_that_nothing_hides_behind_an_identity(tmp_path):
    path = tmp_path / "idle.py"
    hidden = GOOD + "\nclass Idle(Peeks):\n    def __init__(self):\n        super().__init__()\n"
    hidden += "        torch.nn.init.zeros_(self.head.weight)\n"
    path.write_text(hidden, encoding="utf-8")
    assert not check(open_target(f"{path}:Idle"), only=["future"], length=10).passed


def test_a_subject_and_its_mode_are_kept():
    module = torch.nn.Sequential(torch.nn.Embedding(5, 4), torch.nn.Linear(4, 5))
    subject = subject_of(module)
    assert subject_of(subject) is subject
    assert subject.vocab_size == 5


def test_the_exit_code_says_whether_every_rule_holds(file, capsys: pytest.CaptureFixture[str]):
    assert main(["verify", f"{file}:Mean", "--length", "10", "--only", "future,rows"]) == 0
    assert main(["verify", f"{file}:Peeks", "--length", "10", "--only", "future", "--dtype", "float32"]) == 1
    assert "BROKEN" in capsys.readouterr().out
    assert main(["verify", f"{file}:Mean", "--only", "futur"]) == 2
    assert "did you mean future" in capsys.readouterr().err
    assert main(["verify", str(file)]) == 2
    assert main(["verify", f"{file}:Mean", "--length", "1"]) == 2
    assert main(["verify", str(file.parent / "none.py") + ":Mean"]) == 2
