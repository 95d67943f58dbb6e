"""A part of a score in a file of the user's own; naming the file has it run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tmt.adaptive.part import Part
from tmt.errors import InputError, reason
from tmt.model.base import LanguageModel
from tmt.own_code import class_of_file, digest, split_place


@dataclass(frozen=True)
class OwnPart:
    """Where it is and what it was: an absolute path with ``:Name`` behind it, and the SHA-256 of the file."""

    place: str
    sha256: str
    code_bytes: int
    """Size of the file."""

    @classmethod
    def of(cls, place: str) -> Self:
        """The part at `mine.py` or `mine.py:Name`, whose code runs.

        Raises:
            InputError: there is none, or it does not say what it is called and what it reads.
        """
        file, name = split_place(place)
        path = Path(file).absolute()
        found = class_of_file(path, name, Part, "part")
        for label in ("name", "reads"):
            if not isinstance(getattr(found, label, None), str):
                raise InputError(f"{found.__name__} in {path} has no `{label}`, which the report shows")
        return cls(f"{path}:{found.__name__}", digest(path), path.stat().st_size)

    def make(self, model: LanguageModel) -> Part:
        """A fresh one; InputError where it cannot be made."""
        file, name = split_place(self.place)
        found = class_of_file(Path(file), name, Part, "part")
        try:
            return found(model)  # pyrefly: ignore[bad-argument-count]
        except Exception as error:
            raise InputError(f"{self.place} cannot be made with the model: {reason(error)}") from error
