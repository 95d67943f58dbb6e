"""What comes out of the file is what was quantised, for every architecture."""

from pathlib import Path

import pytest
import torch
from packable import SMALL, VARIANTS, batches, packable, packer, run_of, settings

from tiny_models import tiny
from tmt.artifact import Packer, calibrate, describe, treatments
from tmt.checkpoint import load_run, load_weights, model_state
from tmt.errors import InputError
from tmt.model.base import LanguageModel
from tmt.run_folder import load_config, load_run_tokenizer


def write(content: bytes, folder: Path) -> Path:
    path = folder / "model.tmt"
    path.write_bytes(content)
    return path


def logits(model: LanguageModel) -> torch.Tensor:
    with torch.inference_mode():
        return model(next(batches(1))[0]).logits


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_file_gives_the_logits_of_the_quantised_model(variant: str, tmp_path: Path):
    work = packer(variant)
    packing = work.pack(settings())
    path = write(packing.encoded.content, tmp_path)
    run = load_run(path)
    assert (run.folder, run.config.model) == (path, work.model.config)
    assert run.tokenizer.decode(run.tokenizer.encode("mesh")) == "mesh"
    packed = logits(packing.restored(work.model))
    assert torch.equal(logits(run.model), packed)
    assert not torch.equal(packed, logits(work.model))
    for name, tensor in model_state(work.model).items():
        if packing.treatments[name].method in ("half", "exact"):
            torch.testing.assert_close(run.model.state_dict()[name], tensor, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("variant", VARIANTS)
def test_packing_twice_gives_identical_bytes(variant: str):
    first, second = (packer(variant).pack(settings(lqer=2)).encoded.content for _ in range(2))
    assert first == second


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_matrix_is_quantised_and_no_vector(variant: str):
    model = packable(variant)
    for name, treatment in treatments(model, model_state(model), settings()).items():
        tensor = model_state(model)[name]
        if tensor.numel() <= SMALL or "mixer.weight" in name or "total" in name:
            assert treatment.method in ("half", "exact"), name
        elif name == "embedding.weight" and variant == "untied":
            assert (treatment.method, treatment.bits) == ("round", 8)
        elif name in ("embedding.weight", "head.weight"):
            assert (treatment.method, treatment.bits, treatment.width) == ("gptq", 8, 20.0)
        else:
            assert (treatment.method, treatment.bits, treatment.width) == ("gptq", 6, 12.85), name


def test_kernels_of_phases_and_counters_stay_exact():
    model = packable("expsum")
    plan = treatments(model, model_state(model), settings())
    assert plan["blocks.0.mixer.convolutions.0.kernel.frequency"].method == "exact"
    assert packer("plain").pack(settings()).tensors["steps"].value().dtype == torch.int64


def test_more_bits_lose_less():
    pack = packer().pack
    coarse, fine = pack(settings(bits=4, clip=5.0)), pack(settings(bits=8, clip=8.0))
    name = "blocks.0.ffn.gate.weight"
    assert fine.errors[name] < 0.1 * coarse.errors[name]
    assert describe(fine.treatments[name], fine.tensors[name]) == "int8 gptq"
    assert fine.size.artifact > coarse.size.artifact


def test_a_large_tensor_without_a_hessian_is_refused_with_the_ways_out():
    work = packer("triangular")
    with pytest.raises(InputError, match=r"blocks\.0\.mixer\.weight .*--unguided half .*--unguided round"):
        work.pack(settings(unguided="refuse"))
    rounded = work.pack(settings(unguided="round"))
    name = "blocks.0.mixer.weight"
    assert describe(rounded.treatments[name], rounded.tensors[name]) == "int8 round"
    assert rounded.errors[name] < 0.02
    assert rounded.tensors[name].value().shape == model_state(work.model)[name].shape


def test_a_matrix_that_no_token_reached_is_refused_with_the_ways_out():
    model = tiny("plain", exit_threshold=1e-6, entry_layers=1)  # everyone leaves after the first layer
    work = Packer(run_of(model), calibrate(model, batches()), 0)
    with pytest.raises(InputError, match=r"tensor blocks\.1\..*no Hessian; give more --tokens"):
        work.pack(settings())


def test_what_half_precision_cannot_hold_stays_as_it_is():
    model = packable("transformer")
    model.norm.weight.data[0] = 1e5
    plan = treatments(model, model_state(model), settings())
    assert plan["norm.weight"].method == "exact"
    model.norm.weight.data[0] = torch.nan
    with pytest.raises(InputError, match=r"norm\.weight is not finite"):
        treatments(model, model_state(model), settings())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("bits", 2),
        ("bits", 9),
        ("embed_bits", 0),
        ("clip", 0.0),
        ("clip", 62.1),
        ("embed_clip", -1.0),
        ("lqer", -1),
    ],
)
def test_bad_settings_are_named(field: str, value: float):
    with pytest.raises(InputError, match=f"{field}="):
        settings(**{field: value})


def test_configuration_tokenizer_and_weights_alone_come_from_the_file(tmp_path: Path):
    work = packer()
    path = write(work.pack(settings()).encoded.content, tmp_path)
    assert load_config(path).model == work.model.config
    assert load_run_tokenizer(path).vocab_size == work.model.config.vocab_size
    other = packable("transformer")
    torch.nn.init.zeros_(other.embedding.weight)
    load_weights(other, path)
    assert torch.equal(logits(other), logits(load_run(path).model))
