"""`tmt new`: the file that an architecture of one's own begins with."""

from importlib.resources import files

from tmt.checkpoint import write_safely
from tmt.options.new import NewOptions


def new(options: NewOptions) -> None:
    """Run the command."""
    source = files("tmt.model").joinpath("starting_point.py").read_text(encoding="utf-8")
    content = source.replace("THIS_FILE", str(options.file))
    write_safely(options.file, lambda temporary: temporary.write_text(content, encoding="utf-8"))
    print(f"{options.file}: train it with `tmt train --arch {options.file}`")
