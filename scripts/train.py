"""The published training command: the same as `tmt train`, under the published flag names."""

import argparse
import sys

from tmt.cli import main


def arguments_for_tmt(arguments: list[str]) -> list[str]:
    """The published flags, with hyphens or underscores, as arguments of `tmt train`."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--dataset", default="wikitext-2", help="as --data of tmt train")
    parser.add_argument("--model_size", default="base", help="small, medium, base, large or nano")
    parser.add_argument("--steps", default="10000")
    parser.add_argument("--lr", default="3e-4")
    parser.add_argument("--batch_size", default="16")
    parser.add_argument("--seq_len", default="256")
    parser.add_argument("--exit_threshold", default="0.85")
    parser.add_argument("--graph_k", default="8")
    parser.add_argument("--tokenizer", default="hf:openai-community/gpt2")
    parser.add_argument("--recipe", default="paper")
    known, rest = parser.parse_known_args([_underscored(a) for a in arguments])
    flags = vars(known)
    flags["data"], flags["preset"] = flags.pop("dataset"), flags.pop("model_size")
    model = {name: flags.pop(name) for name in ("exit_threshold", "graph_k")}
    translated = [part for name, value in flags.items() for part in (f"--{name}", value)]
    overrides = [*(f"model.{name}={value}" for name, value in model.items()), "model.target_depth=null"]
    return ["train", *translated, *(part for o in overrides for part in ("--set", o)), *rest]


def _underscored(argument: str) -> str:
    name, equals, value = argument.partition("=")
    return name[:2] + name[2:].replace("-", "_") + equals + value if name.startswith("--") else argument


if __name__ == "__main__":
    sys.exit(main(arguments_for_tmt(sys.argv[1:])))
