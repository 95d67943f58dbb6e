import numpy as np
import pytest
import torch

from tiny_models import BYTES, stream, tiny
from tmt.evaluate import count_tokens, depth_by_class, score, token_classes
from tmt.evaluate.depth import CLASSES
from tmt.evaluate.windows import windows
from tmt.text.corpus import MemoryCorpus
from tmt.tokens import make_tokenizer

TEXT = "The mesh sees the past, and the past is a mesh of words. "


@pytest.fixture(scope="module")
def classes() -> np.ndarray:
    counts = np.zeros(BYTES.vocab_size, dtype=np.int64)
    for letter, count in {"e": 50, "t": 30, "q": 15, "x": 5, "a": 1000, " ": 1000}.items():
        counts[ord(letter)] = count
    return token_classes(BYTES, counts)


@pytest.mark.parametrize(
    ("token", "name"),
    [
        (256, "separator"), (ord(","), "punctuation"), (ord("\n"), "punctuation"),
        (ord("a"), "function words"), (ord("I"), "function words"),
        (ord("e"), "frequent"), (ord("t"), "other"), (ord("q"), "other"),
        (ord("x"), "rare"), (ord("z"), "rare"), (ord("7"), "rare"), (0xC3, "rare"),
    ],
)  # fmt: skip
def test_class_of_a_token(token: int, name: str, classes: np.ndarray):
    assert CLASSES[classes[token]] == name


def test_words_match_without_space_and_case(tmp_path):
    texts = [f"{TEXT * 4} {i}" for i in range(40)]
    bpe = make_tokenizer("bpe:280", MemoryCorpus("x", "key", texts), tmp_path)
    classes = token_classes(bpe, np.ones(bpe.vocab_size, dtype=np.int64))
    pieces = {bpe.token_bytes(i).decode(errors="replace"): CLASSES[c] for i, c in enumerate(classes)}
    assert pieces[" the"] == "function words"
    assert pieces[" mesh"] in ("frequent", "other", "rare")


def test_equal_counts_split_by_share():
    classes = token_classes(BYTES, np.full(BYTES.vocab_size, 10))
    shares = np.bincount(classes, minlength=len(CLASSES))[3:]
    assert shares / shares.sum() == pytest.approx([0.5, 0.45, 0.05], abs=0.01)


def test_what_never_occurs_is_rare():
    classes = token_classes(BYTES, np.zeros(BYTES.vocab_size, dtype=np.int64))
    assert {CLASSES[c] for c in classes} == {"separator", "punctuation", "function words", "rare"}


def test_counts():
    counts = count_tokens(stream("aab"), BYTES.vocab_size)
    assert (counts[97], counts[98], counts[256], counts.sum()) == (2, 1, 1, 4)


def test_table_agrees_with_each_tokens_own_depth():
    model, tokens = tiny(), stream(TEXT)
    result = score(model, tokens, BYTES, context=len(tokens) - 1, stride=len(tokens) - 1, progress=False)
    classes = token_classes(BYTES, count_tokens(tokens, BYTES.vocab_size))
    table = depth_by_class(result, classes)
    depth = model(torch.from_numpy(tokens[None, :-1])).depth[0].numpy()
    for index, name in enumerate(CLASSES):
        own = depth[classes[tokens[:-1]] == index]
        assert table[name].tokens == len(own)
        assert table[name].mean_layers == (pytest.approx(own.mean()) if len(own) else None)


@torch.no_grad()
@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("stride", [5, 16])
def test_every_token_counts_once_in_the_window_that_scores_its_target(stride: int, batch_size: int):
    model, tokens = tiny(), stream(TEXT)
    sizes = dict(context=16, stride=stride, batch_size=batch_size, progress=False)
    result = score(model, tokens, BYTES, **sizes)
    assert np.array_equal(result.seen, np.bincount(tokens[:-1], minlength=BYTES.vocab_size))
    left = np.zeros((4, len(tokens) - 1), dtype=bool)
    depth = np.zeros(len(tokens) - 1)
    for window in windows(len(tokens) - 1, 16, stride):
        end = window.start + window.length
        output, new = model(torch.from_numpy(tokens[None, window.start : end])), window.scored
        left[:, end - new : end] = torch.stack(output.exit_masks)[:, 0, -new:].numpy()
        depth[end - new : end] = output.depth[0, -new:].numpy()
    everyone = np.ones(len(tokens) - 1, dtype=bool)
    ran = [everyone, *~left[:2], everyone]
    assert result.layer_tokens.tolist() == [layer.sum() for layer in ran]
    assert 0 < left[1].mean() < 1
    assert result.layers_run.sum() == depth.sum()


def test_without_exits_every_class_runs_every_layer():
    result = score(tiny("transformer"), stream(TEXT), BYTES, context=16, stride=16, progress=False)
    table = depth_by_class(result, token_classes(BYTES, count_tokens(stream(TEXT), BYTES.vocab_size)))
    assert {row.mean_layers for row in table.values()} <= {4.0, None}
