"""`tmt generate`: continue prompts with a run."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import fields

from tqdm import tqdm

from tmt.checkpoint import load_run
from tmt.generate import Sampler, Text, generate_tokens
from tmt.options.generate import GenerateOptions
from tmt.terminal import shown
from tmt.tokens import Tokenizer


class Continuation(Text):
    """What is written after one prompt, and the prompt."""

    def __init__(self, prompt: str, tokenizer: Tokenizer, stops: Sequence[str]) -> None:
        self.prompt = prompt
        self.ids = [tokenizer.eot_id, *tokenizer.encode(prompt)]
        super().__init__(tokenizer, self.ids[-1], stops)


def generate(options: GenerateOptions) -> None:
    """Run the command; Ctrl-C leaves with what has been written."""
    sampler = Sampler(**{field.name: getattr(options, field.name) for field in fields(Sampler)})
    run = load_run(options.run, options.device, options.set)
    rows = [Continuation(prompt, run.tokenizer, options.stop) for prompt in options.prompt]
    steps = generate_tokens(
        run.model,
        [row.ids for row in rows],
        max_new_tokens=options.max_new_tokens,
        sampler=sampler,
        seed=options.seed,
        stop=run.tokenizer.eot_id,
        recrop=options.recrop,
    )
    if options.json or len(rows) > 1:
        _write_together(rows, steps, options)
    else:
        _write_streaming(rows[0], steps)


def _write_streaming(row: Continuation, steps: Iterator[list[int | None]]) -> None:
    print(shown(row.prompt), end="", flush=True)
    try:
        for (token,) in steps:
            print(shown(row.add(token)), end="", flush=True)
            if row.ended:
                break
    finally:
        print(shown(row.flush()), flush=True)


def _write_together(
    rows: list[Continuation], steps: Iterator[list[int | None]], options: GenerateOptions
) -> None:
    try:
        for tokens in tqdm(steps, total=options.max_new_tokens, desc="writing", unit="tok", disable=None):
            for row, token in zip(rows, tokens, strict=True):
                row.add(token)
            if all(row.ended for row in rows):
                break
    finally:
        for index, row in enumerate(rows, 1):
            row.flush()
            if options.json:
                print(json.dumps(_record(row, options)), flush=True)
            else:
                print(f"── {index} of {len(rows)} ──\n{shown(row.prompt + row.text)}\n", flush=True)


def _record(row: Continuation, options: GenerateOptions) -> dict[str, str | int]:
    finish = "length" if row.tokens == options.max_new_tokens else "interrupted"
    return {
        "prompt": row.prompt,
        "text": row.text,
        "tokens": row.tokens,
        "finish": "stop" if row.ended else finish,
        "seed": options.seed,
    }
