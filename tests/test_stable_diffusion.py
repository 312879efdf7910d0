"""Stable Diffusion: from a folder or a file on the disk to pictures and edits, without a network call."""

from __future__ import annotations

import copy
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from published import MERGES, SIDE, SMALL, made, repository, rewrite, single_file, stirred, tokens
from safetensors.torch import load_file, save_file
from torch import Tensor

from zeuxis.api.model import load
from zeuxis.batch import Batch, Condition
from zeuxis.catalog.published import hash_of, spelt
from zeuxis.catalog.weights import load_system
from zeuxis.cli import main
from zeuxis.diffusion.path import VariancePreserving
from zeuxis.diffusion.precondition import in_ve
from zeuxis.diffusion.schedule import respaced
from zeuxis.diffusion.timesteps import MOST, chain_betas, published_levels
from zeuxis.errors import Unsupported, UsageError, WeightsError, ZeuxisError
from zeuxis.files import file_hash
from zeuxis.game import System, Turn
from zeuxis.knobs import Sampling
from zeuxis.nn.attention import CrossAttention
from zeuxis.nn.clip_tokeniser import END
from zeuxis.nn.controlnet import ControlBranch
from zeuxis.nn.latent_unet import LATENT_UNETS, latent_unet
from zeuxis.nn.reuse import context_read_once
from zeuxis.nn.tiles import decode_in_tiles
from zeuxis.pretrained.controlnet_keys import save_controlnet
from zeuxis.pretrained.hub_export import layers_of, write_hub_layout
from zeuxis.pretrained.lora import _listed, places
from zeuxis.pretrained.parts import PublishedPart, PublishedParts, read_parts
from zeuxis.pretrained.stable_diffusion import _needed, _rule, read_published
from zeuxis.pretrained.unet_keys import COMPVIS, DIFFUSERS, UNetSizes, unet_sources
from zeuxis.provenance.record import read_record
from zeuxis.rng import ImageRng, Stream
from zeuxis.spec import DataSpec
from zeuxis.systems.diffusion.controlnet import ControlNet
from zeuxis.training.checkpoint import write_model
from zeuxis.training.precision import autocast

CAPTION = "a red cat on a chair"
SHORT = Sampling(steps=2)


@pytest.fixture(scope="module")
def models() -> dict[str, System]:
    return {version: made(version) for version in ("1.x", "2.x", "XL", "inpainting")}


@pytest.fixture(scope="module")
def folders(models: dict[str, System], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A repository of each version, which no test changes."""
    hub = tmp_path_factory.mktemp("hub")
    return {version: repository(model, hub / version) for version, model in models.items()}


@pytest.fixture(scope="module")
def folder(folders: dict[str, Path]) -> Path:
    """That of 1.x."""
    return folders["1.x"]


@pytest.fixture
def repo(folder: Path, tmp_path: Path) -> Path:
    """A copy of it, for the test to change."""
    return Path(shutil.copytree(folder, tmp_path / "repo"))


@pytest.fixture(scope="module")
def files(models: dict[str, System], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each version as one file, which no test changes."""
    place = tmp_path_factory.mktemp("files")
    more = {"2.x": {"v_pred": torch.zeros(1)}}
    return {
        version: single_file(models[version], place / f"{version}.safetensors", version, more.get(version))
        for version in ("1.x", "2.x", "XL")
    }


def picture(system: System, how: Sampling = SHORT, seed: int = 0, **given: Any) -> Tensor:
    return system.sample(Condition(caption=(CAPTION,), **given), ImageRng([seed]), how)


def pixels(seed: int, channels: int = 3) -> Tensor:
    return torch.rand(1, channels, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)) * 2 - 1


HALF = torch.zeros(1, 1, SIDE, SIDE)
HALF[..., SIDE // 2 :] = 1

# -- reading ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.x", "2.x", "XL", "inpainting"])
def test_a_folder_gives_the_model_that_was_written(models, folders, version: str) -> None:
    system, card = load_system(folders[version])
    before, after = models[version].state_dict(), system.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[k], after[k]) for k in before)
    assert card["unused"] == [] and card["version"] == ("1.x" if version in ("2.x", "inpainting") else version)
    edit = {"source": pixels(1), "mask": HALF} if version == "inpainting" else {}
    assert torch.equal(picture(system, **edit), picture(models[version], **edit))
    named = ("predicts", "offset", "to_zero", "zero_null", "sampler", "spacing", "strength")
    assert {k: system.config[k] for k in named} == {k: models[version].config[k] for k in named}


@pytest.mark.parametrize("version", ["1.x", "2.x", "XL"])
def test_one_file_gives_the_same_picture(models, folders, files, monkeypatch, version: str) -> None:
    monkeypatch.setenv("ZEUXIS_TOKENIZER", str(folders[version] / "tokenizer"))
    file = files[version]
    found = load(file)
    card, system = found.card, found.at(SIDE).system  # a file does not tell the side of pictures
    sampler = str(models[version].config["sampler"])
    one, other = (picture(s, Sampling(**SHORT, sampler=sampler, guidance=5.0)) for s in (system, models[version]))
    if version == "2.x":  # a file tells no scheduler either: that of the published models is another
        assert system.config["offset"] == 1 and system.config["predicts"] == "v"
        assert any("resblocks.2" in name for name in card["unused"])
    else:
        assert torch.equal(one, other)
    assert {"betas", "model_ema.decay"} <= set(card["unused"])
    assert any("scheduler" in note for note in card["notes"])


def test_a_projection_that_is_not_read_is_put_aside_by_either_name() -> None:
    for name in ("text_projection", "text_projection.weight"):
        public = {"token_embedding.weight": torch.zeros(9, 4), name: torch.zeros(4, 4)}
        assert _needed(public, pooled=False, last=False) == (
            {"token_embedding.weight": public["token_embedding.weight"]},
            [name],
        )
        assert _needed(public, pooled=True, last=False) == (public, [])


@pytest.mark.parametrize("version", ["1.x", "2.x", "XL"])
def test_one_file_pads_texts_as_its_version_does(
    files, folder: Path, tmp_path: Path, monkeypatch, version: str
) -> None:
    """Not as the model does whose tokeniser was found, which is named."""
    wanted = [table.get("pad", END) for table in SMALL[version]["text"]]
    assert wanted == {"1.x": [END], "2.x": ["!"], "XL": [END, "!"]}[version]
    place = Path(shutil.copytree(folder / "tokenizer", tmp_path / "tokenizer"))
    monkeypatch.setenv("ZEUXIS_TOKENIZER", str(place))
    for other in (END, "!"):
        rewrite(place / "special_tokens_map.json", pad_token=other)
        found = read_published(files[version])
        assert [table["pad"] for table in found.arguments["text"]] == wanted, other
        assert any(str(place) in note for note in found.notes)
    assert not any("tokeniser" in note for note in read_published(folder).notes)


def test_a_converted_checkpoint_is_read_too(models, folder: Path, files, tmp_path: Path, monkeypatch) -> None:
    """``zeuxis convert`` keeps a checkpoint's own levels, and what else is in it."""
    monkeypatch.setenv("ZEUXIS_TOKENIZER", str(folder / "tokenizer"))
    plain = load_file(files["1.x"])
    wrapped = {f"state_dict.{key}": tensor for key, tensor in plain.items()} | {"epoch": torch.zeros(1)}
    save_file(wrapped, tmp_path / "model.safetensors")
    found = read_published(tmp_path / "model.safetensors")
    assert found.version == "1.x" and found.unused[-1] == "epoch"
    assert torch.equal(found.tensors["network.out.bias"], models["1.x"].network.out.bias)


REAL = {  # the published U-Nets
    "1.x": UNetSizes(4, 4, 320, (1, 2, 4, 4), 2, (1, 1, 1, 0), 768, 0, True),
    "2.x": UNetSizes(4, 4, 320, (1, 2, 4, 4), 2, (1, 1, 1, 0), 1024, 0, False),
    "XL": UNetSizes(4, 4, 320, (1, 2, 4), 2, (0, 2, 10), 2048, 2816, False),
}


@pytest.mark.parametrize("version", REAL)
def test_both_programs_names_are_one_another_s(version: str) -> None:
    """The public converter takes CompVis' names to diffusers' as our two key maps do, at the published sizes."""
    peer = pytest.importorskip("diffusers.loaders.single_file_utils")
    sizes = REAL[version]
    theirs, ours = unet_sources(COMPVIS, sizes), unet_sources(DIFFUSERS, sizes)
    pairs = [pair for name in ours for pair in zip(theirs[name].keys, ours[name].keys, strict=True)]
    numbers = {key: torch.tensor(float(k)) for k, (key, _) in enumerate(pairs)}
    assert len(numbers) == len(pairs) == (1680 if version == "XL" else 686)
    config = {"layers_per_block": 2, "addition_embed_type": "text_time", "class_embed_type": None}
    if version != "XL":
        del config["addition_embed_type"]
    public = {f"model.diffusion_model.{key}": tensor for key, tensor in numbers.items()}
    converted = peer.convert_ldm_unet_checkpoint(public, config)
    assert {key: float(tensor) for key, tensor in converted.items()} == {
        key: float(k) for k, (_, key) in enumerate(pairs)
    }
    assert set(ours) == {name for name, _ in latent_parameters(version)}


def latent_parameters(version: str) -> list[tuple[str, Tensor]]:
    with torch.device("meta"):
        context = REAL[version].context_width
        return list(latent_unet(4, context, **LATENT_UNETS[version.lower()]).named_parameters())


def test_a_word_that_textual_inversion_taught_is_read(tmp_path: Path) -> None:
    """Its vector lies in the text tower, its name in a file beside the tokeniser, and both are written again."""
    table = SMALL["1.x"]["text"][0]
    vocabulary = {**tokens(), "<toy>": len(tokens())}
    text = ({**table, "tokens": vocabulary, "merges": MERGES, "added": ("<toy>",)},)
    taught = made("1.x", text=text)
    repo = repository(taught, tmp_path / "repo")
    assert json.loads((repo / "tokenizer" / "added_tokens.json").read_text()) == {"<toy>": len(tokens())}
    assert "<toy>" not in json.loads((repo / "tokenizer" / "vocab.json").read_text(encoding="utf-8"))
    system, _ = load_system(repo)
    with torch.no_grad():
        before = system.prompt(("a <toy>", "a toy"), ())["context"]
        system.prompt.readers[0].tower.token.weight[-1] += 1
        after = system.prompt(("a <toy>", "a toy"), ())["context"]
    assert not torch.allclose(before[0], after[0]) and torch.equal(before[1], after[1])


def test_a_file_without_a_tokeniser_says_where_one_is_found(folder: Path, files, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("zeuxis.pretrained.tokeniser_files.find_spec", lambda name: None)
    file = files["1.x"]
    with pytest.raises(UsageError, match=r"no tokeniser.*ZEUXIS_TOKENIZER.*open_clip_torch"):
        load_system(file)
    shutil.copytree(folder, tmp_path / "cache" / "models" / "owner" / "name")  # as pulled
    assert load_system(file)[0].config["text"][0]["merges"]
    assert load_system("owner/name")[1]["version"] == "1.x"


def test_shards_and_variants_are_read(models, tmp_path: Path) -> None:
    repo = repository(models["1.x"], tmp_path / "repo", torch.float16)
    whole = repo / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(whole)
    names = sorted(tensors)
    halves = {"a-of-2.safetensors": names[::2], "b-of-2.safetensors": names[1::2]}
    for file, keys in halves.items():
        save_file({key: tensors[key] for key in keys}, whole.parent / file)
    index = {"weight_map": {key: file for file, keys in halves.items() for key in keys}}
    (whole.parent / f"{whole.name}.index.json").write_text(json.dumps(index))
    whole.unlink()
    text = repo / "text_encoder" / "model.safetensors"
    text.rename(text.with_name("model.fp16.safetensors"))
    system, _ = load_system(repo)
    assert {p.dtype for p in system.parameters()} == {torch.float32}
    assert torch.equal(system.network.stem.weight, models["1.x"].network.stem.weight.half().float())
    (whole.parent / "b-of-2.safetensors").unlink()
    with pytest.raises(WeightsError, match="lacks b-of-2"):
        load_system(repo)
    index["weight_map"][names[0]] = "../../elsewhere.safetensors"
    (whole.parent / f"{whole.name}.index.json").write_text(json.dumps(index))
    with pytest.raises(WeightsError, match=r"names '\.\./\.\./elsewhere\.safetensors'"):
        load_system(repo)


def test_what_is_missing_left_over_or_a_pickle_is_named(repo: Path, tmp_path: Path) -> None:
    unet, text = repo / "unet" / "diffusion_pytorch_model.safetensors", repo / "text_encoder" / "model.safetensors"
    good = load_file(unet)
    less = dict(good)
    del less["mid_block.resnets.1.conv1.bias"]
    save_file(less, unet)
    with pytest.raises(WeightsError, match=rf"{repo}: .*lacks mid_block\.resnets\.1\.conv1\.bias"):
        load_system(repo)
    save_file({**good, "time_embedding.cond_proj.weight": torch.ones(1)}, unet)
    with pytest.raises(WeightsError, match=r"also holds time_embedding\.cond_proj\.weight"):
        load_system(repo)
    save_file(good, unet)
    text.rename(text.with_name("pytorch_model.bin"))
    with pytest.raises(WeightsError, match=r"pytorch_model\.bin, a pickle.*zeuxis convert"):
        load_system(repo)
    file = tmp_path / "old.ckpt"
    file.write_bytes(b"PK\3\4")
    with pytest.raises(WeightsError, match=f"zeuxis convert {file}"):
        load_system(file)


def test_programs_of_a_repository_are_never_run(repo: Path, tmp_path: Path) -> None:
    evil = f"open({str(tmp_path / 'ran')!r}, 'w')"
    for name in ("pipeline.py", "unet/modeling.py", "text_encoder/__init__.py"):
        (repo / name).write_text(evil)
    rewrite(repo / "model_index.json", _class_name="Evil", unet=["modeling", "Evil"])
    rewrite(repo / "unet" / "config.json", auto_map={"AutoModel": "modeling.Evil"}, _class_name="Evil")
    _, card = load_system(repo)
    assert not (tmp_path / "ran").exists()
    (note,) = (note for note in card["notes"] if "programs" in note)
    for name in ("never run", "pipeline.py", "unet/modeling.py", "text_encoder/__init__.py", "unet/config.json"):
        assert name in note, name


@pytest.mark.parametrize(
    ("file", "changed", "message"),
    [
        ("unet/config.json", {"act_fn": "gelu"}, "act_fn = 'gelu'"),
        ("vae/config.json", {"norm_num_groups": 16}, "norm_num_groups = 16"),
        ("scheduler/scheduler_config.json", {"trained_betas": [0.1]}, "trained_betas"),
        ("scheduler/scheduler_config.json", {"_class_name": "DDIMSchedular"}, "did you mean DDIMScheduler"),
        ("scheduler/scheduler_config.json", {"rescale_betas_zero_snr": True}, "zero terminal SNR"),
        ("unet/config.json", {"resnet_skip_time_act": True}, "resnet_skip_time_act = True"),
        ("unet/config.json", {"attention_head_dim": [8]}, r"heads \[8\] of levels of \[128, 128\] channels"),
        ("vae/config.json", {"scaling_factor": 0}, "scaling_factor = '0': a number above 0"),
        ("text_encoder/config.json", {"layer_norm_eps": 1e-3}, "layer_norm_eps = 0.001"),
    ],
)
def test_settings_that_are_not_known_are_refused(repo: Path, file: str, changed, message: str) -> None:
    rewrite(repo / file, **changed)
    with pytest.raises(ZeuxisError, match=message):
        load_system(repo)


def test_heads_are_counted_or_refused() -> None:
    sizes = REAL["2.x"]
    for told, found in (([5, 10, 20, 20], {"head_width": 64}), (8, {"heads": 8}), (None, {"head_width": 64})):
        assert found.items() <= sizes.table(told).items()
    for wrong in ([5, 10, 20], [5, 10, 20, 21], [5, 5, 20, 20], 7, 0, 8.0, [8.0] * 4, "8", True):
        with pytest.raises(WeightsError, match="one whole number is known here"):
            sizes.table(wrong)  # type: ignore[arg-type]


def rule_of(
    version: str = "XL", unused: tuple[str, ...] = (), chain: Tensor | None = None
) -> tuple[dict[str, Any], str]:
    """The scheduler of a single file with those tensors, and the notes on it."""
    part = PublishedPart({}, {})
    parts = PublishedParts(Path("x.safetensors"), part, part, (), (), None, {}, (), (), unused, chain)
    found, notes = _rule(version, REAL[version], parts)
    return found, " ".join(notes)


def test_a_file_that_says_how_it_was_trained_is_believed() -> None:
    plain, zero = (
        (1 - chain_betas("scaled-linear", 1000, 0.00085, 0.012, zero_snr=z)).cumprod(0) for z in (False, True)
    )
    zero[-1] = 0
    for chain in (None, plain, plain.half(), plain.bfloat16(), torch.ones(1)):
        found, notes = rule_of(chain=chain)
        assert not found["zero_snr"] and found["predicts"] == "epsilon" and "another chain" not in notes
    assert rule_of(unused=("v_pred",), chain=zero)[0]["zero_snr"] and rule_of(unused=("v_pred", "ztsnr"))[0]["zero_snr"]
    assert not rule_of(unused=("v_pred",), chain=plain)[0]["zero_snr"]
    linear = (1 - chain_betas("linear", 1000, 1e-4, 0.02)).cumprod(0)
    for chain in (linear, plain[:500], zero):  # noise predicted of a chain of zero SNR is none that is known
        assert "alphas_cumprod are of another chain" in rule_of(chain=chain)[1]
    for mark in ("edm_mean", "edm_vpred.sigma_max"):  # Playground 2.5, CosXL
        with pytest.raises(WeightsError, match=f"{mark}: it was trained with EDM's preconditioning"):
            rule_of(unused=(mark,))


def test_the_scale_that_a_file_measured_is_its_own(models, tmp_path: Path) -> None:
    file = single_file(models["1.x"], tmp_path / "x.safetensors", "1.x", {"scale_factor": torch.tensor(0.5)})
    parts = read_parts(file)
    assert parts.stage.config == {"scaling_factor": 0.5} and "scale_factor" not in parts.unused


def test_parts_come_and_go(folder: Path, models) -> None:
    """Staged, a part is where it computes for as long as it does, in the dtype asked for; the picture is the same."""
    system, card = load_system(folder, staged=True)
    held = {name: p.data_ptr() for name, p in system.named_parameters()}
    assert torch.equal(picture(system), picture(models["1.x"]))
    assert held == {name: p.data_ptr() for name, p in system.named_parameters()} and card["staged"]
    assert load(folder, staged=True).sample(1, caption=CAPTION, steps=2).records[0]["device"] == "cpu"


# -- grids --------------------------------------------------------------------------------------------


def steps_of(spacing: str, n: int, **more: Any) -> list[int]:
    path = VariancePreserving(chain_betas("scaled-linear", 1000, 0.00085, 0.012))
    levels = published_levels(path.sigmas, n, spacing, **more)
    return [round(path.time(float(level))) for level in levels if level > 0]


def test_grids_are_those_of_the_public_schedulers() -> None:
    """As diffusers 0.42 lays them for SD's betas and ten steps."""
    assert steps_of("leading", 10, offset=1) == [901, 801, 701, 601, 501, 401, 301, 201, 101, 1]
    assert steps_of("trailing", 10) == [999, 899, 799, 699, 599, 499, 399, 299, 199, 99]
    assert steps_of("linspace", 4, whole=False) == [999, 666, 333, 0]
    assert steps_of("linspace", 10, one_more=True) == [999, 899, 799, 699, 599, 500, 400, 300, 200, 100]
    assert steps_of("leading", 10, offset=1, one_more=True) == [901, 811, 721, 631, 541, 451, 361, 271, 181, 91]
    assert steps_of("karras", 10) == [999, 916, 815, 687, 523, 327, 146, 41, 7, 0]
    assert steps_of("uniform-log-snr", 6) == [999, 757, 413, 103, 11, 0]
    assert steps_of("leading", 10, offset=1, to_zero=False)[-2:] == [1, 0]
    sigmas = VariancePreserving(chain_betas("scaled-linear", 1000, 0.00085, 0.012)).sigmas
    assert float(sigmas[-1]) == pytest.approx(14.6146, abs=1e-4)
    for steps in (0, 1001):
        with pytest.raises(UsageError, match=f"{steps} steps"):
            published_levels(sigmas, steps, "leading")


def test_no_step_of_a_chain_is_taken_twice_and_one_is_taken_at_least() -> None:
    """Many steps of "leading" and its offset would go beyond the chain, where one step by DPM++ would divide by 0."""
    sigmas = VariancePreserving(chain_betas("scaled-linear", 1000, 0.00085, 0.012)).sigmas
    for spacing in ("leading", "trailing", "linspace", "karras"):
        for steps in (1 + (spacing == "leading"), 2, 500, 501, 999):
            for one_more in (False, True):
                levels = published_levels(sigmas, steps, spacing, offset=1, one_more=one_more)
                assert len(levels) == steps + 1 and bool((levels[:-1] > levels[1:]).all()), (spacing, steps, one_more)
    assert steps_of("leading", 1000, offset=1) == list(range(999, -1, -1))
    for offset, to_zero in ((0, False), (1, True)):  # one step would take the noise that it begins with for a picture
        with pytest.raises(UsageError, match="1 step of spacing 'leading' begins where this chain ends"):
            published_levels(sigmas, 1, "leading", offset=offset, to_zero=to_zero)
    with pytest.raises(UsageError, match="take more, or --knob spacing=trailing"):
        respaced(sigmas, 1, "leading")
    assert len(published_levels(sigmas, 1, "leading", one_more=True)) == len(respaced(sigmas, 1, "trailing")) == 2
    for chain, first, last in ((1, 0.1, 0.2), (10, 0.0, 0.2), (10, 0.1, 1.0), (10, -0.1, 0.2)):
        with pytest.raises(UsageError, match="2 steps or more are wanted, and variances between 0 and 1"):
            chain_betas("linear", chain, first, last)


def test_a_chain_that_ends_at_its_first_step_is_walked_in_as_many_steps_as_were_asked_for() -> None:
    """DDIM of 1.x ends there: a spacing whose lowest level that is has one level more above it."""
    assert steps_of("linspace", 4, to_zero=False) == [999, 749, 500, 250, 0]  # of 999, 749.25, 499.5, 249.75, 0
    assert steps_of("linspace", 4, to_zero=False, one_more=True) == [999, 749, 500, 250, 0]
    assert steps_of("linspace", 4, to_zero=False, whole=False) == [999, 749, 500, 250, 0]
    sigmas = VariancePreserving(chain_betas("scaled-linear", 1000, 0.00085, 0.012)).sigmas
    low, high = (float(sigmas[k]) ** (1 / 7) for k in (0, -1))
    wanted = torch.tensor([(high + k / 4 * (low - high)) ** 7 for k in range(5)])
    torch.testing.assert_close(published_levels(sigmas, 4, "karras", to_zero=False), wanted)
    for spacing in ("leading", "trailing", "linspace", "karras"):
        for steps in (2, 10, 37):
            levels = published_levels(sigmas, steps, spacing, offset=1, to_zero=False)
            assert len(levels) == steps + 1 and float(levels[-1]) == float(sigmas[0]), (spacing, steps)
            assert bool((levels[:-1] > levels[1:]).all()), (spacing, steps)
    with pytest.raises(UsageError, match="1000 steps of sampling: take 1 to 999"):
        published_levels(sigmas, 1000, "linspace", to_zero=False)


def test_zero_terminal_snr_ends_at_a_finite_level() -> None:
    betas = chain_betas("scaled-linear", 1000, 0.00085, 0.012, zero_snr=True)
    path = VariancePreserving(betas)
    assert float(path.sigmas[-1]) == pytest.approx(MOST, rel=1e-4)
    assert float(path.sigmas[0]) == pytest.approx(0.029167, rel=1e-4) and bool((path.sigmas.diff() > 0).all())
    system = made("2.x", zero_snr=True, spacing="trailing")
    assert float(system.levels(SHORT)[0]) == pytest.approx(MOST, rel=1e-4)
    assert torch.isfinite(picture(system)).all()
    with pytest.raises(UsageError, match="it must be v"):
        made("1.x", zero_snr=True)


# -- drawing and editing ------------------------------------------------------------------------------


def test_captions_negatives_and_guidance_count(models) -> None:
    system = models["1.x"]
    plain = picture(system)
    assert torch.equal(plain, picture(system, negative=("",)))  # no negative is the empty one
    assert not torch.allclose(plain, picture(system, negative=("blurry",)), atol=1e-4)
    unguided = Sampling(**SHORT, guidance=1)
    assert torch.equal(picture(system, unguided), picture(system, unguided, negative=("blurry",)))
    xl = models["XL"]
    plain_xl = picture(xl)
    assert not torch.allclose(plain_xl, picture(xl, negative=("",)), atol=1e-4)  # zeros, not the empty caption
    for knob in ("crop_top", "original_width"):
        assert not torch.allclose(plain_xl, picture(xl, Sampling(**SHORT, **{knob: 64})), atol=1e-4), knob
    assert "crop_top" not in system.knobs
    assert not torch.allclose(plain, picture(system, Sampling(**SHORT, predicts="v")), atol=1e-3)


def test_training_hides_a_caption_as_drawing_does(models, monkeypatch) -> None:
    """XL takes zeros for no text, in training as in guidance; others the empty caption."""
    for version in ("1.x", "XL"):
        system, seen = models[version], list[dict[str, Tensor]]()
        monkeypatch.setattr(system, "drop", 1.0)
        monkeypatch.setattr(system, "_network", lambda noisy, t, given, seen=seen: (seen.append(given), 0 * noisy)[1])
        system.predict(Turn(Batch(pixels(1), Condition(caption=(CAPTION,))), Stream(0), 0, 0.0))
        _, null = system._conditionings(Condition(caption=(CAPTION,)), system.settings(Sampling()))
        assert seen[0].keys() == null.keys() and all(torch.equal(seen[0][name], null[name]) for name in null)
        assert bool((null["context"] == 0).all()) == (version == "XL")


def test_an_edit_begins_from_its_source(models) -> None:
    system, source = models["1.x"], pixels(1)
    rebuilt = system.decode(system.encode(source))
    near, far = (
        picture(system, Sampling(steps=steps, strength=s, guidance=1), source=source)
        for steps, s in ((20, 0.05), (4, 1.0))
    )
    assert float((near - rebuilt).abs().mean()) < 0.5 * float((far - rebuilt).abs().mean())
    assert torch.equal(far, picture(system, Sampling(steps=4, guidance=1)))  # nothing of the source is left
    with pytest.raises(UsageError, match=r"strength 0\.1 of 3 steps is no step"):
        picture(system, Sampling(steps=3, strength=0.1), source=source)


def test_what_a_mask_keeps_is_the_source_itself(models) -> None:
    system, source = models["1.x"], pixels(1)
    drawn = picture(system, source=source, mask=HALF)
    assert torch.equal(drawn[..., : SIDE // 2], source[..., : SIDE // 2])
    assert not torch.allclose(drawn[..., SIDE // 2 :], source[..., SIDE // 2 :], atol=0.1)
    nothing = picture(system, source=source, mask=torch.zeros_like(HALF))
    assert torch.equal(nothing, source)


def test_the_kept_part_is_seen_under_noise_of_the_right_level(models) -> None:
    """At the end of any of the solvers what is kept in latent space is what it was."""
    system, source = models["1.x"], pixels(1)
    denoise = system.denoiser(Condition(caption=(CAPTION,), source=source, mask=HALF), 1, SHORT)
    latent = system.encode(source)
    x = latent + 3.0 * torch.randn(latent.shape, generator=torch.Generator().manual_seed(0))
    x0 = denoise(x, torch.tensor([3.0]))
    half = latent.shape[-1] // 2
    assert torch.equal(x0[..., :half], latent[..., :half]) and not torch.allclose(x0[..., half:], latent[..., half:])


def test_a_network_that_inpaints_is_shown_mask_and_masked_picture(models) -> None:
    system, source = models["inpainting"], pixels(1)
    seen: list[Tensor] = []
    handle = system.network.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    drawn = picture(system, source=source, mask=HALF)
    handle.remove()
    assert all(x.shape == (2, 9, SIDE // 2, SIDE // 2) for x in seen) and len(seen) == SHORT["steps"]
    assert torch.equal(seen[0][0, 4], HALF[0, 0, ::2, ::2]) and torch.equal(seen[0][:, 4:], seen[-1][:, 4:])
    torch.testing.assert_close(seen[0][:1, 5:], system.encode(source * (1 - HALF)))
    assert torch.equal(drawn[..., : SIDE // 2], source[..., : SIDE // 2])
    thin = torch.zeros(1, 1, SIDE, SIDE)
    thin[..., 3, 5] = 1  # the last pixel of its cell
    knobs = system.settings(Sampling())
    given, null = system._conditionings(Condition(caption=(CAPTION,), source=source, mask=thin), knobs)
    assert given["shown"][0, 0].nonzero().tolist() == null["shown"][0, 0].nonzero().tolist() == [[1, 2]]
    with pytest.raises(UsageError, match="made to inpaint"):
        picture(system)


def test_a_text_is_read_once_a_picture(models) -> None:
    network = models["1.x"].network
    layers = [m for m in network.modules() if isinstance(m, CrossAttention)]
    read: list[int] = []  # the layer of each time that keys and values were computed

    def counted(k: int, forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def compute(x: Tensor) -> Tensor:
            read.append(k)
            return forward(x)

        return compute

    context, other = torch.randn(1, 5, 64), torch.randn(1, 5, 64)
    x, t = torch.randn(1, 4, 8, 8), torch.tensor([5.0])
    with torch.no_grad():
        plain = network(x, t, None, context), network(x, t, None, other)
        for k, layer in enumerate(layers):
            layer.kv.__dict__["forward"] = counted(k, layer.kv.forward)
        with context_read_once(network):
            once = [network(x, t, None, c) for c in (context, context, other)]
        assert sorted(read) == sorted([*range(len(layers))] * 2), "once for each context, not once for each call"
        assert torch.equal(once[1], plain[0]) and torch.equal(once[2], plain[1])
        again = network(x, t, None, context)
    assert torch.equal(again, plain[0]) and all("forward" not in layer.kv.__dict__ for layer in layers)


def test_tiles_pass_into_one_another(models) -> None:
    z = torch.randn(2, 4, 21, 13, generator=torch.Generator().manual_seed(0))
    whole = z[:, :3].repeat_interleave(2, 2).repeat_interleave(2, 3)
    sizes = []

    def decode(part: Tensor) -> Tensor:
        sizes.append(tuple(part.shape[2:]))
        return part[:, :3].repeat_interleave(2, 2).repeat_interleave(2, 3)

    torch.testing.assert_close(decode_in_tiles(decode, z, 8, 2), whole)
    assert len(sizes) == 4 * 2 and set(sizes) == {(8, 8)}
    system = models["1.x"].first_stage
    latent = torch.randn(1, 4, 12, 12, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert system.decode(latent, tile=8).shape == (1, 3, 24, 24)
        assert torch.equal(system.decode(latent, tile=12), system.decode(latent))


# -- what goes wrong ----------------------------------------------------------------------------------


def test_what_cannot_be_drawn_is_said_with_its_mend(models, folder: Path) -> None:
    system = models["1.x"]
    with pytest.raises(UsageError, match=r"give the source too \(--source PICTURE\)"):
        picture(system, mask=HALF)
    with pytest.raises(UsageError, match="the mask is 8x8 pixels and the picture 16x16"):
        picture(system, source=pixels(1), mask=HALF[..., :8, :8])
    with pytest.raises(UsageError, match="steps 0"):
        picture(system, Sampling(steps=0))
    with pytest.raises(UsageError, match=r"unknown sampler 'dim'.*ddim"):
        picture(system, Sampling(sampler="dim"))
    with pytest.raises(UsageError, match=r"--size 17: .*multiples of 2, at most 4096, such as 16x16"):
        load(folder).sample(1, caption=CAPTION, size=17)
    source, mask = np.zeros((16, 16, 3), np.uint8), np.ones((16, 12), bool)
    with pytest.raises(UsageError, match="the mask is 12x16 pixels and the source 16x16"):
        load(folder).sample(1, caption=CAPTION, source=source, mask=mask)
    with pytest.raises(UsageError, match="the mask marks nothing"):
        load(folder).sample(1, caption=CAPTION, source=source, mask=np.zeros((16, 16), bool))
    with pytest.raises(UsageError, match=r"strength 0\.5 is of an edit.*--source PICTURE"):
        picture(system, Sampling(steps=3, strength=0.5))
    with pytest.raises(UsageError, match=r"1 step of spacing 'leading'.*--knob spacing=trailing"):
        picture(system, Sampling(steps=1, spacing="leading"))
    with pytest.raises(Unsupported, match=r"not conditioned on a control; .*--with CONTROLNET"):
        load(folder).sample(1, caption=CAPTION, control=source)


def test_a_caption_longer_than_the_window_is_cut_and_the_rest_is_said(models, folder: Path, tmp_path, capsys) -> None:
    model = load(folder)
    longest = next(iter(model.system.prompt.readers)).longest
    fits = " ".join(["cat"] * longest)
    long = f"{fits} red owl"
    assert model.unread(caption=fits, negative="dog") == ()
    (said,) = model.unread(caption=[long, fits, long])
    assert said.startswith(
        "of the caption the model reads 75 tokens: 'red owl' is left out (--knob long_captions=windows"
    )
    assert "of the negative" in model.unread(caption=fits, negative=long)[0]
    (idle,) = model.unread(Sampling(guidance=1), caption=fits, negative=["", "dog"])
    assert "negative caption counts for nothing at guidance 1" in idle
    assert model.unread(Sampling(guidance=1), caption=fits, negative="") == ()
    assert model.sample(1, caption=fits, negative="dog", steps=2, guidance=1).records[0]["unread"] == [idle]
    out = tmp_path / "x.png"
    asked = ["sample", str(folder), "--steps", "2", "-n", "1", "--out", str(out), "--caption"]
    assert main([*asked, long]) == 0
    assert f"note: {said}" in capsys.readouterr().err
    record = read_record(out)
    assert record["condition"]["caption"] == long and record["unread"] == [said]
    whole, cut = (model.sample(1, caption=caption, steps=2, guidance=1) for caption in (fits, long))
    assert torch.equal(whole.tensor, cut.tensor) and "unread" not in whole.records[0]
    steered = ControlNet(model.system.shape, base=model.system, layout_names=("sky", "ground"))
    layout = torch.zeros(1, SIDE, SIDE, dtype=torch.int64)
    assert steered.unread(Condition(caption=(long,), layout=layout)) == (said,), "of the system that it steers"
    turn = Turn(Batch(pixels(1).repeat(2, 1, 1, 1), Condition(caption=(long, fits))), Stream(0), 0, 0.0)
    with torch.no_grad():
        models["1.x"].predict(turn)
    assert turn.notes["cut"] == 0.5


def test_overflow_is_an_error_and_no_picture(models) -> None:
    system = copy.deepcopy(models["1.x"])
    with torch.no_grad():
        system.first_stage.decoder.out.weight.zero_()
        system.first_stage.decoder.out.bias.fill_(-1.1)
    assert bool((picture(system) == -1).all()), "a black picture, such as models of zero terminal SNR draw"
    with torch.no_grad():
        system.first_stage.decoder.out.bias.fill_(-1e4)
    with pytest.raises(ZeuxisError, match="far below black"):
        picture(system)
    with torch.no_grad():
        system.first_stage.decoder.out.bias.fill_(float("nan"))
    with pytest.raises(ZeuxisError, match="decoded picture is not finite"):
        picture(system)
    with torch.no_grad():
        system.network.out.bias.fill_(float("nan"))
    with pytest.raises(ZeuxisError, match="latents are not finite"):
        picture(system)


@pytest.mark.parametrize("planted", [float("inf"), float("-inf"), float("nan")])
def test_one_number_that_is_not_finite_is_no_picture(models, planted: float) -> None:
    """In a latent, or in what the decoder makes: at once, or of the last tile alone."""
    system, latent = models["1.x"], torch.zeros(1, 4, 8, 8)
    mend = "use --precision float32 or bfloat16"
    with torch.no_grad(), pytest.raises(ZeuxisError, match=f"latents are not finite.*{mend}"):
        system.decode(latent.index_fill(3, torch.tensor([5]), planted))
    for tile, tiles in ((0, 1), (6, 4)):
        calls: list[Tensor] = []

        def plant(module: Any, given: Any, made: Tensor, calls=calls, tiles=tiles) -> Tensor:
            calls.append(made)
            return made.index_fill(2, torch.tensor([7]), planted) if len(calls) == tiles else made

        handle = system.first_stage.decoder.out.register_forward_hook(plant)
        try:
            with torch.no_grad(), pytest.raises(ZeuxisError, match=f"decoded picture is not finite.*{mend}"):
                system.decode(latent, tile)
        finally:
            handle.remove()
        assert len(calls) == tiles


def test_a_first_stage_that_overflows_in_half_precision_is_spared_it_or_refused(models) -> None:
    """Under autocast it computes in float32; weights that went through float16, which ends at 65,504, stay infinite."""
    system = copy.deepcopy(models["1.x"])
    latent = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        system.first_stage.from_latent.weight.mul_(2e5)
        whole = system.decode(latent)
        with autocast("cpu", "float16"):
            assert torch.equal(system.decode(latent), whole)
        system.first_stage.half().float()
        with pytest.raises(ZeuxisError, match=r"decoded picture is not finite.*float32 or bfloat16"):
            system.decode(latent)


# -- the command line ---------------------------------------------------------------------------------


def test_a_folder_is_sampled_recorded_and_replayed(folder: Path, tmp_path: Path, capsys) -> None:
    """From the disk alone: the suite refuses the network."""
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 24, 3), np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.pad(np.full((16, 12), 255, np.uint8), ((0, 0), (0, 12)))).save(tmp_path / "m.png")
    given = ["--source", str(tmp_path / "a.png"), "--mask", str(tmp_path / "m.png")]
    knobs = ["--steps", "4", "--strength", "0.5", "--guidance", "3", "--sampler", "euler", "--size", "24x16"]
    asked = ["--caption", CAPTION, "--negative", "dog", *given, *knobs, "--seed", "3", "-n", "1"]
    out = tmp_path / "out.png"
    assert main(["sample", str(folder), *asked, "--out", str(out)]) == 0
    told = capsys.readouterr()
    assert "memory: about" in told.err and "GiB" in told.err
    record = read_record(out)
    assert record["size"] == [16, 24] and record["condition"]["negative"] == "dog" and record["weights_sha256"]
    turned = {"steps": 4, "strength": 0.5, "guidance": 3.0, "sampler": "euler"}
    assert record["sampling"] == {**turned, "prompt_weights": "numbered"}
    assert main(["sample", "--replay", str(out), *given, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["identical"] and again["differs"] == []


def test_a_model_is_exported_and_is_the_same(folder: Path, tmp_path: Path, capsys) -> None:
    assert main(["export", str(folder), "--out", str(tmp_path / "copy"), "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["parameters"] == sum(p.numel() for p in load_system(folder)[0].parameters())
    for file in folder.rglob("*.*"):
        assert (tmp_path / "copy" / file.relative_to(folder)).read_bytes() == file.read_bytes(), file
    assert main(["export", str(folder), "--out", str(tmp_path / "copy")]) == 2
    assert "exists already" in capsys.readouterr().err
    assert read_published(tmp_path / "copy").side == SIDE


def test_what_was_trained_here_is_exported(models, tmp_path: Path, capsys) -> None:
    write_model(tmp_path / "run" / "model", models["2.x"], {})
    assert main(["export", str(tmp_path / "run"), "--out", str(tmp_path / "half"), "--precision", "float16"]) == 0
    system, card = load_system(tmp_path / "half")
    before = models["2.x"].state_dict()
    assert all(torch.equal(t, before[n].half().float()) for n, t in system.state_dict().items()) and not card["unused"]
    narrow = made("1.x", network={**SMALL["1.x"]["network"], "width": 64})
    write_model(tmp_path / "narrow" / "model", narrow, {})
    capsys.readouterr()
    assert main(["export", str(tmp_path / "narrow"), "--out", str(tmp_path / "no")]) == 2
    assert "norms of 32 groups" in capsys.readouterr().err and not (tmp_path / "no").exists()
    assert main(["export", "ddpm", "--out", str(tmp_path / "no")]) == 2


def test_pictures_that_are_not_square_are_not_exported_in_silence(models, tmp_path: Path, capsys) -> None:
    wide = copy.copy(models["1.x"])
    wide.shape = wide.shape.at(16, 24)
    wide.spec, wide.config = DataSpec(wide.shape), {**wide.config, "shape": wide.shape, "guidance": 3.0}
    write_model(tmp_path / "run" / "model", wide, {})
    asked = ["export", str(tmp_path / "run"), "--out", str(tmp_path / "out")]
    assert main(asked) == 2
    assert "draws pictures of 24x16" in (told := capsys.readouterr().err) and "--size 20" in told
    assert main([*asked, "--size", "17"]) == 2 and "multiples of 2, such as 20" in capsys.readouterr().err
    assert main([*asked, "--size", "20"]) == 0 and read_published(tmp_path / "out").side == 20
    assert "guidance 3, and a reader takes 7.5: draw with --guidance 3" in (told := capsys.readouterr().err)
    assert "steps" not in told and "strength" not in told


def test_nothing_is_left_out_of_an_export_in_silence(models, tmp_path: Path) -> None:
    state = {**models["1.x"].state_dict(), "branch.middle_zero.bias": torch.zeros(1)}
    with pytest.raises(Unsupported, match=r"1 tensors, branch\.middle_zero\.bias first"):
        write_hub_layout(models["1.x"].config, state, SIDE, tmp_path / "out")
    with pytest.raises(Unsupported, match="zero_null"):
        write_hub_layout({**models["1.x"].config, "zero_null": True}, {}, SIDE, tmp_path / "out")
    with pytest.raises(Unsupported, match="sampler 'midpoint' has no public scheduler"):
        write_hub_layout({**models["1.x"].config, "sampler": "midpoint"}, {}, SIDE, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_hash_of_a_file_is_remembered_or_found_again(tmp_path: Path, monkeypatch) -> None:
    """Written under a name of its own first, which another process cannot be writing at the same time."""
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "weights.safetensors"
    file.write_bytes(b"abc")
    assert hash_of(file) == file_hash(file)
    (kept,) = (tmp_path / "cache" / "hashes").iterdir()
    kept.unlink()
    kept.with_suffix(".draft").mkdir()  # of another process
    assert hash_of(file) == kept.read_text() == file_hash(file)
    kept.write_text("e" * 64)
    assert hash_of(file) == "e" * 64, "remembered"
    monkeypatch.setenv("ZEUXIS_CACHE", str(file))  # no folder
    assert hash_of(file) == file_hash(file)


# -- LoRA ---------------------------------------------------------------------------------------------

RANK = 2
LAYERS = ("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_k", "unet.mid_block.resnets.0.conv1",
          "text_encoder.text_model.encoder.layers.1.self_attn.v_proj")  # fmt: skip


def halves(system: System) -> dict[str, tuple[Tensor, Tensor]]:
    """(down, up) of three layers: one third of a fused tensor, a 3x3 convolution, one of the text tower."""
    draws = torch.Generator().manual_seed(0)
    shapes = (((RANK, 128), (128, RANK)), ((RANK, 128, 3, 3), (128, RANK, 1, 1)), ((RANK, 64), (64, RANK)))
    return {k: tuple(torch.randn(s, generator=draws) for s in each) for k, each in zip(LAYERS, shapes, strict=True)}  # type: ignore[misc]


def styled(style: str, pairs: dict[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """The pairs as a program writes them; kohya's with half the strength as alpha."""
    found: dict[str, Tensor] = {}
    for layer, (down, up) in pairs.items():
        if style == "diffusers":
            found |= {f"{layer}.lora_A.weight": down, f"{layer}.lora_B.weight": up}
        else:
            part, _, rest = layer.partition(".")
            name = {"unet": "lora_unet", "text_encoder": "lora_te"}[part] + "_" + rest.replace(".", "_")
            found |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}
            found[f"{name}.alpha"] = torch.tensor(RANK / 2)
    return found


@pytest.mark.parametrize(("style", "scale"), [("diffusers", 0.5), ("kohya", 1.0)])
def test_a_lora_changes_its_layers_and_no_others(models, folder: Path, tmp_path: Path, style: str, scale) -> None:
    system = models["1.x"]
    pairs = halves(system)
    save_file(styled(style, pairs), tmp_path / "style.safetensors")
    name = spelt(str(folder), [f"{tmp_path / 'style.safetensors'}*{scale}"])
    merged, card = load_system(name)
    before = system.state_dict()
    change = {n: t - before[n] for n, t in merged.state_dict().items()}
    changed = {n for n, t in change.items() if t.any()}
    qkv = "network.down_levels.0.blocks.0.transformer.blocks.0.attention.qkv.weight"
    conv = "network.middle_blocks.0.resblock.conv1.weight"
    text = "prompt.readers.0.tower.blocks.1.attention.qkv.weight"
    assert changed == {qkv, conv, text} and card["sha256"] != load_system(folder)[1]["sha256"]
    hashes = {str(tmp_path / "style.safetensors"): file_hash(tmp_path / "style.safetensors")}
    assert card["added"] == [{"kind": "lora", "files": hashes, "scale": scale, "layers": len(pairs)}]
    (down, up), (small, wide), (d, u) = pairs.values()
    assert not change[qkv][:128].any() and not change[qkv][256:].any() and not change[text][:128].any()
    torch.testing.assert_close(change[qkv][128:256], 0.5 * up @ down, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(change[text][128:], 0.5 * u @ d, atol=1e-5, rtol=1e-4)
    kernel = (wide.flatten(1) @ small.flatten(1)).view(128, 128, 3, 3)
    torch.testing.assert_close(change[conv], 0.5 * kernel, atol=1e-5, rtol=1e-4)


def test_cloneofsimo_s_numbers_count_the_public_order(models) -> None:
    sizes, towers = layers_of(models["1.x"].config)
    known = places(sizes, towers)
    facts = {"unet": '["CrossAttention", "Attention", "GEGLU"]', "text_encoder": '["CLIPAttention"]'}
    listed = _listed(facts, known, "")
    parts = [layer.split(".transformer_blocks.0.") for layer in listed["unet"]]
    blocks = list(dict.fromkeys(block for block, _ in parts))
    assert blocks == ["unet.down_blocks.0.attentions.0", "unet.up_blocks.1.attentions.0",
                      "unet.up_blocks.1.attentions.1", "unet.mid_block.attentions.0"]  # fmt: skip
    leaves = [leaf for _, leaf in parts[:9]]
    assert leaves[:5] == ["attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0", "ff.net.0.proj"]
    ends = [layer.rsplit(".", 1)[1] for layer in listed["text_encoder"][:4]]
    assert ends == ["k_proj", "v_proj", "q_proj", "out_proj"]
    assert len(listed["text_encoder"]) == 4 * towers[0][0] and set(listed["unet"]) <= set(known)


def test_a_lora_for_another_base_names_what_does_not_fit(models, folder: Path, tmp_path: Path, capsys) -> None:
    pairs = styled("diffusers", halves(models["1.x"]))
    file = tmp_path / "other.safetensors"
    for strange, message in (
        ({f"{LAYERS[0]}.lora_A.weight": torch.ones(RANK, 64)}, r"to_k of \(128, 64\) for \(128, 128\)"),
        ({"unet.down_blocks.7.attentions.0.proj_in.lora_A.weight": torch.ones(2, 2)}, r"down_blocks\.7"),
        ({f"{LAYERS[0]}.dora_scale": torch.ones(1)}, "dora_scale"),
    ):
        save_file({**pairs, **strange}, file)
        with pytest.raises(WeightsError, match=message):
            load_system(spelt(str(folder), [str(file)]))
    save_file(pairs, file)
    out = tmp_path / "out.png"
    asked = ["--caption", CAPTION, "--steps", "2", "-n", "1", "--lora", f"{file}*0.5", "--out", str(out)]
    assert main(["sample", str(folder), *asked]) == 0 and main(["sample", "--replay", str(out)]) == 0
    assert read_record(out)["added"] == [{"kind": "lora", "files": {str(file): file_hash(file)}, "scale": 0.5}]
    assert "the same, pixel for pixel" in capsys.readouterr().out
    assert main(["sample", str(folder), *asked[:-4], "--lora", f"{file}*much"]) == 2
    assert "write FILE.safetensors" in capsys.readouterr().err
    assert main(["sample", str(folder), *asked[:-4], "--lora", f"{file}*nan"]) == 2
    assert "a scale is a number" in capsys.readouterr().err


# -- beside the public library ------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.x", "2.x", "XL"])
def test_the_public_library_draws_the_same(models, folders, monkeypatch, version: str) -> None:
    """diffusers' pipelines with transformers' towers: whole runs of DDIM, Euler and DPM++ from the same noise."""
    peers = pytest.importorskip("diffusers")
    pytest.importorskip("transformers")
    cls = peers.StableDiffusionXLPipeline if version == "XL" else peers.StableDiffusionPipeline
    pipe = cls.from_pretrained(str(folders[version]), local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    chain = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    chain |= {"prediction_type": "v_prediction" if version == "2.x" else "epsilon", "steps_offset": 1}
    system, latents = models[version], list[Tensor]()
    decode = system.first_stage.decode
    monkeypatch.setattr(system.first_stage, "decode", lambda z, tile: (latents.append(z), decode(z, tile))[1])
    schedulers = (
        ("ddim", peers.DDIMScheduler(**chain, clip_sample=False, set_alpha_to_one=models[version].to_zero)),
        ("euler", peers.EulerDiscreteScheduler(**chain, timestep_spacing="leading")),
        ("dpmpp-2m", peers.DPMSolverMultistepScheduler(**chain, timestep_spacing="leading")),
    )
    noise = ImageRng([5]).normal(1, 4, SIDE // 2, SIDE // 2)
    for sampler, scheduler in schedulers:
        pipe.scheduler = scheduler
        how = {"num_inference_steps": 12, "guidance_scale": 2.0, "latents": noise.clone(), "output_type": "latent"}
        with torch.no_grad():
            theirs = pipe(CAPTION, negative_prompt="dog", **how).images
            decoded = pipe.vae.decode(theirs / pipe.vae.config.scaling_factor).sample.clamp(-1, 1)
        drawn = system.sample(
            Condition(caption=(CAPTION,), negative=("dog",)),
            ImageRng([5]),
            Sampling(steps=12, guidance=2.0, sampler=sampler, spacing="leading"),
        )
        assert theirs.std() > 0.5 and decoded.std() > 0.1
        assert float((latents.pop() - theirs).abs().max()) < 1e-4, sampler
        assert float((drawn - decoded).abs().max()) < 1e-4, sampler


# -- ControlNet ---------------------------------------------------------------------------------------


def test_a_control_branch_steers(models, folder: Path, tmp_path: Path, capsys) -> None:
    """A published branch's file beside a base: nothing at strength 0, another picture at 1, and it is replayed."""
    network = models["1.x"].network
    branch = stirred(ControlBranch(network, 3, factor=2), 7)
    file = tmp_path / "control.safetensors"
    public = {f"control_model.{key}": tensor.contiguous() for key, tensor in save_controlnet(branch).items()}
    save_file({**public, "model.of_the_base": torch.zeros(1)}, file)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), np.uint8)).save(tmp_path / "edges.png")
    steered, plain = load(spelt(str(folder), control=str(file))), load(folder)
    how = {"caption": CAPTION, "steps": 2}
    edges = str(tmp_path / "edges.png")
    without = plain.sample(1, **how).tensor
    idle = steered.sample(1, control=edges, knobs={"control_strength": 0.0}, **how).tensor
    assert torch.allclose(idle, without, atol=1e-5)
    assert not torch.allclose(steered.sample(1, control=edges, **how).tensor, without, atol=1e-2)
    given = Condition(caption=(CAPTION,), control=pixels(3))
    with pytest.raises(UsageError, match="the control is 32x16 pixels and the picture 16x16"):
        picture(steered.system, control=torch.zeros(1, 3, SIDE, 2 * SIDE))
    x, sigma = torch.randn(1, 4, SIDE // 2, SIDE // 2), torch.tensor([2.0])
    one, other = (system.denoiser(given.only(system.conditions), 1) for system in (steered.system, plain.system))
    assert not torch.allclose(one(x, sigma), other(x, sigma), atol=1e-2)
    assert "control_strength" not in plain.knobs
    with pytest.raises(UsageError, match="needs a control"):
        steered.sample(1, **how)
    with pytest.raises(UsageError, match="not conditioned on a control"):
        plain.sample(1, control=edges, **how)
    out = tmp_path / "out.png"
    asked = ["--caption", CAPTION, "--steps", "2", "-n", "1", "--with", str(file), "--control", edges]
    assert main(["sample", str(folder), *asked, "--out", str(out)]) == 0
    assert "no place here: model.of_the_base" in capsys.readouterr().err
    assert read_record(out)["added"] == [{"kind": "control", "files": {str(file): file_hash(file)}}]
    assert steered.card["added"][0]["unused"] == ["model.of_the_base"] and plain.card["added"] == []
    assert main(["sample", "--replay", str(out), "--control", edges]) == 0
    assert "the same, pixel for pixel" in capsys.readouterr().out
    assert main(["export", steered.name, "--out", str(tmp_path / "no")]) == 2
    assert f"export '{folder}', and give {file} to others" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
    beside = tmp_path / "config.json"
    beside.write_text(json.dumps({"_class_name": "ControlNetModel", "global_pool_conditions": True}))
    with pytest.raises(WeightsError, match="global_pool_conditions"):
        load(spelt(str(folder), control=str(file)))
    rewrite(beside, _class_name="Other")
    assert load(spelt(str(folder), control=str(file))).card["added"][0]["files"] == {str(file): file_hash(file)}
    pickle = file.rename(tmp_path / "control.pth")
    assert main(["sample", str(folder), *asked[:-4], "--with", str(pickle)]) == 1
    assert f"zeuxis convert {pickle}" in capsys.readouterr().err


def test_sides_are_multiples_of_a_latent_s_cell(models, folder: Path, tmp_path: Path) -> None:
    """8 pixels of the published models, as public programs have it: the U-Net halves odd latents too."""
    odd = {"caption": CAPTION, "steps": 2, "size": (18, 22)}
    assert load(folder).sample(1, **odd).tensor.shape == (1, 3, 18, 22)
    source, mask = np.full((18, 22, 3), 200, np.uint8), np.zeros((18, 22), bool)
    mask[:9] = True
    edited = load(folder).sample(1, source=source, mask=mask, **odd).tensor
    assert edited.shape == (1, 3, 18, 22)
    torch.testing.assert_close(edited[..., 9:, :], torch.full((1, 3, 9, 22), 200 / 127.5 - 1))
    file = tmp_path / "control.safetensors"
    branch = stirred(ControlBranch(models["1.x"].network, 3, factor=2), 7)
    save_file({f"control_model.{key}": t.contiguous() for key, t in save_controlnet(branch).items()}, file)
    steered = load(spelt(str(folder), control=str(file)))
    assert steered.sample(1, control=source, **odd).tensor.shape == (1, 3, 18, 22)


@pytest.mark.parametrize("version", ["1.x", "XL"])
def test_a_long_caption_is_read_in_windows_where_that_is_asked_for(models, version: str) -> None:
    """As the web UI reads it: window by window, contexts side by side, the vector of the first; nulls as long."""
    prompt, sizes = models[version].prompt, (SIDE, SIDE, 0, 0, SIDE, SIDE)
    longest = next(iter(prompt.readers)).longest
    first, rest = " ".join(["cat"] * longest), "red owl"
    condition = Condition(caption=(f"{first} {rest}",))
    with torch.no_grad():
        both = prompt([f"{first} {rest}", "dog"], sizes, windows=2)
        parts = [prompt([text, other], sizes) for text, other in ((first, "dog"), (rest, ""))]
        system, how = models[version], Sampling(steps=2, long_captions="windows")
        given, null = system._conditionings(condition, system.settings(how))
    assert torch.allclose(both["context"], torch.cat([part["context"] for part in parts], 1), atol=1e-5)
    if version == "XL":
        assert torch.allclose(both["vector"], parts[0]["vector"], atol=1e-5)
    assert given["context"].shape[1] == null["context"].shape[1] == 2 * (longest + 2)
    long, cut = (
        system.sample(condition, ImageRng([0]), Sampling(steps=2, long_captions=way)) for way in ("windows", "cut")
    )
    assert not torch.allclose(long, cut, atol=1e-4)
    assert torch.equal(picture(system, how), picture(system, Sampling(steps=2)))  # of one window both are the same
    assert prompt.unread(condition, system.settings(how), marks_asked=False) == ()


# -- what else the public programs' users turn -----------------------------------------------------------


@pytest.mark.parametrize("version", ["1.x", "XL"])
def test_clip_skip_reads_an_earlier_block(models, version: str) -> None:
    system, depth = models[version], 2
    captions, sizes = ["a red cat"], (SIDE, SIDE, 0, 0, SIDE, SIDE)
    if version == "1.x":
        (reader,) = system.prompt.readers
        states = reader.tower(reader.tokeniser.tokenise(captions).ids)
        skipped = system.prompt(captions, sizes, skip=1)["context"]
        assert torch.allclose(skipped, reader.tower.norm(states.layers[-2]), atol=1e-6)
        assert not torch.equal(picture(system), picture(system, Sampling(**SHORT, clip_skip=1)))
    left = depth - 1 - (version == "XL")
    with pytest.raises(UsageError, match=f"clip_skip 2: a text tower of 2 blocks.*give at most {left}"):
        picture(system, Sampling(**SHORT, clip_skip=2))


@pytest.mark.parametrize("version", ["1.x", "2.x"])
def test_guidance_is_rescaled_as_its_paper_has_it(models, version: str) -> None:
    """Of what the network predicts, its noise or v, the deviation is that under the condition alone."""
    system = models[version]
    condition, x = Condition(caption=(CAPTION,)), torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    sigma = float(system.path.sigmas[600])

    def predicted(**how: float) -> Tensor:
        x0 = system.denoiser(condition, 1, Sampling(**how)).of(3 * x, sigma)
        c = in_ve(system.predicts, system.path, sigma)
        return (x0 - c.skip * 3 * x) / c.out

    alone, guided, half, whole = (
        predicted(guidance=scale, guidance_rescale=share) for scale, share in ((1, 0), (9, 0), (9, 0.5), (9, 1))
    )
    wanted = guided * alone.std() / guided.std()
    assert torch.allclose(whole, wanted, atol=1e-4) and not torch.allclose(guided, wanted, atol=1e-2)
    assert torch.allclose(half, (guided + wanted) / 2, atol=1e-4)


def test_lcm_answers_with_a_picture_and_puts_it_under_noise_again(models) -> None:
    system, how = models["1.x"], Sampling(steps=2, sampler="lcm", spacing="trailing", guidance=1)
    condition, levels = Condition(caption=(CAPTION,)), system.levels(how)
    assert [round(float(system.path.time(level))) for level in levels[:-1]] == [999, 499] and levels[-1] == 0
    rng = ImageRng([3])
    x = rng.normal(1, 4, 8, 8) * math.sqrt(1 + float(levels[0]) ** 2)
    denoise = system.denoiser(condition, 1, how).of
    with torch.no_grad():
        x = denoise(x, float(levels[0])) + levels[1] * rng.normal(1, 4, 8, 8)
        wanted = system.decode(denoise(x, float(levels[1])))
    assert torch.allclose(picture(system, how, 3), wanted, atol=1e-5)
    own = system.levels(Sampling(steps=4, sampler="lcm"))[:-1]
    assert [round(float(system.path.time(level))) for level in own] == [999, 759, 499, 259]
    with pytest.raises(UsageError, match="makes no use of eta"):
        picture(system, Sampling(steps=2, sampler="lcm", eta=0.5))


# -- another autoencoder --------------------------------------------------------------------------------


def test_another_autoencoder_decodes_in_place_of_its_own(models, folder: Path, tmp_path: Path) -> None:
    other = copy.deepcopy(models["1.x"])
    stirred(other.first_stage, 7)
    repo = repository(other, tmp_path / "other")
    whole = single_file(other, tmp_path / "whole.safetensors", "1.x")
    alone = {key.removeprefix("first_stage_model."): t for key, t in load_file(whole).items() if "first_stage" in key}
    save_file(
        {**alone, "loss.logvar": torch.zeros(()), "model_ema.decay": torch.zeros(())}, tmp_path / "vae.safetensors"
    )
    wanted = picture(load_system(repo)[0])
    assert not torch.equal(wanted, picture(load_system(folder)[0]))
    for place in (repo, repo / "vae", whole, tmp_path / "vae.safetensors"):
        system, card = load_system(spelt(str(folder), vae=str(place)))
        assert torch.equal(picture(system), wanted)
        assert [one["kind"] for one in card["added"]] == ["vae"]
    out = tmp_path / "out.png"
    asked = ["--caption", CAPTION, "--steps", "2", "-n", "1", "--vae", str(repo / "vae"), "--out", str(out)]
    assert main(["sample", str(folder), *asked]) == 0 and read_record(out)["added"][0]["kind"] == "vae"


def test_an_autoencoder_of_another_model_is_refused(folder: Path, tmp_path: Path) -> None:
    repo = Path(shutil.copytree(folder, tmp_path / "other"))
    rewrite(repo / "vae" / "config.json", scaling_factor=0.5)
    for place, why in (
        (repo, r"latents have the scale 0\.5, and those of the model 0\.18215: it is of another"),
        (folder / "unet", "its first stage lacks"),
        (tmp_path / "none", "there is no .*none"),
    ):
        with pytest.raises(WeightsError, match=why):
            load_system(spelt(str(folder), vae=str(place)))
    with pytest.raises(UsageError, match="2 autoencoders"):
        load_system(f"{folder} | vae:a | vae:b")
