"""A run as one small file, its matrices quantised by what the training text says of their inputs."""

from tmt.artifact.fit import bringing_under, fit
from tmt.artifact.hessians import Calibration, calibrate, mean_loss
from tmt.artifact.pack import Packer, Packing, describe, summary
from tmt.artifact.settings import PackSettings, treatments
from tmt.artifact.size import Size
from tmt.artifact.unpack import unpack_run

__all__ = [
    "Calibration",
    "PackSettings",
    "Packer",
    "Packing",
    "Size",
    "bringing_under",
    "calibrate",
    "describe",
    "fit",
    "mean_loss",
    "summary",
    "treatments",
    "unpack_run",
]
