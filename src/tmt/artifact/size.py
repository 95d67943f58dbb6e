"""What counts against a size limit, and the gate."""

from dataclasses import dataclass

from tmt.errors import InputError


@dataclass(frozen=True)
class Size:
    """Bytes that a limit counts."""

    artifact: int
    """The whole file: weights, configuration and tokenizer."""
    code: int
    """Source code needed to load and score; see :mod:`tmt.artifact.code_size`."""

    @property
    def total(self) -> int:
        """Both together."""
        return self.artifact + self.code

    def exceeds(self, limit: int | None) -> bool:
        """Whether that is more than `limit` bytes; None for no limit."""
        return limit is not None and self.total > limit

    def refusal(self, limit: int, way_out: str) -> InputError:
        """What to raise then: both parts, the excess, and `way_out`."""
        return InputError(
            f"{self.total:,} bytes ({self.artifact:,} artifact + {self.code:,} code) exceed the limit of "
            f"{limit:,} by {self.total - limit:,}; {way_out}"
        )
