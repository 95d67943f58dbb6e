"""An architecture in a file: what docs/extend.md says to type works; no code runs that was not agreed to."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import pytest
import torch
import yaml

from tiny_runs import Result
from tmt.checkpoint import load_run
from tmt.cli import main
from tmt.errors import InputError
from tmt.generate import Sampler, generate_tokens
from tmt.model import architecture
from tmt.options.study_file import read_study
from tmt.run_folder import load_config
from tmt.study.record import read_record

pytest_plugins = ["command_line"]

PAGE = (Path(__file__).parents[1] / "docs" / "extend.md").read_text(encoding="utf-8")
TINY = ["--set=model.d_model=16", "--set=model.n_layers=1", "--tokenizer=bytes", "--batch-size=2"]
SHORT = [*TINY, "--seq-len=16", "--steps=5", "--minutes=null", "--set=train.eval_tokens=64", "--device=cpu"]
SHORTER = {
    "eval": ["--limit=64"],
    "generate": ["--max-new-tokens=3"],
    "tasks": ["--steps=1", "--batch-size=2", "--set=model.d_model=16"],
    "bench": ["--seconds=0.01", "--lengths=16", "--batch-size=1", "--dtypes=fp32"],
    "pack": ["--tokens=64", "--check=64"],
    "score": ["--limit=64", "--window=16", "--chunk=16"],
    "verify": ["--length=8", "--only=future,rows,cached", "--dtype=float64"],
}
MESH = ["--set=model.n_heads=2", "--set=model.exit_objective=none"]
Tmt = Callable[..., Result]


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def write_files(folder: Path) -> None:
    """The page's files, whose first line says how they are called."""
    for text in blocks("python"):
        if name := re.match(r"# (\w+\.py)\n", text):
            (folder / name[1]).write_text(text, encoding="utf-8")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory, cache: Path, corpus: Path) -> Path:
    """A folder with mine.py and a run of it."""
    folder = tmp_path_factory.mktemp("own")
    assert main(["new", str(folder / "mine.py")]) == 0
    options = [f"--arch={folder / 'mine.py'}", f"--data={corpus}", f"--out={folder / 'run'}"]
    assert main(["train", *options, *SHORT]) == 0
    return folder


@pytest.fixture
def made(made_once: Path, tmp_path: Path, tmt: Tmt, corpus: Path) -> Path:
    """The same in a place of its own, where the file is agreed to; the test may spoil it."""
    folder = copytree(made_once, tmp_path / "own")
    config = yaml.safe_load((folder / "run" / "config.yaml").read_text(encoding="utf-8"))
    config["arch"] = f"{folder / 'mine.py'}:MovingMean"
    (folder / "run" / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    assert opened(tmt, folder / "run", "--trust", folder / "mine.py").code == 0
    return folder


def opened(tmt: Tmt, run: Path, *options: object) -> Result:
    return tmt("inspect", run, "--ops", "--json", "--device=cpu", *options)


def test_what_the_page_says_works(here: Path, tmt: Tmt, corpus: Path):
    write_files(here)
    for line in "".join(blocks("sh")).splitlines():
        name, *words = shlex.split(line, comments=True)[1:]
        shorter = [f"--data={corpus}", *SHORT] if name == "train" else SHORTER.get(name, [])
        shorter = [*shorter, *(MESH if name == "train" and "strided" in line else [])]
        result = tmt(name, *words, *shorter)
        assert (line, result.code) == (line, 0), result.err
    assert load_config("runs/mine").model.window == 16
    assert "mine.py" in (here / "runs/mine/config.yaml").read_text(encoding="utf-8")
    source = (here / "mine.py").read_text(encoding="utf-8")
    assert (here / "runs/mine/architecture.py").read_text(encoding="utf-8") == source
    assert len(source.splitlines()) < 60


def test_it_is_not_overwritten(here: Path, tmt: Tmt):
    (here / "mine.py").write_text("precious", encoding="utf-8")
    assert "is there already" in tmt("new", "mine.py").complaint
    assert "no name of a Python file" in tmt("new", "mine").complaint
    assert (here / "mine.py").read_text(encoding="utf-8") == "precious"


def test_what_it_costs_is_not_counted_until_it_says(made: Path, tmt: Tmt):
    options = ["--limit=64", "--device=cpu", "--json"]
    assert json.loads(tmt("eval", made / "run", *options).out)["flops_per_token"] is None
    assert "not counted" in tmt("eval", made / "run", *options[:2]).out
    train = ["train", f"--arch={made / 'mine.py'}", "--set=train.flops=1e9", f"--out={made / 'other'}"]
    assert "method flops(length)" in tmt(*train, *TINY, "--seq-len=16", "--device=cpu").complaint
    with (made / "mine.py").open("a", encoding="utf-8") as file:
        file.write("\n" + blocks("python")[0])
    record = json.loads(tmt("eval", made / "run", f"--trust={made / 'mine.py'}", *options).out)
    assert (
        record["flops_per_token"]
        == record["flops_per_token_dense"]
        == 2 * (16 * 48 + 48 + 16) + 8 * 16 + 2 * 257 * 16
    )


@pytest.mark.parametrize("prompts", [[[5]], [[5, 6, 7], [8]]])
def test_it_writes_what_reading_the_whole_text_gives(made: Path, prompts: list[list[int]]):
    model = load_run(made / "run").model
    steps = generate_tokens(model, prompts, max_new_tokens=4, sampler=Sampler(temperature=0))
    written = [list(row) for row in zip(*steps, strict=True)]
    for prompt, new in zip(prompts, written, strict=True):
        for at, token in enumerate(new):
            assert token == model(torch.tensor([prompt + new[:at]])).logits[0, -1].argmax()


def test_a_task_is_trained_again_when_the_code_has_changed(made: Path, tmt: Tmt):
    records = made / "records.jsonl"
    options = [f"--arch={made / 'mine.py'}", f"--json={records}", "--device=cpu"]
    for change, lines in (("", 1), ("", 1), ("# changed\n", 2)):
        with (made / "mine.py").open("a", encoding="utf-8") as file:
            file.write(change)
        assert tmt("tasks", "copy", *options, *SHORTER["tasks"]).code == 0
        assert len(records.read_text(encoding="utf-8").splitlines()) == lines


def test_a_record_of_a_study_is_of_the_code_that_it_was_made_with(made: Path):
    run = {"arch": str(made / "mine.py"), "seq_len": 16}
    content = dict(base="mine", seeds=[1], budget={"steps": 1}, runs={"mine": run}, evaluations={"all": {}})
    (made / "study.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    (job,) = read_study(made / "study.yaml").jobs
    record = read_record(made, job)
    record.config = {"code": job.config.code}
    record.save(made / job.slug)
    assert read_record(made, job).config == record.config
    with (made / "mine.py").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    with pytest.raises(InputError, match=r"made with other code of .*mine\.py"):
        read_record(made, read_study(made / "study.yaml").jobs[0])


def test_its_file_counts_as_code(made: Path, tmt: Tmt):
    bare = ["--tokens=64", "--check=0", "--device=cpu", "--json"]
    before = json.loads(tmt("pack", made / "run", *bare).out)
    with (made / "mine.py").open("a", encoding="utf-8") as file:
        file.write("# ten bytes")
    after = json.loads(tmt("pack", made / "run", f"--trust={made / 'mine.py'}", *bare).out)
    assert after["code_bytes"] == before["code_bytes"] + len("# ten bytes")


def test_an_artifact_asks_for_the_file(made: Path, tmt: Tmt, monkeypatch: pytest.MonkeyPatch):
    artifact, trust = made / "run.tmt", f"--trust={made / 'mine.py'}"
    assert (
        tmt("pack", made / "run", f"--out={artifact}", "--tokens=64", "--check=0", "--device=cpu").code == 0
    )
    assert tmt("unpack", artifact, f"--out={made / 'unpacked'}").code == 0
    assert not (made / "unpacked" / "architecture.py").exists()
    monkeypatch.setenv("TMT_CACHE", str(made / "another user"))
    assert "has not been agreed to here" in opened(tmt, artifact).complaint
    assert opened(tmt, artifact, trust).code == opened(tmt, artifact).code == 0


def test_training_goes_on_with_the_same_code_only(made: Path, tmt: Tmt):
    resume = ["train", f"--out={made / 'run'}", "--resume", "--device=cpu"]
    assert tmt(*resume, f"--arch={made / 'mine.py'}").code == 0
    assert "arch was" in tmt(*resume, "--arch=tmt").complaint
    with (made / "mine.py").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    assert "has changed since" in tmt(*resume).complaint
    assert tmt(*resume, f"--trust={made / 'mine.py'}").code == 0


@pytest.mark.shows("RunOptions", "trust")
def test_code_that_moved_or_changed_asks_once(made: Path, tmt: Tmt):
    run, moved = made / "run", made / "moved.py"
    assert opened(tmt, run).code == 0
    (made / "mine.py").rename(moved)
    assert "which is gone; say --trust" in opened(tmt, run).complaint
    assert "there is no file" in opened(tmt, run, f"--trust={made / 'none.py'}").complaint
    assert opened(tmt, run, f"--trust={moved}").code == opened(tmt, run).code == 0
    moved.write_text(moved.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")
    assert "has changed since" in opened(tmt, run).complaint
    assert opened(tmt, run, f"--trust={moved}").code == opened(tmt, run).code == 0


def test_a_run_from_elsewhere_runs_nothing_before_it_is_trusted(
    made: Path, tmt: Tmt, monkeypatch: pytest.MonkeyPatch
):
    mark = made / "ran"
    evil = made / "run" / "architecture.py"
    evil.write_text(f"open({str(mark)!r}, 'w')\n" + evil.read_text(encoding="utf-8"), encoding="utf-8")
    config = yaml.safe_load((made / "run" / "config.yaml").read_text(encoding="utf-8"))
    config["code"] = architecture(str(made / "mine.py")).code
    for arch in (str(evil), f"{evil}:MovingMean"):
        for code in ("0" * 64, "../../x", None):
            (made / "run" / "config.yaml").write_text(yaml.safe_dump({**config, "arch": arch, "code": code}))
            assert opened(tmt, made / "run").code == 2
            assert not mark.exists()
    (made / "run" / "config.yaml").write_text(yaml.safe_dump({**config, "arch": str(evil)}))
    monkeypatch.setenv("TMT_CACHE", str(made / "another user"))
    assert f"has not been agreed to here; read it, then have it run with --trust {evil}" in (
        opened(tmt, made / "run").complaint
    )
    assert not mark.exists()


def test_nothing_to_trust_is_refused(tmp_path: Path, tmt: Tmt):
    trained = tmp_path / "trained"
    trained.mkdir()
    (trained / "config.yaml").write_text("format: 1\narch: tmt\n", encoding="utf-8")
    assert "has no code of its own" in opened(tmt, trained, "--trust=mine.py").complaint
    assert "--trust has no effect" in tmt("train", "--trust=mine.py").complaint
    assert "--trust has no effect" in tmt("tasks", "copy", "--trust=mine.py").complaint


HEAD = """
from dataclasses import dataclass
from tmt.model.base import Hidden, LanguageModel
from tmt.model.common_config import ModelConfig
@dataclass(frozen=True, kw_only=True)
class Sizes(ModelConfig):
    width: int = 3
class Good(LanguageModel):
    config: Sizes
    def trunk(self, tokens, cache, diagnose, last_only):
        return Hidden(self.embed(tokens))
"""


@pytest.mark.parametrize(
    ("source", "name", "words"),
    [
        (None, "", "there is no file .*`tmt new"),
        ("1 / 0", "", "importing .* raises ZeroDivisionError: division by zero"),
        ("import sys; sys.exit(3)", "", "raises SystemExit"),
        ("class:", "", "raises SyntaxError"),
        ("import no_such_module", "", "raises ModuleNotFoundError: No module named 'no_such_module'"),
        ("\0", "", "importing .* raises"),
        ("x = 3", "", "has no architecture"),
        (HEAD + "class Other(Good): pass", "", "several architectures: .* with one of Good, Other"),
        (HEAD, "Goood", "unknown architecture in .*did you mean Good"),
        (HEAD, "Sizes", "Sizes in .* is no architecture"),
        (HEAD.replace("def trunk", "def trunc"), "Good", "lacks trunk"),
        (HEAD.replace("    config: Sizes\n", ""), "", "Good does not say which configuration"),
        (HEAD.replace("config: Sizes", "config: 'Size'"), "", "annotations of Good cannot be read"),
        (HEAD.replace("config: Sizes", "config: int"), "", "Good does not say which configuration"),
        (HEAD.replace("@dataclass(frozen=True, kw_only=True)", ""), "", "Sizes is not a dataclass"),
        (HEAD.replace("width: int = 3", "width: int"), "", "Sizes.width has no default"),
    ],
)
def test_no_architecture_is_one_line(here: Path, tmt: Tmt, source: str | None, name: str, words: str):
    file = here / "odd.py"
    if source is not None:
        file.write_text(source, encoding="utf-8")
    arch = f"{file}:{name}" if name else str(file)
    assert re.search(words, tmt("train", f"--arch={arch}").complaint)
    assert re.search(words, tmt("tasks", "copy", f"--arch={arch}").complaint)


def test_its_fields_are_options(here: Path, tmt: Tmt):
    (here / "good.py").write_text(HEAD, encoding="utf-8")
    train = ["train", "--arch=good.py"]
    assert "model field 'widht'; did you mean width" in tmt(*train, "--set=model.widht=3").complaint
    assert "width='wide' is not of type int" in tmt(*train, "--set=model.width=wide").complaint
    assert "unknown preset 'huge'; known: nano" in tmt(*train, "--preset=huge").complaint


def test_a_package_brings_one(here: Path, tmt: Tmt, corpus: Path, monkeypatch: pytest.MonkeyPatch):
    site = here / "site"
    (site / "pack.dist-info").mkdir(parents=True)
    (site / "pack").mkdir()
    (site / "pack" / "__init__.py").touch()
    (site / "pack" / "mean.py").write_text(HEAD, encoding="utf-8")
    (site / "pack.dist-info" / "METADATA").write_text("Name: pack\nVersion: 1\n", encoding="utf-8")
    entries = "[tmt.architectures]\nmean = pack.mean:Good\nnone = pack.mean:None\nlost = pack.lost:Good\n"
    (site / "pack.dist-info" / "entry_points.txt").write_text(entries, encoding="utf-8")
    monkeypatch.syspath_prepend(site)
    assert tmt("train", "--arch=mean", f"--data={corpus}", "--out=run", *SHORT).code == 0
    assert load_config("run").arch == "mean"
    assert opened(tmt, here / "run").code == 0
    (site / "pack" / "mean.py").write_text(HEAD + "# version 2\n", encoding="utf-8")
    assert "has changed since; run it as it is with --trust mean" in opened(tmt, here / "run").complaint
    assert opened(tmt, here / "run", "--trust=mean").code == 0
    assert "did you mean mean" in tmt("train", "--arch=meen").complaint
    assert "architecture lost (pack.lost:Good): No module" in tmt("train", "--arch=lost").complaint
    assert "architecture none (pack.mean:None)" in tmt("train", "--arch=none").complaint


def test_trust_reaches_the_baseline_too(made: Path, tmt: Tmt, monkeypatch: pytest.MonkeyPatch):
    other = copytree(made / "run", made / "other")
    cut = ["--limit=32", "--window=16", "--stride=4", "--chunk=16", "--device=cpu"]
    score = ["score", made / "run", f"--baseline={other}", *cut]
    assert tmt(*score).code == 0
    monkeypatch.setenv("TMT_CACHE", str(made / "another user"))
    assert "has not been agreed to here" in tmt(*score).complaint
    assert tmt(*score, f"--trust={made / 'mine.py'}").code == tmt(*score).code == 0
    (made / "later.py").write_text(
        (made / "mine.py").read_text(encoding="utf-8") + "# changed\n", encoding="utf-8"
    )
    config = yaml.safe_load((other / "config.yaml").read_text(encoding="utf-8"))
    config |= {"arch": f"{made / 'later.py'}:MovingMean", "code": architecture(str(made / "later.py")).code}
    (other / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    assert "later.py:MovingMean, which has not been agreed to" in tmt(*score).complaint
    assert tmt(*score, f"--trust={made / 'later.py'}").code == 0


def test_a_model_that_looks_ahead_is_no_traceback(here: Path, tmt: Tmt, corpus: Path):
    ahead = HEAD.replace("Hidden(self.embed(tokens))", "Hidden(self.embed(tokens.flip(1)))")
    (here / "ahead.py").write_text(ahead, encoding="utf-8")
    train = ["train", "--arch=ahead.py", f"--data={corpus}", "--out=run", "--set=model.d_model=16"]
    result = tmt(*train, *SHORT[1:])
    assert (result.code, result.err.splitlines()[-1][:4]) == (1, "tmt:")
    assert re.search(r"logits of position \d+ .* position \d+", result.err)
    assert tmt("eval", "run", "--limit=64", "--device=cpu").code == 1


@pytest.mark.parametrize(
    ("beside", "line"),
    [
        ("side.py", "import side"),
        ("side.py", "def late():\n    from side import x"),
        ("side/__init__.py", "import side.x as y"),
        ("side/x.py", "import side.x"),
    ],
)
@pytest.mark.parametrize("on_path", [False, True])
def test_what_lies_beside_it_is_not_imported(
    beside: str, line: str, on_path: bool, here: Path, tmt: Tmt, monkeypatch: pytest.MonkeyPatch
):
    (here / "side").mkdir()
    (here / beside).write_text("x = 3\n", encoding="utf-8")
    (here / "good.py").write_text(f"{HEAD}\n{line}\n", encoding="utf-8")
    if on_path:
        monkeypatch.syspath_prepend(here)
    assert (
        "side lies beside it, and a run would not notice" in tmt("tasks", "copy", "--arch=good.py").complaint
    )


def test_what_is_called_like_a_file_beside_it_is_imported(here: Path):
    (here / "torch").mkdir()
    (here / "json.py").write_text("1 / 0", encoding="utf-8")
    (here / "good.py").write_text(HEAD + "import json, torch, os.path\n", encoding="utf-8")
    assert architecture("good.py").label == "good"
