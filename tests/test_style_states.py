"""The checkpoints of stylegan2-pytorch: sizes by their shapes, every tensor in its place, and the same pictures.

STATES was obtained once from that program, on its pure-PyTorch path, with the tensors that ``style_pickles`` draws by
name: as PUBLIC of ``test_style_files``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import style_pickles as made
import torch
from safetensors.torch import save_file
from test_style_files import PUBLIC
from torch import Tensor
from torch.nn.functional import softplus

from zeuxis.api.adopt import Adoption, Plain, adopt, convert_file, hint
from zeuxis.catalog.weights import load_system
from zeuxis.errors import WeightsError
from zeuxis.rng import Stream

STATES: dict[str, Any] = {
    "image": [1.655505, 2.911299, -1.417898, -1.377412, 0.5484059, 3.47554, 0.9187157, 1.827989],
    "near": [0.9865983, 1.673757, 0.5695238, 0.179765, 0.6327474, 1.621815, 1.381172, 1.006982],
    "logit": [-3.782752, -3.202606],
    "gradient": 5.308256,
}
File = dict[str, Any]


def close(found: Tensor, wanted: Any) -> bool:
    a, b = found.detach(), torch.as_tensor(wanted)
    return bool((a - b).abs().max() <= 1e-4 * b.abs().max())


def trained() -> File:
    """What its training saves: networks that differ, states of optimisers, what it was called with."""
    generator, judge = made.states()
    raw = {name: value + 1 for name, value in generator.items() if not name.endswith("kernel")}
    raw |= {name: value for name, value in generator.items() if name not in raw}
    moments = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(4)}}, "param_groups": [{"lr": 0.002}]}
    return {
        "g": raw,
        "d": judge,
        "g_ema": generator,
        "g_optim": moments,
        "d_optim": moments,
        "args": argparse.Namespace(size=16, path="data"),
        "ada_aug_p": 0.0,
    }


def without(file: File, *keys: str) -> File:
    return {key: value for key, value in file.items() if key not in keys}


def saved(path: Path, file: Any) -> Path:
    torch.save(file, path)
    return path


def built_on() -> File:
    """What programs that encode pictures save: the generator under another name, the mean code once a layer."""
    generator, _ = made.states()
    told = Stream(4).normal(made.Z).expand(6, -1).clone()
    return {"state_dict": {f"decoder.{k}": v for k, v in generator.items()}, "latent_avg": told}


@pytest.mark.parametrize(
    ("file", "judged", "told"),
    [
        (trained, True, False),
        (lambda: trained() | {"latent_avg": Stream(4).normal(made.Z)}, True, True),
        (lambda: without(trained(), "d", "g"), False, False),
        (lambda: {"g": made.states()[0]}, False, False),
        (lambda: made.states()[0], False, False),
        (lambda: {"g_ema": {f"module.{k}": v for k, v in made.states()[0].items()}}, False, False),
        (lambda: {k: {f"module.{n}": v for n, v in trained()[k].items()} for k in ("g", "d", "g_ema")}, True, False),
        (built_on, False, True),
    ],
)
def test_a_state_dict_draws_what_its_own_program_draws(
    tmp_path: Path, file: Callable[[], File], judged: bool, told: bool
) -> None:
    done = convert_file(saved(tmp_path / "n.pt", file()))
    assert isinstance(done, Adoption) and done.system == "stylegan2" and done.architecture == "16x16"
    absent = {name.split(".")[0] for name in done.as_initialised}
    assert absent == {"path_mean"} | (set() if judged else {"discriminator"})
    game: Any = load_system(done.folder)[0].requires_grad_(True)
    z, mean = Stream(2).normal(2, made.Z), Stream(4).normal(made.Z)
    image = game.still(game.styles(z))
    assert close(image.flatten()[::193], STATES["image"])
    if told:
        assert torch.equal(game.generator.mean, mean)
    else:
        drawn = game.generator.mapping(Stream(7).normal(20_000, made.Z)).mean(0)
        assert (game.generator.mean - drawn).abs().max() < 0.1
    game.generator.mean.copy_(mean)
    assert close(game.still(game.styles(z, None, 0.5)).flatten()[::193], STATES["near"])
    if judged:
        logit = game.discriminator(image)
        assert close(logit, STATES["logit"])
        slopes = torch.autograd.grad(softplus(-logit).mean(), list(game.generator.parameters()), allow_unused=True)
        assert close(torch.cat([g.flatten() for g in slopes if g is not None]).norm(), STATES["gradient"])


def test_what_was_written_as_safetensors_becomes_a_model_too(tmp_path: Path) -> None:
    plain = convert_file(saved(tmp_path / "n.pt", trained()), tmp_path / "n.safetensors")
    assert isinstance(plain, Plain) and "--out FOLDER makes a model folder" in hint(plain.holds)
    for kind in (None, "stylegan2"):
        folder = tmp_path / str(kind)
        done = convert_file(plain.weights, folder) if kind is None else adopt(plain.weights, kind, folder)
        assert isinstance(done, Adoption) and done.outside > 0
        game: Any = load_system(folder)[0]
        assert close(game.still(game.styles(Stream(2).normal(2, made.Z))).flatten()[::193], STATES["image"])
    save_file({"other": torch.ones(2)}, tmp_path / "o.safetensors")
    with pytest.raises(WeightsError, match="no network file"):
        adopt(tmp_path / "o.safetensors", "stylegan2")


def test_half_precision_and_missing_noise_are_read(tmp_path: Path) -> None:
    """The program's early versions kept no noise; some files are halved for their size."""
    generator, judge = made.states()
    early = {name: value.half() for name, value in generator.items() if not name.startswith("noises.")}
    done = convert_file(saved(tmp_path / "n.pt", {"g_ema": early, "d": judge}))
    assert isinstance(done, Adoption)
    assert {name.rpartition(".")[2] for name in done.as_initialised} == {"noise", "path_mean"}
    game: Any = load_system(done.folder)[0]
    assert {value.dtype for value in game.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize("p", [0.25, torch.tensor(0.25)])
def test_augmentation_goes_on_where_it_was(tmp_path: Path, p: float | Tensor) -> None:
    done = convert_file(saved(tmp_path / "n.pt", trained() | {"ada_aug_p": p}))
    assert isinstance(done, Adoption) and done.system == "stylegan2-ada"
    game: Any = load_system(done.folder)[0]
    assert game.augmentation.p == pytest.approx(0.25) and game.geometry and game.colour


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("judged", [True, False])
def test_state_dicts_of_the_authors_names_draw_the_same(tmp_path: Path, classes: int, judged: bool) -> None:
    file = {"G_ema": made.values(made.stylegan2(classes), "G"), "G": made.values(made.stylegan2(classes), "G raw")}
    file |= {"D": made.values(made.discriminator(classes), "D")} if judged else {}
    done = convert_file(saved(tmp_path / "n.pt", file))
    assert isinstance(done, Adoption) and done.system == "stylegan2"
    assert any(name.startswith("discriminator.") for name in done.as_initialised) != judged
    game: Any = load_system(done.folder)[0]
    label = torch.tensor([0, 2]) if classes else None
    with torch.no_grad():
        image = game.still(game.styles(Stream(2).normal(2, made.Z), label))
        assert close(image.flatten()[::193], PUBLIC["stylegan2", classes]["image"])
        game.discriminator.deviation.group = 2  # which state dicts do not tell
        assert not judged or close(game.discriminator(image, label), PUBLIC["stylegan2", classes]["logit"])


def of_generator(change: Callable[[dict[str, Tensor]], object]) -> Callable[[], File]:
    def file() -> File:
        generator, judge = made.states()
        change(generator)
        return {"g_ema": generator, "d": judge}

    return file


def wider(generator: dict[str, Tensor]) -> None:
    """More channels at 8 pixels than at 4, in the bias that tells them."""
    generator["convs.1.activate.bias"] = torch.zeros(12)


def of_authors(name: str, value: Tensor) -> Callable[[], File]:
    return lambda: {"G_ema": made.values(made.stylegan2(), "G") | {name: value}}


@pytest.mark.parametrize(
    ("file", "says"),
    [
        (of_generator(lambda g: g.__delitem__("convs.1.conv.weight")), "n.pt: g_ema lacks convs.1.conv.weight"),
        (of_generator(lambda g: g.update({"iwt.ll": torch.ones(2, 2)})), "g_ema also holds iwt.ll"),
        (of_generator(lambda g: g["convs.0.conv.blur.kernel"].copy_(torch.eye(4))), "another filter"),
        (of_generator(wider), "8, 12, 4 channels from 4 pixels up"),
        (of_generator(lambda g: g.update({"style.1.weight": torch.zeros(0, 1 << 24)})), "do not lead from 6"),
        (of_generator(lambda g: g.update({"to_rgb1.conv.weight": torch.zeros(2, 3, 8, 1, 1)})), "first 1 are not 1"),
        (lambda: trained() | {"latent_avg": torch.zeros(7)}, r"latent_avg is of shape \(7,\), and codes have 6"),
        (lambda: trained() | {"latent_avg": torch.eye(6)}, "another code for each layer"),
        (of_authors("mapping.fc0.weight", torch.zeros(())), "latents of 0 numbers, codes of 0"),
        (of_authors("synthesis.b8.conv1.bias", torch.zeros(0)), "channels from 4 pixels up"),
        (of_authors("synthesis.b32.conv1.bias", torch.zeros(2)), "lacks"),
        (lambda: trained() | {"d": {"convs.0.0.weight": torch.zeros(1)}}, "n.pt: d lacks"),
    ],
)
def test_what_is_no_stylegan2_is_refused_by_name(tmp_path: Path, file: Callable[[], File], says: str) -> None:
    with pytest.raises(WeightsError, match=f"{says}.*--out FILE.safetensors writes its tensors as they are$"):
        convert_file(saved(tmp_path / "n.pt", file()))
    assert [p.name for p in tmp_path.iterdir()] == ["n.pt"]
