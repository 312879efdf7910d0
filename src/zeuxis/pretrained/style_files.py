"""The public network files of ProGAN and the style-based generators, and which of our systems they are.

A file of StyleGAN2's later programs and of StyleGAN3 holds a generator, its average and a discriminator, objects whose
program lies beside their tensors; one of the TensorFlow programs a tuple of the same, networks of named variables.
Neither program is run: what ``unpickle.py`` read of them is tensors and settings. Settings that no system here has are
refused by name; of tensors, every one has its place, or is known to need none.

Their maps, by way of the names of the PyTorch program: theirs -> ours
    mapping.fc{i} -> generator.mapping.layers.{i}    synthesis.b{R} -> generator.synthesis.blocks.{k}, R = 4 << k
    synthesis.L{i}_{size}_{channels} -> generator.synthesis.convolutions.{i}    b{R} of a discriminator -> blocks

Axes: k side of a kernel, I and O channels in and out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zeuxis.batch import Shape
from zeuxis.errors import WeightsError
from zeuxis.nn.upfirdn import BLUR
from zeuxis.pretrained.kind import check_keys
from zeuxis.spec import MOST_SIDE

SYSTEMS = ("progan", "stylegan", "stylegan2", "stylegan2-ada", "stylegan3-t", "stylegan3-r")
READ = "read are ProGAN, StyleGAN, StyleGAN2, StyleGAN2-ADA and StyleGAN3, T and R"
OBJECT = "persistent "  # before the names of classes whose program was beside them


@dataclass(frozen=True)
class StyleFile:
    """What a network file holds: a system, its arguments, and the public tensors by the PyTorch program's names."""

    system: str
    shape: Shape
    classes: int
    arguments: Mapping[str, Any]
    public: Mapping[str, Tensor]  # "G." or "D." before the names
    renamed: bool = False  # whether those are ours already


@dataclass(frozen=True)
class Piece:
    """A network or a layer in a file, as its settings tell it."""

    name: str  # of its class
    state: Mapping[str, Any]
    what: str  # where it is, for messages

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The keywords that it was built with."""
        found = self.state.get("_init_kwargs")
        return found if isinstance(found, dict) else {}

    def child(self, name: str) -> Piece:
        """A layer of it. Raises :class:`WeightsError` where there is none."""
        within = self.state.get("_modules")
        found = piece_of(within.get(name) if isinstance(within, dict) else None, f"{self.what}.{name}")
        if found is None:
            raise WeightsError(f"{self.what} has no part called {name}: {READ}")
        return found

    def number(self, name: str, default: int | None = None) -> int:
        """A whole number among its settings. Raises :class:`WeightsError` where there is none, or one below 0."""
        found = self.state.get(name, self.arguments.get(name, default))
        if type(found) is not int or not 0 <= found < 1 << 31:
            raise WeightsError(f"{self.what} does not tell its {name}: {READ}")
        return found

    def side(self, name: str, default: int | None = None) -> int:
        """The height and width of its pictures. Raises :class:`WeightsError` where they are no size of a picture."""
        found = self.number(name, default)
        if not 4 < found <= MOST_SIDE:
            raise WeightsError(f"{self.what} is said to draw {found} pixels a side: {READ}, up to {MOST_SIDE}")
        return found

    @property
    def clamp(self) -> float | None:
        """Its ``conv_clamp``, where it has one. Raises :class:`WeightsError` where that is no bound."""
        found = self.arguments.get("conv_clamp")
        if found is not None and not (type(found) in (int, float) and found > 0):
            raise WeightsError(f"{self.what} is cut off at {str(found)[:60]}, which is no bound: {READ}")
        return found

    def must_be(self, **wanted: Any) -> None:
        """Raise :class:`WeightsError` for a setting that is told and is another."""
        for name, value in wanted.items():
            found = self.state.get(name, self.arguments.get(name, value))
            if found != value:
                raise WeightsError(f"{self.what} was built with {name} = {str(found)[:60]}, and {value} alone is read")


def piece_of(facts: Any, what: str) -> Piece | None:
    """What :mod:`zeuxis.pretrained.unpickle` told of an object, if it is one with settings."""
    if not isinstance(facts, dict) or not isinstance(facts.get("object"), str):
        return None
    states = [part for part in facts.get("parts", ()) if isinstance(part, dict)]
    return Piece(facts["object"].removeprefix(OBJECT), states[-1], what) if states else None


def is_style_file(facts: Any) -> bool:
    """Whether a file of these facts is a network file of one of the two programs, of whatever version."""
    return _torch_parts(facts) is not None or _flow_parts(facts) is not None


def read_style_file(facts: Any, tensors: Mapping[str, Tensor], what: str) -> StyleFile:
    """What the file ``what`` holds, of which ``facts`` and ``tensors`` were read.

    Raises :class:`WeightsError` for networks that no system here is.
    """
    parts = _torch_parts(facts)
    if parts is not None:
        generator, discriminator = parts
        public = _renamed(tensors, {"G_ema.": "G.", "D.": "D."})
        pipe = piece_of(facts.get("augment_pipe"), f"{what}: augment_pipe")
        if "input" in generator.child("synthesis").state.get("_modules", {}):
            return _alias_free(generator, discriminator, public)
        return _smooth(generator, discriminator, public, pipe, tensors.get("augment_pipe.p"))
    networks = _flow_parts(facts)
    assert networks is not None, "ask is_style_file first"
    return _of_flow(networks, tensors, what)


def _torch_parts(facts: Any) -> tuple[Piece, Piece] | None:
    if not isinstance(facts, dict):
        return None
    generator, discriminator = piece_of(facts.get("G_ema"), "G_ema"), piece_of(facts.get("D"), "D")
    return None if generator is None or discriminator is None else (generator, discriminator)


def _flow_parts(facts: Any) -> tuple[Piece, ...] | None:
    parts = [piece_of(one, name) for one, name in zip(facts, ("G", "D", "Gs"), strict=False)] if _three(facts) else []
    found = tuple(part for part in parts if part is not None and "build_func_name" in part.state)
    return found if len(found) == 3 else None


def _three(facts: Any) -> bool:
    return isinstance(facts, list) and len(facts) == 3


def _renamed(tensors: Mapping[str, Tensor], prefixes: Mapping[str, str]) -> dict[str, Tensor]:
    """Those that begin with one of ``prefixes``, with another."""
    return {
        now + key.removeprefix(was): value
        for was, now in prefixes.items()
        for key, value in tensors.items()
        if key.startswith(was)
    }


# -- the PyTorch programs -----------------------------------------------------------------------------


def _common(generator: Piece, discriminator: Piece, public: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments that both generators have. The discriminator is StyleGAN2's."""
    side = generator.side("img_resolution")
    discriminator.must_be(img_resolution=side, img_channels=generator.number("img_channels"))
    discriminator.must_be(c_dim=generator.number("c_dim"))
    top, bottom = discriminator.child(f"b{side}"), discriminator.child("b4")
    top.must_be(architecture="resnet", activation="lrelu")
    bottom.must_be(mbstd_num_channels=1)
    _filters(public)
    classes = generator.number("c_dim")
    table = public.get("G.mapping.embed.weight")
    if classes != (0 if table is None or table.ndim != 2 else table.shape[1]):
        raise WeightsError(f"G_ema is said to know {classes} classes, and its tensors know others: it is damaged")
    return {
        "condition": "label" if classes else "none",
        "nz": generator.number("z_dim"),
        "width": generator.number("w_dim"),
        "mapping": _layers(public, "G."),
        **({"judge_mapping": _layers(public, "D.")} if classes else {}),
        "group": max(bottom.child("mbstd").number("group_size", 4), 1),
    }


def _layers(public: Mapping[str, Tensor], prefix: str) -> int:
    """Of a mapping."""
    return sum(1 for key in public if re.fullmatch(rf"{prefix}mapping\.fc\d+\.weight", key))


def _filters(public: Mapping[str, Tensor]) -> None:
    """Raise :class:`WeightsError` where pictures were resampled by another filter than ours."""
    line = torch.tensor(BLUR)
    for key, taps in public.items():
        if key.endswith(".resample_filter") and not (taps.shape == (4, 4) and torch.outer(line, line).allclose(taps)):
            raise WeightsError(f"{key} is another filter than [1, 3, 3, 1], which alone is read")


def _channels(part: Piece) -> tuple[int, int]:
    return part.number("channel_base", 32768), part.number("channel_max", 512)


def _smooth(
    generator: Piece, discriminator: Piece, public: Mapping[str, Tensor], pipe: Piece | None, p: Tensor | None
) -> StyleFile:
    """StyleGAN2, with adaptive augmentation where the file holds its state."""
    synthesis = generator.child("synthesis")
    side, channels = generator.side("img_resolution"), generator.number("img_channels")
    first = synthesis.child("b4")
    first.must_be(architecture="skip")
    first.child("conv1").must_be(use_noise=True, activation="lrelu")
    base, most = _channels(synthesis)
    discriminator.must_be(channel_base=base, channel_max=most, conv_clamp=synthesis.clamp)
    arguments = _common(generator, discriminator, public) | {
        "channel_base": base,
        "channel_max": most,
        "clamp": synthesis.clamp,
    }
    if pipe is not None and p is not None:
        geometry, colour = (bool(pipe.arguments.get(name)) for name in ("scale", "brightness"))
        start = min(max(float(p), 0.0), 1.0) if p.numel() == 1 and torch.isfinite(p).all() else 0.0
        arguments |= {"augment": "bgc" if colour else "bg" if geometry else "blit", "start": start}
    system = "stylegan2" if pipe is None or p is None else "stylegan2-ada"
    classes = generator.number("c_dim")
    return StyleFile(system, Shape(channels, side, side), classes, arguments, public)


def _alias_free(generator: Piece, discriminator: Piece, public: Mapping[str, Tensor]) -> StyleFile:
    """StyleGAN3, T or R."""
    synthesis = generator.child("synthesis")
    side, channels = generator.side("img_resolution"), generator.number("img_channels")
    synthesis.must_be(
        margin_size=10,
        output_scale=0.25,
        first_cutoff=2,
        first_stopband=2**2.1,
        last_stopband_rel=2**0.3,
        filter_size=6,
        lrelu_upsampling=2,
    )
    depth = synthesis.number("num_layers")
    if f"G.synthesis.{_layer_names(public).get(depth)}.weight" not in public or depth + 1 != len(_layer_names(public)):
        raise WeightsError(f"G_ema.synthesis is said to have {depth} layers, and has others: it is damaged")
    kernel, radial = synthesis.arguments.get("conv_kernel", 3), synthesis.arguments.get("use_radial_filters", False)
    kinds = {(3, False): "stylegan3-t", (1, True): "stylegan3-r"}
    if (kernel, radial) not in kinds:
        raise WeightsError(f"kernels of {kernel} with radial filters {radial} are neither StyleGAN3-T nor R: {READ}")
    moved = public.get("G.synthesis.input.transform")
    if moved is not None and not torch.equal(moved, torch.eye(3)):
        raise WeightsError("G_ema.synthesis.input.transform moves all of its pictures: save it with the identity")
    base, most = _channels(synthesis)
    judge_base, judge_most = _channels(discriminator)
    clamp = synthesis.clamp if "conv_clamp" in synthesis.arguments else 256
    discriminator.must_be(conv_clamp=clamp)
    arguments = _common(generator, discriminator, public) | {
        "depth": depth,
        "critical": synthesis.number("num_critical"),
        "channel_base": base >> radial,  # R has twice as many by itself
        "channel_max": most >> radial,
        "judge_base": judge_base,
        "judge_max": judge_most,
        "clamp": clamp,
    }
    shape, classes = Shape(channels, side, side), generator.number("c_dim")
    return StyleFile(kinds[kernel, radial], shape, classes, arguments, public)


# -- the TensorFlow programs --------------------------------------------------------------------------

FLOW_VERSIONS = (2, 3, 4)  # of their class of networks
GROWING = {"G_paper": "progan", "G_style": "stylegan"}  # by what builds the generator; "G_main" is StyleGAN2's
FUSED = 128  # pixels from which StyleGAN's program doubles and convolves in one, by a kernel that is turned about


def _of_flow(networks: tuple[Piece, ...], tensors: Mapping[str, Tensor], what: str) -> StyleFile:
    """StyleGAN2 in TensorFlow; its tensors under the names and in the layout of the PyTorch program."""
    _, discriminator, generator = networks
    version = generator.state.get("version")
    if version not in FLOW_VERSIONS:
        raise WeightsError(f"{what}: networks of version {str(version)[:20]}; versions 2, 3 and 4 are read")
    built = str(generator.state["build_func_name"])
    if built in GROWING:
        return _growing(GROWING[built], generator, discriminator, tensors)
    if built != "G_main":
        raise WeightsError(f"{what} is built by {built[:60]}, and no system here takes its tensors: {READ}")
    settings = _settings(generator)
    told = str(settings.get("synthesis_func", "G_synthesis_stylegan2"))
    if told != "G_synthesis_stylegan2":
        raise WeightsError(f"{what}: its pictures are made by {told[:60]} (configurations A to D); E and F are read")
    generator = Piece("G", {"_init_kwargs": settings}, "Gs")
    discriminator = Piece("D", {"_init_kwargs": _settings(discriminator)}, "D")
    same = {"resample_kernel": [1, 3, 3, 1], "nonlinearity": "lrelu", "mapping_nonlinearity": "lrelu"}
    generator.must_be(architecture="skip", use_noise=True, mapping_lrmul=0.01, label_size=0, **same)
    discriminator.must_be(architecture="resnet", mbstd_num_features=1, label_size=0, **same)
    public = {f"G.{name}": value for name, value in _layout(_renamed(tensors, {"2.": ""}), _GENERATOR)}
    public |= {f"D.{name}": value for name, value in _layout(_renamed(tensors, {"1.": ""}), _DISCRIMINATOR)}
    side, channels = generator.side("resolution", 1024), generator.number("num_channels", 3)
    base, most = 2 * generator.number("fmap_base", 16384), generator.number("fmap_max", 512)
    discriminator.must_be(fmap_base=base // 2, fmap_max=most, resolution=side)
    clamp = generator.clamp
    discriminator.must_be(conv_clamp=clamp)
    arguments = {
        "nz": generator.number("latent_size", 512),
        "width": generator.number("dlatent_size", 512),
        "mapping": _layers(public, "G."),
        "channel_base": base,
        "channel_max": most,
        "group": discriminator.number("mbstd_group_size", 4),
        "clamp": clamp,
    }
    return StyleFile("stylegan2", Shape(channels, side, side), 0, arguments, public)


def _growing(system: str, generator: Piece, discriminator: Piece, tensors: Mapping[str, Tensor]) -> StyleFile:
    """ProGAN or StyleGAN, whose tensors go to our names at once; ``lod`` says how much is yet to grow."""
    made, judged = Piece("G", {"_init_kwargs": _settings(generator)}, "Gs"), _settings(discriminator)
    judge = Piece("D", {"_init_kwargs": judged}, "D")
    same = {"label_size": 0, "use_wscale": True, "fmap_decay": 1.0}
    made.must_be(normalize_latents=True, nonlinearity="lrelu", use_leakyrelu=True, use_noise=True, **same)
    made.must_be(use_pixelnorm=True, use_pixel_norm=False, use_instance_norm=True, use_styles=True)
    made.must_be(mapping_lrmul=0.01, blur_filter=[1, 2, 1], tanh_at_output=False, const_input_layer=True)
    judge.must_be(nonlinearity="lrelu", use_leakyrelu=True, mbstd_num_features=1, blur_filter=[1, 2, 1], **same)
    if made.arguments.get("fused_scale", "auto") not in ("auto", True) and system == "stylegan":
        raise WeightsError("Gs was built with another fused_scale than 'auto', which alone is read")
    side, base, most = made.side("resolution", 1024), made.number("fmap_base", 8192), made.number("fmap_max", 512)
    judge.must_be(fmap_base=base, fmap_max=most, resolution=side)
    top = side.bit_length() - 3  # the finest level; that of 4 pixels is 0
    own: dict[str, Tensor] = {}
    for prefix, ours_of in (("2.", "generator"), ("1.", "discriminator")):
        for name, value in _renamed(tensors, {prefix: ""}).items():
            found, changed = _grown(name, value, top, system, prefix == "1.")
            if found == "lod":
                if prefix == "2." and name == "lod" and torch.isfinite(value).all():
                    own["level"] = (top - value.flatten()[0]).clamp(0, top)
                continue
            own[f"{ours_of}.{found}"] = changed
    arguments = {
        "nz": made.number("latent_size", 512),
        "channel_base": 2 * base,
        "channel_max": most,
        "group": max(judge.number("mbstd_group_size", 4), 1),
    }
    if system == "stylegan":
        layers = sum(1 for key in own if re.fullmatch(r"generator\.mapping\.layers\.\d+\.weight", key))
        arguments |= {"width": made.number("dlatent_size", 512), "mapping": layers}
    return StyleFile(system, Shape(made.number("num_channels", 3), side, side), 0, arguments, own, renamed=True)


# The layers of one level in their programs -> ours, of ProGAN's generator, StyleGAN's, and their discriminators.
_LAYERS = {
    "Dense": "dense",
    "Conv": "conv",
    "Conv0_up": "conv0",
    "Conv0": "conv0",
    "Conv1": "conv1",
    "Conv1_down": "conv1",
}
_STYLED = {"Const": "layer0", "Conv": "layer1", "Conv0_up": "layer0", "Conv1": "layer1"}
_INNER = {
    "weight": "conv.weight",
    "bias": "bias",
    "Noise/weight": "strength",
    "StyleMod/weight": "style.weight",
    "StyleMod/bias": "style.bias",
}


def _grown(name: str, value: Tensor, top: int, system: str, judges: bool) -> tuple[str, Tensor]:
    """A variable of ProGAN or StyleGAN under our name (without the network's) and in our layout; "lod" for that one."""
    part, _, path = name.rpartition(".")
    if path == "lod":
        return "lod", value
    if path == "dlatent_avg":
        return "mean", value
    synthesis = "synthesis." if part == "synthesis" else ""
    if found := re.fullmatch(r"noise(\d{1,3})", path):
        return f"synthesis.blocks.{int(found[1]) // 2}.layer{int(found[1]) % 2}.noise", value[0, 0]
    if value.ndim == 4:
        turned = re.search(r"(\d+)x\d+/Conv0_up/weight$", path)
        fused = turned is not None and (system == "progan" or int(turned[1]) >= FUSED)
        value = (value.flip(0, 1) if fused else value).permute(3, 2, 0, 1) if not path.endswith("/const") else value[0]
    elif value.ndim == 2:
        value = value.T
    if found := re.fullmatch(r"Dense(\d{1,4})/(weight|bias)", path):
        return f"mapping.layers.{found[1]}.{found[2]}", value
    if found := re.fullmatch(r"(?:To|From)RGB_lod(\d{1,3})/(weight|bias)", path):
        return f"{synthesis}pixels.{top - int(found[1])}.{found[2]}", value
    if found := re.fullmatch(r"4x4/Dense([01])/(weight|bias)", path):
        return f"{('hidden', 'out')[int(found[1])]}.{found[2]}", value
    if path == "4x4/Const/const":
        return "synthesis.blocks.0.const", value
    if found := re.fullmatch(r"(\d{1,9})x\1/(\w+?)/(.+)", path):
        level = int(found[1]).bit_length() - 3
        if synthesis and found[2] in _STYLED and found[3] in _INNER:
            return f"synthesis.blocks.{level}.{_STYLED[found[2]]}.{_INNER[found[3]]}", value
        if not synthesis and found[2] in _LAYERS:
            if not judges:
                return f"blocks.{level}.{_LAYERS[found[2]]}.{found[3]}", value
            # Its blocks are counted from the first above 4 pixels, whose own layer stands alone.
            return f"{f'blocks.{level - 1}.' if level else ''}{_LAYERS[found[2]]}.{found[3]}", value
    raise WeightsError(f"variable {name} has no place in {system}: {READ}")


def _settings(part: Piece) -> Mapping[str, Any]:
    found = part.state.get("static_kwargs")
    return found if isinstance(found, dict) else {}


_GENERATOR = (
    (r"dlatent_avg", r"mapping.w_avg"),
    (r"mapping\.Dense(\d+)/(weight|bias)", r"mapping.fc\1.\2"),
    (r"synthesis\.4x4/Const/const", r"synthesis.b4.const"),
    (r"synthesis\.4x4/Conv/(\w+)", r"synthesis.b4.conv1.\1"),
    (r"synthesis\.(\d+)x\1/Conv0_up/(\w+)", r"synthesis.b\1.conv0.\2"),
    (r"synthesis\.(\d+)x\1/Conv1/(\w+)", r"synthesis.b\1.conv1.\2"),
    (r"synthesis\.(\d+)x\1/ToRGB/(\w+)", r"synthesis.b\1.torgb.\2"),
)
_DISCRIMINATOR = (
    (r"(\d+)x\1/FromRGB/(\w+)", r"b\1.fromrgb.\2"),
    (r"4x4/Conv/(\w+)", r"b4.conv.\1"),
    (r"4x4/Dense0/(\w+)", r"b4.fc.\1"),
    (r"Output/(\w+)", r"b4.out.\1"),
    (r"(\d+)x\1/Conv0/(\w+)", r"b\1.conv0.\2"),
    (r"(\d+)x\1/Conv1_down/(\w+)", r"b\1.conv1.\2"),
    (r"(\d+)x\1/Skip/(\w+)", r"b\1.skip.\2"),
)


def _layout(variables: Mapping[str, Tensor], table: Iterable[tuple[str, str]]) -> Iterator[tuple[str, Tensor]]:
    """Variables of one network under the PyTorch program's names, in its layout; ``lod`` is the progress of growing."""
    for name, value in variables.items():
        if name.rpartition(".")[2] == "lod":
            continue
        noise = re.fullmatch(r"synthesis\.noise(\d+)", name)
        if noise:  # the first at 4 pixels, then two at each side
            k = int(noise[1])
            if k > 62:
                raise WeightsError(f"{name} is of no side that a picture has")
            yield f"synthesis.b{4 << (k + 1) // 2}.conv{1 - k % 2}.noise_const", value[0, 0]
            continue
        found = next((re.sub(f"^{was}$", now, name) for was, now in table if re.fullmatch(was, name)), None)
        if found is None:
            raise WeightsError(f"variable {name} has no place in StyleGAN2: {READ}")
        if found.endswith("mod_weight"):
            yield found.replace("mod_weight", "affine.weight"), value.T
        elif found.endswith("mod_bias"):
            yield found.replace("mod_bias", "affine.bias"), value + 1
        elif found.endswith("const"):
            yield found, value[0]
        elif value.ndim == 4:  # (k, k, I, O); of those that enlarge, turned about, as their convolution is
            yield found, (value.flip(0, 1) if "/Conv0_up/" in name else value).permute(3, 2, 0, 1)
        else:
            yield found, value.T if value.ndim == 2 else value


# -- the map of the PyTorch program's names to ours ---------------------------------------------------

_OURS = (
    (r"generator\.mean", "G.mapping.w_avg"),
    (r"(generator|discriminator)\.mapping\.layers\.(\d+)\.(\w+)", r"\1.mapping.fc\2.\3"),
    (r"(generator|discriminator)\.mapping\.embed\.(\w+)", r"\1.mapping.embed.\2"),
    (r"generator\.synthesis\.input\.frequencies", "G.synthesis.input.freqs"),
    (r"generator\.synthesis\.input\.(.+)", r"G.synthesis.input.\1"),
    (r"generator\.synthesis\.blocks\.(\d+)\.pixels\.(.+)", r"G.synthesis.b{up}.torgb.\2"),
    (r"generator\.synthesis\.blocks\.(\d+)\.(.+)\.strength", r"G.synthesis.b{up}.\2.noise_strength"),
    (r"generator\.synthesis\.blocks\.(\d+)\.(.+)\.noise", r"G.synthesis.b{up}.\2.noise_const"),
    (r"generator\.synthesis\.blocks\.(\d+)\.(.+)", r"G.synthesis.b{up}.\2"),
    (r"generator\.synthesis\.convolutions\.(\d+)\.magnitude", r"G.synthesis.{layer}.magnitude_ema"),
    (r"generator\.synthesis\.convolutions\.(\d+)\.(.+)", r"G.synthesis.{layer}.\2"),
    (r"discriminator\.pixels\.(\w+)", r"D.b{top}.fromrgb.\1"),
    (r"discriminator\.blocks\.(\d+)\.(.+)", r"D.b{down}.\2"),
    (r"discriminator\.conv\.(\w+)", r"D.b4.conv.\1"),
    (r"discriminator\.hidden\.(\w+)", r"D.b4.fc.\1"),
    (r"discriminator\.out\.(\w+)", r"D.b4.out.\1"),
)
# Of the PyTorch program's buffers and settings: what is the same for all, or follows from the sizes.
_NEEDLESS = re.compile(r".*\.(resample_filter|up_filter|down_filter|in_size|out_size|input\.size|input\.transform)")


def ours(file: StyleFile, own: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """The tensors of the system whose state is ``own``, those that a file holds.

    Raises :class:`WeightsError` naming tensors that are missing, left over or of another shape.
    """
    if file.renamed:
        wanted = set(own)
        check_keys(what, wanted, set(file.public), READ)
        names = {name: name for name in wanted}
        return _fitting(file, own, names, what)
    layers = _layer_names(file.public)
    names = {name: theirs for name in own if (theirs := _theirs(name, file.shape.height, layers)) is not None}
    given = {key for key in file.public if not _NEEDLESS.fullmatch(key)}
    check_keys(what, set(names.values()), given, READ)
    return _fitting(file, own, names, what)


def _fitting(file: StyleFile, own: Mapping[str, Tensor], names: Mapping[str, str], what: str) -> dict[str, Tensor]:
    for name, key in names.items():
        if own[name].shape != file.public[key].shape:
            found, wanted = tuple(file.public[key].shape), tuple(own[name].shape)
            raise WeightsError(f"{what}: {key} is of shape {found}, and as the rest of it says {wanted}")
    return {name: file.public[key].to(own[name].dtype).contiguous() for name, key in names.items()}


def _layer_names(public: Mapping[str, Tensor]) -> dict[int, str]:
    """What the layers of StyleGAN3 are called in a file, by their numbers."""
    found = (re.match(r"G\.synthesis\.(L(\d{1,6})_\d+_\d+)\.", key) for key in public)
    return {int(m[2]): m[1] for m in found if m}


def _theirs(name: str, side: int, layers: Mapping[int, str]) -> str | None:
    """What the PyTorch program calls a tensor of ours; None for what its files do not hold."""
    for pattern, key in _OURS:
        found = re.fullmatch(pattern, name)
        if found:
            k = int(found[1]) if found.groups() and found[1].isdigit() else 0
            sides = {"up": 4 << k, "down": side >> k, "top": side, "layer": layers.get(k, f"L{k}")}
            return found.expand(key).format(**sides).replace("generator.", "G.").replace("discriminator.", "D.")
    return None
