"""What a machine can do and how much of it is ours, on machines that are made up; and who asks."""

import os
from pathlib import Path

import pytest
import torch

from tmt import machine
from tmt.bench import TABLES
from tmt.commands.bench import resolve
from tmt.layers.attention import dense_causal_attention
from tmt.ops.toeplitz import blocked, toeplitz, toeplitz_impl
from tmt.options.bench import BenchOptions
from tmt.training.muon import ORTHOGONALISERS, orthogonalised
from tmt.training.precision import use_bf16
from tmt.training.threads import PERIOD, Threads

CPU = torch.device("cpu")


@pytest.fixture
def linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Files below a root, and an affinity; four cores and no control group at first."""
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(4)), raising=False)

    def write(files: dict[str, str]) -> None:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    return write


V1 = "sys/fs/cgroup/cpu,cpuacct"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 4),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 4),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "350000 100000\n"}, 3),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "900000 100000\n"}, 4),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
          "sys/fs/cgroup/a/cpu.max": "200000 100000\n"}, 2),
        ({"proc/self/cgroup": "4:cpu,cpuacct:/docker/1\n3:cpuset:/x\n", f"{V1}/cpu.cfs_quota_us": "50000\n",
          f"{V1}/cpu.cfs_period_us": "100000\n"}, 1),
        ({"proc/self/cgroup": "4:cpu,cpuacct:/\n", f"{V1}/cpu.cfs_quota_us": "-1\n",
          f"{V1}/cpu.cfs_period_us": "100000\n"}, 4),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "not a number\n"}, 4),
    ],
)  # fmt: skip
def test_cores_by_the_quota_of_the_container(files: dict[str, str], cores: int, linux):
    linux(files)
    assert machine.usable_cores() == cores


def test_cores_by_the_affinity_and_without_one(linux, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})
    assert machine.usable_cores() == 1
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.usable_cores() == 1
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert machine.usable_cores() == 6


def test_load_counts_our_cores_alone(linux, monkeypatch: pytest.MonkeyPatch):
    """Ten seconds in which core 0 was ours for 5 s, core 1 half idle and half waiting for the disk."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    ticks, now = os.sysconf("SC_CLK_TCK"), {"clock": 0.0, "own": 0.0}
    monkeypatch.setattr(machine.time, "monotonic", lambda: now["clock"])
    monkeypatch.setattr(machine.time, "process_time", lambda: now["own"])
    line = "cpu{} 5 5 5 {} {} 0 0 0 0 0\n"
    linux({"proc/stat": "cpu 1 2 3 4 5\n" + "".join(line.format(n, 100 * ticks, 0) for n in range(3))})
    load = machine.Load()
    now.update(clock=10.0, own=5.0)
    busy = (
        line.format(0, 100 * ticks, 0),
        line.format(1, 105 * ticks, 5 * ticks),
        line.format(2, 110 * ticks, 0),
    )
    linux({"proc/stat": "".join(busy)})
    assert load.free_cores() == pytest.approx(0.5 + 1.0)


def test_load_is_not_known_without_the_file(linux):
    assert machine.Load().free_cores() is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"OMP_NUM_THREADS": "3", "GOMP_SPINCOUNT": "10000"}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_NUM_THREADS": "3", "OMP_WAIT_POLICY": "ACTIVE"}),
        ({"OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "7"}, {"OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "7"}),
    ],
)
@pytest.mark.parametrize("torch_is_there", [False, True])
def test_threads_are_settled_before_torch_is_there(
    before: dict[str, str], after: dict[str, str], torch_is_there: bool, monkeypatch: pytest.MonkeyPatch
):
    names = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    for name, value in before.items():
        monkeypatch.setenv(name, value)
    if not torch_is_there:
        monkeypatch.delitem(machine.sys.modules, "torch")
    monkeypatch.setattr(machine, "THREADS_ARE_GIVEN", "OMP_NUM_THREADS" in before)
    monkeypatch.setattr(machine, "usable_cores", lambda: 3)
    machine.prepare()
    expected = before if torch_is_there else after
    assert {name: os.environ[name] for name in names if name in os.environ} == expected


@pytest.mark.parametrize(
    ("cpu", "maker", "vectors", "tiles", "onednn", "pays"),
    [("x86_64", "AuthenticAMD", True, False, True, True),
     ("x86_64", "AuthenticAMD", False, False, True, False),
     ("x86_64", "AuthenticAMD", True, False, False, False),
     ("x86_64", "GenuineIntel", True, False, True, False),
     ("AMD64", "GenuineIntel", True, True, True, True),
     ("aarch64", "", False, False, True, True),
     ("arm64", "", False, False, False, False)],
)  # fmt: skip
@pytest.mark.parametrize("listed", [True, False])
def test_bfloat16_by_processor(
    cpu: str, maker: str, vectors: bool, tiles: bool, onednn: bool, pays: bool, listed: bool,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    if listed:
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc/cpuinfo").write_text(f"processor\t: 0\nvendor_id\t: {maker}\n")
    monkeypatch.setattr(machine.platform, "processor", lambda: "" if listed else f"Family 6, {maker}")
    monkeypatch.setattr(machine.platform, "machine", lambda: cpu)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: vectors)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: onednn)
    assert machine.multiplies_bf16(CPU) is pays


def test_bfloat16_by_accelerator(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    assert not machine.multiplies_bf16(torch.device("cuda"))
    monkeypatch.setattr(
        torch.backends.mps, "is_macos_or_newer", lambda major, minor: (major, minor) <= (14, 2)
    )
    assert machine.multiplies_bf16(torch.device("mps"))
    assert not machine.multiplies_bf16(torch.device("xpu"))


@pytest.fixture(params=[True, False])
def native(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(machine, "multiplies_bf16", lambda device: request.param)
    return request.param


def test_everything_that_chooses_a_format_asks(native: bool):
    assert use_bf16("auto", CPU) is native
    assert use_bf16("bf16", CPU)
    matrices = torch.randn(2, 24, 40)
    expected = torch.bfloat16 if native else torch.float32
    assert orthogonalised(matrices, ORTHOGONALISERS["newton-schulz"]).dtype == expected
    q, k, v = (torch.randn(1, 5, 2, 4, dtype=torch.bfloat16, requires_grad=True) for _ in range(3))
    output = dense_causal_attention(q, k, v, torch.arange(5)[None])
    assert ("CausalAttention" in output.grad_fn.next_functions[0][0].next_functions[0][0].name()) is native
    assert resolve(BenchOptions(table="train"), TABLES["train"]).dtypes == (
        ("bf16",) if native else ("fp32",)
    )
    assert resolve(BenchOptions(table="ops", dtypes="bf16"), TABLES["ops"]).dtypes == ("bf16",)


def test_toeplitz_products_are_float32_where_bfloat16_is_emulated(native: bool):
    x, kernel = torch.randn(1, 300, 1, 8).bfloat16(), torch.randn(1, 1, 300)
    assert toeplitz_impl(x, kernel) == ("blocked" if native else "fft")
    assert blocked._rows(x[:, :, :, None]).dtype == (torch.bfloat16 if native else torch.float32)
    assert toeplitz(x, kernel, "blocked").dtype == torch.bfloat16


class FakeLoad:
    def __init__(self, free: list[float | None]):
        self.free = free

    def free_cores(self) -> float | None:
        return self.free.pop(0)


def followed(
    free: list[float | None], fixed: bool, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[int], list[str]]:
    """Threads after each period of such free cores, and what was said."""
    now, said, counts = [0.0], [], []
    monkeypatch.setattr("tmt.training.threads.time.monotonic", lambda: now[0])
    monkeypatch.setattr(machine, "THREADS_ARE_GIVEN", False)
    monkeypatch.setattr(machine, "usable_cores", lambda: 2)
    monkeypatch.setattr(machine, "Load", lambda: FakeLoad(list(free)))
    torch.set_num_threads(2)
    threads = Threads(fixed, CPU, said.append)
    threads.follow()
    for _ in free:
        now[0] += PERIOD
        threads.follow()
        counts.append(torch.get_num_threads())
    return counts, said


def test_a_run_of_minutes_gives_way_and_comes_back(monkeypatch: pytest.MonkeyPatch):
    counts, said = followed([1.9, 1.4, 0.4, None, 1.0, 2.0], False, monkeypatch)
    assert counts == [2, 1, 1, 1, 1, 2]
    assert [line.split(": ")[1] for line in said] == [
        "training in 1 of 2 threads",
        "training in 2 of 2 threads",
    ]


def test_a_run_of_steps_keeps_its_threads_and_says_so_once(monkeypatch: pytest.MonkeyPatch):
    counts, said = followed([2.0, 1.2, 1.2], True, monkeypatch)
    assert counts == [2, 2, 2]
    assert said == [
        "1 of 2 cores are busy with other work: OMP_NUM_THREADS=1 would be faster, with other rounding"
    ]
