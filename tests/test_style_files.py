"""The public network files: read without their programs, every tensor in its place, and the same pictures.

PUBLIC was obtained once from the authors' programs (stylegan3 and its networks_stylegan2, on their pure-PyTorch path)
with the tensors that ``style_pickles`` draws by name: pictures of two latents with and without truncation, what the
discriminator says of them, and the norm of its loss's gradient by the generator's parameters; then R1 through a blur.
"""

from __future__ import annotations

import io
import math
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import style_pickles as made
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu, pad, softplus

from zeuxis.api.adopt import Adoption, Plain, adopt, convert_file
from zeuxis.catalog.weights import load_system
from zeuxis.cli import main
from zeuxis.errors import DataError, UsageError, WeightsError
from zeuxis.losses.penalty import r1
from zeuxis.nn.lowpass import blurred
from zeuxis.pretrained.unpickle import bounds, files, machine
from zeuxis.rng import Stream

PUBLIC: dict[tuple[str, int], dict[str, Any]] = {
    ("stylegan2", 0): {
        "image": [-0.01730876, 1.814034, -0.2622757, -0.4950926, -0.6383582, -2.803161, -0.4414355, -0.3941067],
        "near": [-0.4539763, 0.8653125, -0.1265883, -0.8615927, -5.410103, -7.056875, -2.157503, -0.8184016],
        "logit": [0.5072883, 0.3907668],
        "gradient": 0.906209,
    },
    ("stylegan3-t", 0): {
        "image": [0.006348729, -0.09115939, 0.1839154, -0.0989534, 0.1165885, 0.1239187, 0.1213732, -0.1159703],
        "near": [0.04578277, -0.1732942, 0.4609095, -0.1998504, 0.08511689, -0.03713173, 0.2081452, -0.217516],
        "logit": [0.1421486, 0.1334455],
        "gradient": 0.06871744,
    },
    ("stylegan3-r", 0): {
        "image": [-0.02090032, -0.0119372, 0.1853298, -0.1074467, 0.1140165, 0.04135355, 0.04052007, 0.06018518],
        "near": [0.08613098, 0.09866768, 0.03581217, 0.02990679, 0.03747042, 0.1691264, 0.02477711, 0.02269392],
        "logit": [0.1309481, 0.1502786],
        "gradient": 0.07338001,
    },
    ("stylegan2", 3): {
        "image": [-0.9190678, 2.90282, 0.8641202, -0.3886705, 0.1493385, 1.376425, 2.431389, -2.00069],
        "near": [0.3097942, 2.080526, 0.504124, -0.3269915, -2.448676, -1.313612, -0.2175691, -0.2320326],
        "logit": [-2.325289, -3.781309],
        "gradient": 10.57811,
    },
    ("stylegan3-t", 3): {
        "image": [-0.02832043, -0.08015099, 0.07901186, -0.06090502, 0.03344927, 0.02677755, 0.110644, -0.1517506],
        "near": [0.04971574, -0.1592153, 0.3179139, -0.1873739, 0.08210559, -0.1424057, 0.05424314, -0.1174732],
        "logit": [-0.6130881, -0.7249286],
        "gradient": 0.2953863,
    },
    ("stylegan3-r", 3): {
        "image": [-0.03466213, 0.006180272, 0.1012456, -0.08534278, 0.02683245, 0.07738478, 0.04728464, -0.1666276],
        "near": [0.005503461, -0.006168708, 0.1369057, -0.1560563, 0.08452421, 0.05836168, 0.09089854, -0.1987126],
        "logit": [-0.608215, -0.7688028],
        "gradient": 0.3361867,
    },
}
R1 = {0: (0.03458238, 0.1416166), 3: (0.3431707, 1.140385)}  # at gamma 32.8, and its gradient's norm


@pytest.fixture(autouse=True)
def _names() -> Iterator[None]:
    with made.public_names():
        yield


def file_of(system: str, classes: int = 0, **options: Any) -> dict[str, Any]:
    if system.startswith("stylegan2"):
        shapes, settings = made.stylegan2(classes), made.smooth_settings(classes)
    else:
        radial = system.endswith("r")
        shapes, settings = made.stylegan3(radial, classes), made.alias_free_settings(radial, classes)
    return made.torch_file(shapes, settings, classes=classes, **options)


def written(path: Path, what: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(what, protocol=protocol))
    return path


def close(found: Tensor | float, wanted: Any, rel: float = 1e-4) -> bool:
    a, b = torch.as_tensor(found).detach(), torch.as_tensor(wanted)
    return bool((a - b).abs().max() <= rel * b.abs().max())


@pytest.mark.parametrize(("system", "classes"), PUBLIC)
def test_a_network_file_draws_what_its_own_program_draws(tmp_path: Path, system: str, classes: int) -> None:
    mark = tmp_path / "ran"
    program = made.PROGRAM.format(mark=str(mark))
    done = convert_file(written(tmp_path / "n.pkl", file_of(system, classes, program=program)))
    assert isinstance(done, Adoption) and done.folder == tmp_path / "n"
    assert done.system == system and done.outside > 0 and any("Layer" in name for name in done.programs)
    assert not mark.exists()
    game: Any = load_system(done.folder)[0].requires_grad_(True)
    label = torch.tensor([0, 2]) if classes else None
    z, public = Stream(2).normal(2, made.Z), PUBLIC[system, classes]
    image = game.still(game.styles(z, label))
    assert close(image.flatten()[::193], public["image"])
    assert close(game.still(game.styles(z, label, 0.5)).flatten()[::193], public["near"])
    logit = game.discriminator(image, label)
    assert close(logit, public["logit"])
    slopes = torch.autograd.grad(softplus(-logit).mean(), list(game.generator.parameters()), allow_unused=True)
    assert close(torch.cat([g.flatten() for g in slopes if g is not None]).norm(), public["gradient"])


@pytest.mark.parametrize(("system", "classes"), [("stylegan2", 0), ("stylegan2", 3), ("stylegan3-r", 0)])
@pytest.mark.parametrize("alone", [False, True])
def test_a_generator_without_its_discriminator_draws_the_same(
    tmp_path: Path, system: str, classes: int, alone: bool
) -> None:
    """Files are cut down to the average; what is tuned to a picture is saved by itself, as torch.save does it."""
    average = file_of(system, classes)["G_ema"]
    path = tmp_path / "n.pt"
    torch.save(average, path) if alone else written(path, {"G_ema": average})
    done = convert_file(path)
    assert isinstance(done, Adoption) and done.system == system
    assert {name.split(".")[0] for name in done.as_initialised} <= {"discriminator", "path_mean"}
    game: Any = load_system(done.folder)[0]
    label = torch.tensor([0, 2]) if classes else None
    with torch.no_grad():
        image = game.still(game.styles(Stream(2).normal(2, made.Z), label))
    assert close(image.flatten()[::193], PUBLIC[system, classes]["image"])


def test_a_discriminator_of_another_architecture_is_left_out(tmp_path: Path) -> None:
    """As of the published files of CIFAR-10, whose generator is like any other."""
    file = file_of("stylegan2")
    layer(file["D"].meta["state"], "b16")["architecture"] = "orig"
    done = convert_file(written(tmp_path / "n.pkl", file))
    assert isinstance(done, Adoption)
    assert done.dropped and all(key.startswith("D.") for key in done.dropped)
    assert any(name.startswith("discriminator.") for name in done.as_initialised)
    game: Any = load_system(done.folder)[0]
    with torch.no_grad():
        image = game.still(game.styles(Stream(2).normal(2, made.Z)))
    assert close(image.flatten()[::193], PUBLIC["stylegan2", 0]["image"])


@pytest.mark.parametrize("classes", R1)
def test_r1_through_a_blur_is_the_public_one(tmp_path: Path, classes: int) -> None:
    done = convert_file(written(tmp_path / "n.pkl", file_of("stylegan3-r", classes)))
    assert isinstance(done, Adoption)
    judge: Any = load_system(done.folder)[0].discriminator.requires_grad_(True)
    label = torch.tensor([0, 2]) if classes else None
    real = Stream(3).uniform(2, 3, 16, 16) * 2 - 1
    penalty = 32.8 / 2 * r1(lambda image: judge(blurred(image, 1.7), label), real)
    slopes = torch.autograd.grad(penalty, list(judge.parameters()), allow_unused=True)
    norm = torch.cat([g.flatten() for g in slopes if g is not None]).norm()
    assert close(penalty, R1[classes][0]) and close(norm, R1[classes][1])


@pytest.mark.parametrize(("version", "classes"), [(4, 0), (5, 0), (5, 3)])
def test_a_file_of_tensorflow_draws_the_same(tmp_path: Path, version: int, classes: int) -> None:
    mark = tmp_path / "ran"
    settings = {"synthesis_func": "G_synthesis"} if version == 5 else {}
    settings |= {"mapping_lrmul": 0.01} if classes else {}
    file = made.flow_file(version, program=made.PROGRAM.format(mark=str(mark)), classes=classes, **settings)
    done = convert_file(written(tmp_path / "n.pkl", file))
    assert isinstance(done, Adoption) and done.system == "stylegan2" and not mark.exists()
    assert done.programs == ("dnnlib.tflib.network.Network",)
    game: Any = load_system(done.folder)[0]
    public, label = PUBLIC["stylegan2", classes], torch.tensor([0, 2]) if classes else None
    with torch.no_grad():
        image = game.still(game.styles(Stream(2).normal(2, made.Z), label))
    assert close(image.flatten()[::193], public["image"])
    game.discriminator.deviation.group = 2  # there 4, as its program has it
    assert close(game.discriminator(image, label), public["logit"])


def convolved(x: Tensor, weight: Tensor, gain: float = math.sqrt(2)) -> Tensor:
    """TensorFlow's convolution by a kernel ``(k, k, I, O)`` under He's constant."""
    k, _, inputs, _ = weight.shape
    return conv2d(x, weight.permute(3, 2, 0, 1) * gain / math.sqrt(k * k * inputs), padding=k // 2)


def summed(weight: Tensor) -> Tensor:
    """``(3, 3, I, O)`` to ``(4, 4, I, O)``: a kernel, moved by no and by one pixel along both axes, added up."""
    wide = pad(weight, (0, 0, 0, 0, 1, 1, 1, 1))
    return wide[1:, 1:] + wide[:-1, 1:] + wide[1:, :-1] + wide[:-1, :-1]


def enlarged(x: Tensor, weight: Tensor, fused: bool) -> Tensor:
    if not fused:
        return convolved(x.repeat_interleave(2, 2).repeat_interleave(2, 3), weight)
    kernel = summed(weight).permute(2, 3, 0, 1) * math.sqrt(2) / math.sqrt(9 * weight.shape[2])
    return conv_transpose2d(x, kernel, stride=2, padding=1)


def smoothed(x: Tensor) -> Tensor:
    line = torch.tensor([1.0, 2.0, 1.0]) / 4
    return conv2d(x, torch.outer(line, line).expand(x.shape[1], 1, 3, 3), padding=1, groups=x.shape[1])


def activated(x: Tensor, bias: Tensor) -> Tensor:
    return leaky_relu(x + bias[:, None, None], 0.2)


def as_tensorflow_draws(side: int, styles: bool, z: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures and logits as the public programs of ProGAN and StyleGAN define them, from their variables."""
    made_of, judge = made.grown(side, styles)
    unit = z / z.square().mean(1, keepdim=True).sqrt()
    top = side.bit_length() - 3
    code = unit
    if styles:
        for k in range(2):
            weight = 100 * Stream(6, f"Dense{k}.weight").normal(*made.mapping(2)[f"fc{k}.weight"][::-1])
            bias = 100 * Stream(6, f"Dense{k}.bias").normal(made.W)
            code = leaky_relu(code @ weight * (0.01 * math.sqrt(2) / math.sqrt(len(weight))) + 0.01 * bias, 0.2)
    x = z
    for level in range(top + 1):
        name = f"{4 << level}x{4 << level}"
        for k, layer in enumerate(("Conv0_up", "Conv1") if level else ("Const" if styles else "Dense", "Conv")):
            weight = made_of.get(f"{name}/{layer}/weight")
            if layer == "Const":
                x = made_of["4x4/Const/const"].expand(len(z), -1, -1, -1)
            elif layer == "Dense":
                x = (unit @ made_of["4x4/Dense/weight"] * (math.sqrt(2) / 4 / math.sqrt(made.Z))).view(len(z), -1, 4, 4)
            elif layer == "Conv0_up":
                x = enlarged(x, weight, not styles or 4 << level >= 128)
                x = smoothed(x) if styles else x
            else:
                x = convolved(x, weight)
            if styles:
                x = x + made_of[f"noise{2 * level + k}"] * made_of[f"{name}/{layer}/Noise/weight"][:, None, None]
            x = activated(x, made_of[f"{name}/{layer}/bias"])
            if styles:
                x = x - x.mean((2, 3), keepdim=True)
                x = x / x.square().mean((2, 3), keepdim=True).sqrt()
                style = code @ made_of[f"{name}/{layer}/StyleMod/weight"] / math.sqrt(made.W)
                style = (style + made_of[f"{name}/{layer}/StyleMod/bias"]).view(len(z), 2, -1, 1, 1)
                x = x * (style[:, 0] + 1) + style[:, 1]
            else:
                x = x / x.square().mean(1, keepdim=True).sqrt()
    image = convolved(x, made_of["ToRGB_lod0/weight"], 1.0) + made_of["ToRGB_lod0/bias"][:, None, None]
    x = activated(convolved(image, judge["FromRGB_lod0/weight"]), judge["FromRGB_lod0/bias"])
    for level in range(top, 0, -1):
        name = f"{4 << level}x{4 << level}"
        x = activated(convolved(x, judge[f"{name}/Conv0/weight"]), judge[f"{name}/Conv0/bias"])
        x = smoothed(x) if styles else x
        weight = judge[f"{name}/Conv1_down/weight"]
        kernel = summed(weight).permute(3, 2, 0, 1) / 4 * math.sqrt(2) / math.sqrt(9 * weight.shape[2])
        x = activated(conv2d(x, kernel, stride=2, padding=1), judge[f"{name}/Conv1_down/bias"])
    spread = ((x - x.mean(0)).square().mean(0) + 1e-8).sqrt().mean()
    x = torch.cat([x, spread.expand(len(x), 1, 4, 4)], 1)
    x = activated(convolved(x, judge["4x4/Conv/weight"]), judge["4x4/Conv/bias"]).flatten(1)
    x = x @ judge["4x4/Dense0/weight"] * math.sqrt(2 / x.shape[1]) + judge["4x4/Dense0/bias"]
    x = leaky_relu(x, 0.2)
    return image, (x @ judge["4x4/Dense1/weight"] / math.sqrt(x.shape[1]) + judge["4x4/Dense1/bias"])[:, 0]


@pytest.mark.parametrize(("system", "side"), [("progan", 16), ("stylegan", 128)])
def test_the_files_of_growing_networks_draw_as_their_programs_say(tmp_path: Path, system: str, side: int) -> None:
    styles = system == "stylegan"
    done = convert_file(written(tmp_path / "n.pkl", made.grown_file(side, styles)))
    assert isinstance(done, Adoption) and done.system == system and done.architecture == f"{side}x{side}"
    game: Any = load_system(done.folder)[0]
    z = Stream(2).normal(2, made.Z)
    wanted, logit = as_tensorflow_draws(side, styles, z)
    with torch.no_grad():
        found = game.decode(z)
        assert close(found, wanted.clamp(-1, 1)) and float(wanted.std()) > 0.1
        assert close(game.discriminator(wanted, float(game.level)), logit)
    assert float(game.level) == side.bit_length() - 3
    with pytest.raises(WeightsError, match="use_wscale = False, and True alone is read"):
        convert_file(written(tmp_path / "m.pkl", made.grown_file(side, styles, use_wscale=False)))


def test_a_file_of_adaptive_augmentation_keeps_its_probability(tmp_path: Path) -> None:
    done = convert_file(written(tmp_path / "n.pkl", file_of("stylegan2", pipe=True)))
    assert isinstance(done, Adoption) and done.system == "stylegan2-ada"
    game: Any = load_system(done.folder)[0]
    assert game.augmentation.p == pytest.approx(0.25) and game.geometry and game.colour


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_of_pickles_is_read(tmp_path: Path, protocol: int) -> None:
    done = convert_file(written(tmp_path / "n.pkl", file_of("stylegan3-t"), protocol), tmp_path / "n.safetensors")
    assert isinstance(done, Plain)
    found = load_file(done.weights)
    wanted = {f"G_ema.{k}": v for k, v in made.values(made.stylegan3(False), "G").items() if not k.endswith("size")}
    assert all(torch.equal(found[name], value) for name, value in wanted.items())
    assert found["G_ema.synthesis.L0_36_8.in_size"].tolist() == [1, 1]  # an array of numpy
    text = done.facts.read_text()
    assert '"gain": 0.5' in text and "img_resolution" in text


def test_programs_are_counted_and_not_kept(tmp_path: Path) -> None:
    secret = "x = 'never to be seen'\n" * 50
    done = convert_file(written(tmp_path / "n.pkl", file_of("stylegan3-t", program=secret)), tmp_path / "n.safetensors")
    assert isinstance(done, Plain) and "never to be seen" not in done.facts.read_text()
    done = convert_file(written(tmp_path / "m.pkl", made.flow_file(program=secret)), tmp_path / "m.safetensors")
    assert isinstance(done, Plain) and f"<{len(secret)} characters>" in done.facts.read_text()


def test_arrays_of_numpy_come_out_equal(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "plain": rng.standard_normal((3, 4)).astype(np.float32),
        "columns first": np.asfortranarray(rng.standard_normal((2, 3, 4))),
        "whole": np.arange(6).reshape(2, 3),
        "bools": np.array([True, False]),
        "none": np.zeros((0, 3), np.float32),
        "one": np.array(2.5, np.float16),
    }
    done = convert_file(
        written(tmp_path / "n.pkl", arrays | {"texts": np.array(["a"], object), "big": np.arange(3, dtype=">f4")})
    )
    assert isinstance(done, Plain)
    found = load_file(done.weights)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].numpy().dtype == array.dtype and np.array_equal(found[name].numpy(), array)


# -- what is refused ----------------------------------------------------------------------------------


def changed(system: str, change: Callable[[dict[str, Any]], None], **options: Any) -> dict[str, Any]:
    """A file whose average generator's state was changed."""
    file = file_of(system, **options)
    change(file["G_ema"].meta["state"])
    return file


def layer(state: dict[str, Any], *names: str) -> dict[str, Any]:
    for name in names:
        state = state["_modules"][name].meta["state"]
    return state


def without(state: dict[str, Any]) -> None:
    del layer(state, "synthesis", "L1_36_8")["_parameters"]["bias"]


def more(state: dict[str, Any]) -> None:
    layer(state, "synthesis", "L1_36_8")["_parameters"]["other"] = torch.ones(1)


def many_classes(system: str) -> dict[str, Any]:
    """A file that is said to know more classes than there is room for, by a table of no numbers."""

    def change(state: dict[str, Any]) -> None:
        state["c_dim"] = 1 << 24
        state["_modules"]["mapping"].meta["state"]["_modules"]["embed"].meta["state"]["_parameters"]["weight"] = (
            torch.zeros(0, 1 << 24)
        )

    file = changed(system, change, classes=3)
    file["D"].meta["state"]["c_dim"] = 1 << 24
    return file


@pytest.mark.parametrize(
    ("file", "says"),
    [
        (lambda: file_of("stylegan3-t", version=5), "version 5 of torch_utils.persistence; 6 is read"),
        (lambda: file_of("stylegan3-t", version=(1, 2)), "version unknown"),
        (lambda: changed("stylegan3-t", without), "lacks G.synthesis.L1_36_8.bias"),
        (lambda: changed("stylegan3-t", more), "also holds G.synthesis.L1_36_8.other"),
        (
            lambda: changed("stylegan3-t", lambda s: layer(s, "synthesis")["_init_kwargs"].update(conv_kernel=5)),
            "neither StyleGAN3-T nor R",
        ),
        (
            lambda: changed("stylegan3-t", lambda s: layer(s, "synthesis").update(margin_size=4)),
            "margin_size = 4, and 10 alone is read",
        ),
        (
            lambda: changed("stylegan3-t", lambda s: layer(s, "synthesis")["_init_kwargs"].update(conv_kernel=[3])),
            "neither",
        ),
        (lambda: changed("stylegan3-t", lambda s: layer(s, "synthesis").update(_modules=5)), "no part called|lacks"),
        (lambda: changed("stylegan2", lambda s: s.update(z_dim=0)), "z_dim = 0, and 1 to"),
        (
            lambda: changed("stylegan2", lambda s: layer(s, "synthesis")["_init_kwargs"].update(channel_max=1 << 30)),
            "channel_max = 1073741824, and 1 to",
        ),
        (lambda: many_classes("stylegan2"), "knows? .* classes, and its tensors know others"),
        (lambda: made.flow_file(change={"synthesis/noise0": np.zeros(3, np.float32)}), "whose first 2 are not 1"),
        (
            lambda: made.flow_file(change={"synthesis/4x4/Const/const": np.zeros((), np.float32)}),
            "whose first 1 are not 1",
        ),
        (
            lambda: changed("stylegan3-t", lambda s: layer(s, "synthesis").update(num_layers=1_000_000)),
            "said to have 1000000 layers",
        ),
        (
            lambda: changed("stylegan3-t", lambda s: layer(s, "synthesis")["_init_kwargs"].update(channel_max=10**7)),
            "is of shape|lacks",
        ),
        (lambda: changed("stylegan3-t", lambda s: s.update(c_dim=2**30)), "c_dim|classes"),
        (lambda: changed("stylegan3-t", lambda s: s.update(img_resolution="16")), "does not tell its img_resolution"),
        (
            lambda: changed("stylegan3-t", lambda s: layer(s, "synthesis", "input")["_buffers"]["transform"].mul_(2)),
            "with the identity",
        ),
        (
            lambda: changed("stylegan2", lambda s: layer(s, "synthesis", "b4").update(architecture="orig")),
            "architecture = orig, and skip alone is read",
        ),
        (
            lambda: changed("stylegan2", lambda s: layer(s, "synthesis", "b8")["_buffers"]["resample_filter"].mul_(2)),
            "another filter",
        ),
        (lambda: changed("stylegan3-t", lambda s: s.update(img_resolution=2**20)), "said to draw 1048576 pixels"),
        (lambda: made.flow_file(version=9), "version 9; versions 2 to 5 are read"),
        (lambda: made.flow_file(version=3, build="G_style"), "has no place in stylegan"),
        (lambda: made.flow_file(build="G_other"), "built by G_other"),
        (lambda: made.flow_file(synthesis_func="G_synthesis_stylegan"), "configurations A to D"),
        (lambda: made.flow_file(label_size=10), "label_size = 10, and 0 alone is read"),
        (lambda: made.flow_file(5, label_size=10), "said to know 10 classes, and its tensors know others"),
        (lambda: made.flow_file(5, classes=3), "maps classes at another mapping_lrmul than 0.01"),
    ],
)
def test_what_no_system_is_is_refused_by_name(tmp_path: Path, file: Callable[[], object], says: str) -> None:
    path = written(tmp_path / "n.pkl", file())
    with pytest.raises((WeightsError, DataError), match=says) as raised:
        convert_file(path)
    assert "\n" not in str(raised.value)
    assert [p.name for p in tmp_path.iterdir()] == ["n.pkl"]


class Calls:
    """Pickles as a call of a function by its name alone."""

    def __init__(self, module: str, name: str, *args: object, state: object = None) -> None:
        self.how = module, name, args, state


def handmade(value: object) -> bytes:
    """A pickle in which :class:`Calls` name what need not be there."""

    class Pickler(pickle._Pickler):  # type: ignore[name-defined,misc]
        def save(self, obj: object, save_persistent_id: bool = True) -> None:
            if not isinstance(obj, Calls):
                super().save(obj, save_persistent_id)
                return
            module, name, args, state = obj.how
            self.write(f"c{module}\n{name}\n".encode())
            super().save(args)
            self.write(b"R")
            if state is not None:
                super().save(state)
                self.write(b"b")

    out = io.BytesIO()
    Pickler(out, 2).dump(value)
    return out.getvalue()


def storage(n: int = 4) -> bytes:
    out = io.BytesIO()
    torch.save(torch.ones(n).untyped_storage(), out, _use_new_zipfile_serialization=False)
    return out.getvalue()


def an_array(shape: object, data: bytes, kind: str = "f4") -> Calls:
    numpy_kind = Calls("numpy", "dtype", kind, 0, 1, state=(3, "<", None, None, None, -1, -1, 0))
    return Calls("numpy.core.multiarray", "_reconstruct", None, (0,), b"b", state=(1, shape, numpy_kind, False, data))


LOADED = ("torch.storage", "_load_from_bytes")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"w": an_array((2, 2), bytes(16))}, ""),  # the control: this one is sound
        ({"w": an_array((2, 3), bytes(16))}, "beyond its storage"),
        ({"w": an_array((1 << 61, 1 << 61), bytes(16))}, "beyond its storage"),
        ({"w": an_array((-1,), bytes(16))}, "impossible shape"),
        ({"w": an_array((1 << 62,) * 40, bytes(16))}, "impossible shape"),
        ({"w": an_array(("a",), bytes(16))}, "impossible shape"),
        ({"w": an_array([4], bytes(16))}, "badly described"),
        ({"w": Calls(*LOADED, b"cos\nsystem\n(S'true'\ntR.")}, "not written by torch.save"),
        ({"w": Calls(*LOADED, storage()[:-4])}, "cut short"),
        ({"w": Calls(*LOADED, pickle.dumps(0x1950A86A20F9469CFC6C))}, "damaged"),
        ({"w": Calls("torch_utils.persistence", "_reconstruct_persistent_obj", [1])}, "badly described"),
        ({"w": Calls("torch_utils.persistence", "_reconstruct_persistent_obj", {"type": "class"})}, "badly described"),
    ],
)
def test_bent_pickles_are_refused_in_one_line(tmp_path: Path, value: object, says: str) -> None:
    path = tmp_path / "n.pkl"
    path.write_bytes(handmade(value))
    if not says:
        done = convert_file(path)
        assert isinstance(done, Plain) and load_file(done.weights)["w"].tolist() == [[0, 0], [0, 0]]
        return
    with pytest.raises(DataError, match=says) as raised:
        convert_file(path)
    assert "\n" not in str(raised.value)


def test_the_same_numbers_are_not_unpacked_for_ever(tmp_path: Path) -> None:
    """A file within the file is read once; a short pickle could ask for it a million times."""
    once = handmade(storage(1 << 14))[2:-1]  # pushes the bytes
    program = b"\x80\x02" + once + b"q\x000](" + b"ctorch.storage\n_load_from_bytes\nh\x00\x85R" * 10_000 + b"e."
    (tmp_path / "n.pkl").write_bytes(program)
    with pytest.raises(DataError, match="over and over"):
        convert_file(tmp_path / "n.pkl")


def test_an_array_is_not_filled_for_ever(tmp_path: Path) -> None:
    """Its bytes are copied each time; a short pickle could ask for it a million times."""
    whole = handmade({"w": an_array((1 << 12,), b"a" * (1 << 12), "i1")})
    path = tmp_path / "n.pkl"
    path.write_bytes(whole)
    assert isinstance(convert_file(path), Plain)
    assert whole.endswith(b"tq\x11bs.")  # its contents are remembered as number 0x11
    path.write_bytes(whole[:-2] + b"h\x11b" + b"s.")
    with pytest.raises(DataError, match="over and over"):
        convert_file(path)


def test_files_within_a_file_share_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    content = storage()
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    assert content.startswith(magic)
    longer = b"\x80\x02](" + b"N" * 600 + b"e0" + magic[2:] + content[len(magic) :]  # a list of 600, let go
    monkeypatch.setattr(bounds, "MAX_WORK", 1000)
    budget = bounds.WorkBound(1 << 20)
    assert files.read_within(longer, budget).count == 16
    with pytest.raises(bounds.Refused, match="MAX_WORK"):
        files.read_within(longer, budget)
    outer = machine.Machine(budget)
    with pytest.raises(bounds.Refused, match="holds another file"):
        outer.call(machine.LOADED, (content,))


def test_a_file_that_was_cut_is_refused(tmp_path: Path) -> None:
    whole = pickle.dumps(file_of("stylegan3-r"))
    for share in (0.1, 0.5, 0.999):
        path = tmp_path / f"{share}.pkl"
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(DataError, match=re.escape(f"{share}.pkl cannot be converted")):
            convert_file(path)


# -- the command --------------------------------------------------------------------------------------


def test_the_command_makes_a_folder_that_is_sampled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "n.pkl", file_of("stylegan3-r", 3))
    assert main(["convert", str(path), "--as", "stylegan3-r"]) == 0
    said = capsys.readouterr().out
    assert "stylegan3-r, 16x16" in said and "which were not run" in said
    assert main(["sample", str(tmp_path / "n"), "-n", "2", "--label", "1", "--out", str(tmp_path / "p")]) == 0
    assert (tmp_path / "p" / "0001.png").is_file()
    capsys.readouterr()
    assert main(["convert", str(path), "--as", "stylegan2", "--out", str(tmp_path / "o")]) != 0
    assert "holds a stylegan3-r, not 'stylegan2': use --as stylegan3-r" in capsys.readouterr().err
    with pytest.raises(UsageError, match="draws 16 pixels a side, not 32"):
        adopt(path, "stylegan3-r", tmp_path / "o", size=32)
    torch.save({"w": torch.ones(1)}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="is no network file"):
        adopt(tmp_path / "w.pt", "stylegan3-r", tmp_path / "o")
