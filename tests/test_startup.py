"""What a command costs before it begins: which modules are imported to answer, to refuse, to run."""

import json
import re
import subprocess
import sys
from pkgutil import resolve_name
from typing import get_args

import pytest

from tmt.bench import DTYPES, TABLES
from tmt.cli import COMMANDS, main
from tmt.model.models import MODELS
from tmt.model.registry import ARCHITECTURES, ArchitectureName
from tmt.options.bench import FORMATS, TableName
from tmt.options.tasks import INFORMATION, TaskName
from tmt.tasks import TASKS

HEAVY = {
    "torch", "triton", "numpy", "safetensors", "tokenizers", "sentencepiece", "tqdm", "rich", "transformers",
    "datasets", "pyarrow", "pandas", "matplotlib", "tensorboard", "lm_eval", "brotli",
}  # fmt: skip

RUN = """
import json, sys
from tmt.cli import main
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
for arguments in json.loads(sys.argv[1]):
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()) as complaint:
        try:
            code = main(arguments)
        except SystemExit as end:
            code = end.code
    loaded = sorted({name.split(".")[0] for name in sys.modules})
    print(json.dumps([code, complaint.getvalue(), loaded]))
"""

REFUSED = [
    ["trian"],
    ["train", "--stpes", "3"],
    [],
    ["trian"],
    ["train", "--stepz", "3"],
    ["train", "--recipe", "nope"],
    ["train", "--arch", "nope"],
    ["train", "--preset", "nope"],
    ["train", "--data", "nowhere.txt"],
    ["train", "--data", "nope"],
    ["train", "--init-from", "nowhere"],
    ["train", "--config", "nowhere.yaml"],
    ["train", "--out", "nowhere", "--resume"],
    ["train", "--steps", "0"],
    ["train", "--seq-len", "9000"],
    ["train", "--set", "model.graph_k=oops"],
    ["train", "--set", "model.graph_j=3"],
    ["train", "--set", "optim.lr=-1"],
    ["train", "--steps", "3", "--set", "train.priming=2"],
    ["train", "--set", "model.exit_threshold=0.5"],
    ["tasks", "list", "--steps", "3"],
    *(["train", "--arch", arch, "--set", "model.d_model=0"] for arch in ARCHITECTURES),
    ["eval", "nowhere"],
    ["eval", ".", "--split", "nope"],
    ["score", "nowhere"],
    ["generate", "nowhere", "--prompt", "a"],
    ["generate", "nowhere"],
    ["inspect", "nowhere"],
    ["convert", "nowhere"],
    ["convert", "nowhere", "--rank", "few"],
    ["pack", "nowhere"],
    ["pack", "nowhere", "--tokens", "0"],
    ["unpack", "nowhere"],
    ["data", "--data", "nowhere.txt"],
    ["tokenizer", "--data", "nowhere.txt"],
    ["bench", "nope"],
    ["bench", "train", "--arch", "nope"],
    ["bench", "train", "--preset", "nope"],
    ["bench", "ops", "--lengths", "long"],
    ["bench", "ops", "--dtypes", "fp16"],
    ["tasks", "nope"],
    ["tasks", "copy", "--arch", "nope"],
    ["tasks", "copy", "--lr", "fast"],
    ["tasks", "copy", "--set", "model.graph_j=3"],
    ["tasks", "information", "--encoder", "nowhere"],
]


def python(code: str, *arguments: str) -> list[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def answers(commands: list[list[str]]) -> list[tuple[int, str, set[str]]]:
    """Exit code, stderr and imported packages after each of the commands, all in one process."""
    lines = map(json.loads, python(RUN, json.dumps(commands)))
    return [(code, complaint, set(loaded)) for code, complaint, loaded in lines]


def test_help_and_version_import_nothing_heavy():
    asked = [["--help"], ["--version"], *([command, "--help"] for command in COMMANDS)]
    for arguments, (code, _, loaded) in zip(asked, answers(asked), strict=True):
        assert (arguments, code, loaded & HEAVY) == (arguments, 0, set())


def test_what_is_wrong_is_refused_before_anything_heavy_is_imported():
    for arguments, (code, complaint, loaded) in zip(REFUSED, answers(REFUSED), strict=True):
        assert (arguments, code, loaded & HEAVY) == (arguments, 2, set())
        assert complaint.startswith("tmt: error: ")
        assert complaint.count("\n") == 1


def test_a_tokenizer_is_refused_before_torch_is_imported():
    ((code, complaint, loaded),) = answers([["train", "--tokenizer", "nope"]])
    assert (code, "torch" in loaded) == (2, False)
    assert "unknown tokenizer 'nope'" in complaint


def test_a_tokenizer_is_trained_and_shown_without_torch():
    ((code, _, loaded),) = answers([["tokenizer", "--tokenizer=bytes"]])
    assert code == 0
    assert "tokenizers" in loaded
    assert "torch" not in loaded


def test_configurations_and_run_folders_need_no_torch():
    modules = "tmt.model, tmt.model.config, tmt.config, tmt.run_folder, tmt.tokens, tmt.text"
    assert python(f"import sys, {modules}; print('torch' in sys.modules)") == ["False"]


def test_the_package_imports_nothing_at_all():
    assert python("import sys; old = {*sys.modules}; import tmt; print(*{*sys.modules} - old)") == ["tmt"]


def test_a_model_imports_torch_and_what_it_is_made_of():
    code = "import sys, torch; old = {*sys.modules}; import tmt.model.model; print(*{*sys.modules} - old)"
    added = set(python(code)[0].split())
    packages = {name.split(".")[0] for name in added} - sys.stdlib_module_names
    assert packages == {"tmt"}
    parts = {name.split(".")[1] for name in added if name.startswith("tmt.")}
    assert {"model", "layers", "ops"} <= parts
    above = {"config", "run_folder", "checkpoint", "tokens", "text", "options", "commands", "cli"}
    assert parts & (above | {"evaluate", "generate", "training", "bench", "tasks"}) == set()
    assert "tmt.model.golf" not in added


def test_names_that_options_list_are_those_that_there_are():
    assert get_args(ArchitectureName) == (*ARCHITECTURES,)
    assert MODELS.keys() == ARCHITECTURES.keys()
    assert get_args(TableName) == (*TABLES,)
    assert (*DTYPES,) == FORMATS
    assert get_args(TaskName) == (*TASKS, INFORMATION, "list")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_function_that_takes_its_options(command: str):
    options, place = COMMANDS[command]
    assert resolve_name(place).__annotations__["options"] is options


def test_help_names_every_architecture(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    shown = re.search(r"What is trained:(.*?)\(type", capsys.readouterr().out, re.DOTALL)
    assert shown is not None
    assert [name for name in ARCHITECTURES if not re.search(rf"\b{name}\b", shown[1])] == []
