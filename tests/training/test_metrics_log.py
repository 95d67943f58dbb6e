"""metrics.jsonl and the progress bar."""

import json
import math
from pathlib import Path

import pytest
from trainers import metrics

from tmt.training.log import MetricsLog, Progress


def write(folder: Path, *steps: int, resume: int = 0) -> None:
    log = MetricsLog(folder, resume, tensorboard=False)
    for step in steps:
        log.write(step, loss=step / 3, name="a\nb")
    log.close()


def test_one_object_a_line(tmp_path: Path):
    write(tmp_path, 1, 2)
    assert metrics(tmp_path) == [{"step": step, "loss": step / 3, "name": "a\nb"} for step in (1, 2)]


def test_lines_are_on_disk_at_once(tmp_path: Path):
    log = MetricsLog(tmp_path, 0, tensorboard=False)
    log.write(1, loss=2.0)
    assert metrics(tmp_path) == [{"step": 1, "loss": 2.0}]
    log.close()


@pytest.mark.parametrize(("resume", "kept"), [(0, []), (1, [1]), (3, [1, 2, 3]), (9, [1, 2, 3, 4])])
def test_a_resumed_run_drops_what_it_will_write_again(resume: int, kept: list[int], tmp_path: Path):
    write(tmp_path, 1, 2, 3, 4)
    write(tmp_path, 10, resume=resume)
    assert [line["step"] for line in metrics(tmp_path)] == [*kept, 10]


def test_a_line_that_was_cut_off_is_dropped(tmp_path: Path):
    write(tmp_path, 1, 2)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "lo')
    write(tmp_path, 3, resume=2)
    assert [line["step"] for line in metrics(tmp_path)] == [1, 2, 3]


def test_numbers_come_back_to_the_bit(tmp_path: Path):
    log = MetricsLog(tmp_path, 0, tensorboard=False)
    log.write(1, loss=math.pi / 7)
    log.close()
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["loss"] == math.pi / 7


def test_the_bar_is_silent_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]):
    for show in (True, False):
        progress = Progress(show, 0.5)
        progress.update(0.7, step=3, loss=1.0, speed=100.0, depth=0.8)
        progress.say("a line")
        progress.close()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "a line\na line\n"
