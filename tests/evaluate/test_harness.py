import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("lm_eval")

from lm_eval.api.instance import Instance
from lm_eval.tasks import TaskManager

from tiny_models import BYTES, stream, tiny
from tmt.errors import InputError
from tmt.evaluate import score
from tmt.evaluate.continuations import encode_pairs, score_continuations
from tmt.evaluate.harness import HarnessModel, evaluate_tasks, writing
from tmt.generate import Sampler, generate_until
from tmt.model.base import LanguageModel

SAMPLES = [
    {"question": "The mesh of", "choices": ["tokens", "gates"], "answer": 0},
    {"question": "A gate lets", "choices": ["no later one", "easy ones leave"], "answer": 1},
    {"question": "", "choices": ["one", "two"], "answer": 0},
]
TEXTS = [{"text": "The mesh of tokens sees no later one." * 4}, {"text": "Ünïcode"}]
WRITING = {
    "output_type": "generate_until",
    "doc_to_text": "{{question}}",
    "doc_to_target": "{{answer}}",
    "generation_kwargs": {"until": ["e"], "max_gen_toks": 8},
    "metric_list": [{"metric": "exact_match"}],
}
TASKS = {
    "toy_choice": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{answer}}",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    },
    "toy_text": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{text}}",
        "metric_list": [{"metric": "bits_per_byte"}, {"metric": "word_perplexity"}],
    },
}


def write_task(folder: Path, name: str, task: dict, samples: list[dict]) -> None:
    """A task in the harness's format on a local file."""
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    files = dict(data_files={"test": str(data)}, cache_dir=str(folder / "cache"))
    where = dict(task=name, dataset_path="json", dataset_kwargs=files, test_split="test")
    (folder / f"{name}.yaml").write_text(json.dumps({**where, **task}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tasks")
    write_task(path, "toy_choice", TASKS["toy_choice"], SAMPLES)
    write_task(path, "toy_text", TASKS["toy_text"], TEXTS)
    write_task(path, "toy_lost", TASKS["toy_choice"], SAMPLES)
    (path / "toy_lost.jsonl").unlink()
    return path


@pytest.fixture(params=["transformer", "toeplitz"])
def model(request: pytest.FixtureRequest) -> LanguageModel:
    return tiny(request.param)


def requests(kind: str, *arguments: tuple) -> list[Instance]:
    return [Instance(kind, {}, pair, index) for index, pair in enumerate(arguments)]


def test_multiple_choice_takes_the_likeliest_answer(model: LanguageModel, folder: Path):
    results = evaluate_tasks(HarnessModel(model, BYTES), ["toy_choice"], folder=folder)
    pairs = [(sample["question"], f" {choice}") for sample in SAMPLES for choice in sample["choices"]]
    found = score_continuations(model, encode_pairs(BYTES, pairs, 40))
    nats = np.array([likelihood.log_probability for likelihood in found]).reshape(3, 2)
    right = nats.argmax(1) == [sample["answer"] for sample in SAMPLES]
    assert results["results"]["toy_choice"]["acc,none"] == pytest.approx(right.mean())
    assert results["n-samples"]["toy_choice"]["effective"] == 3


def test_written_answers_are_compared(model: LanguageModel, tmp_path: Path):
    questions = [sample["question"] for sample in SAMPLES]
    greedy = Sampler(temperature=0)
    answers = generate_until(model, BYTES, questions, ["e"], max_new_tokens=8, sampler=greedy)
    answers[1] = "wrong"
    samples = [dict(question=q, answer=a) for q, a in zip(questions, answers, strict=True)]
    write_task(tmp_path, "toy_writing", WRITING, samples)
    results = evaluate_tasks(HarnessModel(model, BYTES), ["toy_writing"], folder=tmp_path)
    assert results["results"]["toy_writing"]["exact_match,none"] == pytest.approx(2 / 3)


def test_whole_texts_are_scored_by_bytes_and_words(model: LanguageModel, folder: Path):
    adapter = HarnessModel(model, BYTES)
    found = evaluate_tasks(adapter, ["toy_text"], folder=folder)["results"]["toy_text"]
    texts = [sample["text"] for sample in TEXTS]
    nats = -sum(
        adapter.loglikelihood_rolling(requests("loglikelihood_rolling", *((text,) for text in texts)))
    )
    size, words = sum(len(text.encode()) for text in texts), sum(len(text.split()) for text in texts)
    assert found["bits_per_byte,none"] == pytest.approx(nats / np.log(2) / size)
    assert found["word_perplexity,none"] == pytest.approx(np.exp(nats / words))


def test_limit_takes_the_first_samples(model: LanguageModel, folder: Path):
    results = evaluate_tasks(HarnessModel(model, BYTES), ["toy_choice"], folder=folder, limit=2)
    assert results["n-samples"]["toy_choice"]["effective"] == 2


def test_continuations_and_their_greedy_flag(model: LanguageModel):
    pairs = [("The mesh", " of"), ("The mesh ", "of"), ("", "of"), ("The mesh of tokens", " sees")]
    found = HarnessModel(model, BYTES, batch_size=2).loglikelihood(requests("loglikelihood", *pairs))
    expected = score_continuations(model, encode_pairs(BYTES, pairs, 40), 1)
    for (nats, greedy), likelihood in zip(found, expected, strict=True):
        assert nats == pytest.approx(likelihood.log_probability, abs=1e-4)
        assert greedy == likelihood.greedy
    assert found[0] == found[1]


def test_contexts_are_cropped_to_the_longest_of_the_model(model: LanguageModel):
    adapter, longest = HarnessModel(model, BYTES), model.config.longest
    assert adapter.context == longest
    fitting = "y" * (longest - 4) + "abc"
    long, cut = adapter.loglikelihood(
        requests("loglikelihood", ("x" * 500 + fitting, "de"), ("xx" + fitting, "de"))
    )
    ids = torch.tensor([list((fitting + "d").encode())])
    logits = model(ids).logits[0, -2:].detach().double().log_softmax(-1)
    assert long == cut
    assert long[0] == pytest.approx(float(logits[0, ord("d")] + logits[1, ord("e")]), abs=1e-4)


@pytest.mark.parametrize("stride", [None, 7])
def test_whole_texts_have_the_librarys_score(model: LanguageModel, stride: int | None):
    text = TEXTS[0]["text"]
    adapter = HarnessModel(model, BYTES, context=20, stride=stride, batch_size=3)
    found, empty = adapter.loglikelihood_rolling(requests("loglikelihood_rolling", (text,), ("",)))
    expected = score(model, stream(text), BYTES, context=20, stride=stride or 20, progress=False)
    assert found == pytest.approx(-expected.total_nats, rel=1e-5)
    assert empty == 0


def test_what_is_sampled_follows_from_the_request_alone(model: LanguageModel):
    texts = ["The mesh", "of tokens sees no", "later", "one while a gate", "lets"]
    asked = requests("generate_until", *((text, {"temperature": 1.0, "max_gen_toks": 6}) for text in texts))
    first, *others = (HarnessModel(model, BYTES, batch_size=size).generate_until(asked) for size in (1, 2, 5))
    assert others == [first, first]
    again = requests("generate_until", *[("The mesh", {"temperature": 1.0, "max_gen_toks": 6})] * 3)
    assert len(set(HarnessModel(model, BYTES, batch_size=3).generate_until(again))) > 1


def test_texts_are_written_in_order_whatever_their_options(model: LanguageModel):
    asked = [("a", 4), ("The mesh of", 6), ("The", 4), ("gate", 6), ("sees no", 4)]
    found = HarnessModel(model, BYTES, batch_size=2).generate_until(
        requests("generate_until", *((text, {"until": ["e"], "max_gen_toks": new}) for text, new in asked))
    )
    greedy = Sampler(temperature=0)
    for (text, new), written in zip(asked, found, strict=True):
        alone = generate_until(model, BYTES, [text], ["e"], max_new_tokens=new, sampler=greedy)
        assert [written] == alone


@pytest.mark.parametrize(
    ("options", "temperature"),
    [
        ({}, 0),
        ({"temperature": 0.7}, 0.7),
        ({"do_sample": True}, 1),
        ({"do_sample": False, "temperature": 0.7}, 0),
        ({"do_sample": True, "temperature": 0.3, "num_beams": 1}, 0.3),
    ],
)
def test_tasks_sample_when_they_say_so(options: dict, temperature: float):
    assert writing(options)["sampler"].temperature == temperature


def test_stops_and_lengths_have_several_spellings():
    assert writing({"until": "\n"})["stops"] == writing({"until": ["\n"]})["stops"] == ["\n"]
    assert writing({"max_new_tokens": 7})["max_new_tokens"] == 7
    assert writing({"max_gen_toks": 5, "max_tokens": 7})["max_new_tokens"] == 5


def test_unsupported_generation_is_named():
    with pytest.raises(InputError, match="num_beams"):
        writing({"num_beams": 4})


@pytest.mark.parametrize(
    ("options", "named"),
    [(dict(context=65), "context=65"), (dict(stride=65), "stride=65"), (dict(batch_size=0), "batch_size=0")],
)
def test_sizes_out_of_range_are_named(options: dict[str, int], named: str):
    with pytest.raises(InputError, match=named):
        HarnessModel(tiny("transformer"), BYTES, **options)


@pytest.fixture
def own_tasks_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the thousands that the harness brings, which take seconds to read."""
    monkeypatch.setattr("tmt.evaluate.harness.TaskManager", partial(TaskManager, include_defaults=False))


@pytest.mark.parametrize(
    ("tasks", "options", "named"),
    [
        (["toy_choice"], dict(limit=0), "limit=0"),
        ([" "], {}, "no harness task is named"),
        (["toy_choice"], dict(folder="nowhere"), "no folder nowhere"),
        (["toy_choise"], {}, "unknown harness task 'toy_choise'; did you mean toy_choice"),
        (["qqqqqq"], {}, "unknown harness task 'qqqqqq'.* lists"),
        (["toy_lost"], {}, "cannot load harness task toy_lost: .*lost.jsonl.*--harness-path"),
    ],
)
def test_mistakes_are_named(tasks: list[str], options: dict, named: str, folder: Path, own_tasks_only: None):
    with pytest.raises(InputError, match=named):
        evaluate_tasks(HarnessModel(tiny("transformer"), BYTES), tasks, **{"folder": folder, **options})


def test_names_may_be_patterns(folder: Path, own_tasks_only: None):
    results = evaluate_tasks(HarnessModel(tiny("transformer"), BYTES), ["toy_choic*"], folder=folder, limit=1)
    assert set(results["results"]) == {"toy_choice"}


@pytest.mark.slow
def test_the_harness_brings_tasks():
    """It reads all of them, for seconds."""
    model = HarnessModel(tiny("transformer"), BYTES)
    with pytest.raises(InputError, match="did you mean hellaswag"):
        evaluate_tasks(model, ["helaswag"])
