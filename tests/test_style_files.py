"""The public network files: read without their programs, every tensor in its place, and the same pictures.

PUBLIC was obtained once from the authors' programs (stylegan3 and its networks_stylegan2, on their pure-PyTorch path)
with the tensors that ``style_pickles`` draws by name: pictures of two latents with and without truncation, what the
discriminator says of them, and the norm of its loss's gradient by the generator's parameters; then R1 through a blur.
"""

from __future__ import annotations

import io
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
from torch.nn.functional import softplus

from zeuxis.api.adopt import Adoption, Plain, adopt, convert_file
from zeuxis.catalog.weights import load_system
from zeuxis.cli import main
from zeuxis.errors import DataError, UsageError, WeightsError
from zeuxis.losses.penalty import r1
from zeuxis.nn.lowpass import blurred
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


def test_a_file_of_tensorflow_draws_the_same(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    done = convert_file(written(tmp_path / "n.pkl", made.flow_file(program=made.PROGRAM.format(mark=str(mark)))))
    assert isinstance(done, Adoption) and done.system == "stylegan2" and not mark.exists()
    assert done.programs == ("dnnlib.tflib.network.Network",)
    game: Any = load_system(done.folder)[0]
    public = PUBLIC["stylegan2", 0]
    with torch.no_grad():
        image = game.still(game.styles(Stream(2).normal(2, made.Z)))
    assert close(image.flatten()[::193], public["image"])
    game.discriminator.deviation.group = 2  # there 4, as its program has it
    assert close(game.discriminator(image), public["logit"])


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
            lambda: changed("stylegan3-t", lambda s: layer(s, "synthesis").update(num_layers=1_000_000_000)),
            "said to have 1000000000 layers",
        ),
        (
            lambda: changed("stylegan3-t", lambda s: layer(s, "synthesis")["_init_kwargs"].update(channel_max=10**9)),
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
        (lambda: made.flow_file(version=9), "version 9; versions 2, 3 and 4 are read"),
        (lambda: made.flow_file(version=3, build="G_style"), "is a StyleGAN, and no system|StyleGAN"),
        (lambda: made.flow_file(build="G_other"), "built by G_other"),
        (lambda: made.flow_file(synthesis_func="G_synthesis_stylegan"), "configurations A to D"),
        (lambda: made.flow_file(label_size=10), "label_size = 10, and 0 alone is read"),
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
