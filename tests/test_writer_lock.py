"""One writer of a folder at a time: refused while another lives, free when it is gone, however it went."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tiny_runs import Result
from tmt.errors import InputError
from tmt.writer_lock import LOCK, require_no_writer, sole_writer

pytest_plugins = ["command_line"]

HOLD = """
import sys
from pathlib import Path
from tmt.writer_lock import sole_writer
with sole_writer(Path(sys.argv[1])):
    Path(sys.argv[1], "kept").touch()
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the folder until its input ends."""
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], **pipes) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_second_writer_is_refused_while_the_first_lives(tmp_path: Path):
    folder = tmp_path / "deep" / "run"
    with another_process(folder) as process:
        for attempt in (sole_writer(folder).__enter__, lambda: require_no_writer(folder)):
            with pytest.raises(InputError, match=r"another process is writing .*run right now; wait for it"):
                attempt()
        process.communicate("")
        assert process.returncode == 0
        require_no_writer(folder)
        with sole_writer(folder):
            pass


def test_a_killed_writer_leaves_the_folder_free(tmp_path: Path):
    with another_process(tmp_path) as process:
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert (tmp_path / LOCK).exists()
        require_no_writer(tmp_path)
        with sole_writer(tmp_path):
            pass


def test_two_writers_in_one_process(tmp_path: Path):
    with sole_writer(tmp_path), pytest.raises(InputError, match="another process"), sole_writer(tmp_path):
        pass
    require_no_writer(tmp_path)


def test_a_folder_that_stays_empty_is_removed(tmp_path: Path):
    folder = tmp_path / "deep" / "run"
    with sole_writer(folder):
        assert folder.is_dir()
    assert list(tmp_path.iterdir()) == []
    with sole_writer(folder):
        (folder / "file").touch()
    assert (folder / "file").exists()


def test_a_folder_that_was_there_stays(tmp_path: Path):
    with sole_writer(tmp_path):
        pass
    assert tmp_path.is_dir()


def test_looking_makes_nothing(tmp_path: Path):
    require_no_writer(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", ["file", "run/file"])
def test_a_folder_that_cannot_be_made_is_named(there: str, tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write the folder"), sole_writer(tmp_path / "file" / "run"):
        pass


def test_of_processes_started_together_the_first_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with sole_writer(tmp_path):
        monkeypatch.setenv("RANK", "1")
        require_no_writer(tmp_path)
        with sole_writer(tmp_path):
            pass
        monkeypatch.setenv("RANK", "0")
        with pytest.raises(InputError, match="another process"):
            require_no_writer(tmp_path)


@pytest.mark.parametrize("arguments", [["--resume"], ["--steps=1", "--seed=7"]])
def test_training_into_a_folder_that_is_written_is_refused(
    arguments: list[str], trained: Path, train: Callable[..., Result], tmp_path: Path
):
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    with sole_writer(trained):
        assert "another process is writing" in train(trained, *arguments).complaint
    assert {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()} == before


def test_a_run_that_appears_meanwhile_is_kept(
    train: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Both processes have looked, and found no run, before one of them begins."""
    folder = tmp_path / "run"

    @contextmanager
    def late(path: Path) -> Iterator[None]:
        path.mkdir()
        (path / "config.yaml").write_text("theirs")
        with sole_writer(path):
            yield

    monkeypatch.setattr("tmt.commands.train.sole_writer", late)
    assert "holds a run already" in train(folder, "--steps=1").complaint
    assert (folder / "config.yaml").read_text() == "theirs"


@pytest.mark.parametrize("rest", ["model.safetensors", "metrics.jsonl", "last/training.safetensors"])
def test_the_rest_of_a_run_is_no_place_for_another(rest: str, train: Callable[..., Result], tmp_path: Path):
    file = tmp_path / "run" / rest
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    assert (
        f"holds the {rest} of a run without its config.yaml" in train(tmp_path / "run", "--steps=1").complaint
    )
    assert file.read_text() == "mine"


def test_weights_without_a_history_are_not_resumed(trained: Path, train: Callable[..., Result]):
    """As `tmt convert` and `tmt unpack` leave them."""
    (trained / "metrics.jsonl").unlink()
    (trained / "last" / "training.safetensors").unlink()
    complaint = train(trained, "--resume").complaint
    assert complaint.endswith(f"no training to resume; start from them with --init-from {trained}")


def test_a_folder_that_cannot_be_written_is_refused_first(train: Callable[..., Result], tmp_path: Path):
    (tmp_path / "file").touch()
    assert "cannot write" in train(tmp_path / "file" / "run", "--steps=1").complaint
