"""The artifact as a file: a run folder in one compressed file, its matrices as small integers."""

from tmt.packed.container import FORMAT, Artifact, Encoded, decode, encode, read, unpack
from tmt.packed.tensors import Stored

__all__ = ["FORMAT", "Artifact", "Encoded", "Stored", "decode", "encode", "read", "unpack"]
