"""Fixtures of the tests that call commands, as a plugin: `tmt` runs one in this process."""

from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from tiny_runs import Result, options_of, text_of
from tmt.cli import main
from tmt.user_cache import cache_root


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text of 60 documents."""
    path = tmp_path_factory.mktemp("text") / "mesh.txt"
    path.write_text(text_of(60), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache of all commands of a session, subprocesses included; compiled code is shared with others."""
    path = tmp_path_factory.getbasetemp() / "cache"
    compiled = cache_root() / "native"
    compiled.mkdir(parents=True, exist_ok=True)
    path.mkdir()
    (path / "native").symlink_to(compiled)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMT_CACHE", str(path))
        yield path


@pytest.fixture
def tmt(cache: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """`tmt("data", "--json")`: run the command, return what it left."""

    def run(*arguments: Any) -> Result:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture
def train(tmt: Callable[..., Result], corpus: Path) -> Callable[..., Result]:
    """`train(folder, "--steps=3", arch="tmt")`: train a tiny model into the folder."""

    def run(folder: Path, *arguments: Any, arch: str = "tmt") -> Result:
        return tmt("train", *options_of(arch, corpus, folder), *arguments)

    return run


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory: pytest.TempPathFactory, cache: Path, corpus: Path) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert main(["train", *options_of("tmt", corpus, folder), "--steps=2"]) == 0
    return folder


@pytest.fixture
def trained(trained_once: Path, tmp_path: Path) -> Path:
    """The folder of a run of two steps, which the test may spoil."""
    return copytree(trained_once, tmp_path / "trained")
