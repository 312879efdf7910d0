"""Published restoration checkpoints as networks of ours: the architecture is read off names and shapes.

Known are, in the names of their authors' programs, ESRGAN (three spellings), Real-ESRGAN, its compact networks,
SRResNet (BasicSR), DnCNN (KAIR) and GFPGAN (its clean program's). Each kind has a mark, which is in all of its files
and in none of the kinds below it, and a function that reads the sizes and tells which public name each tensor of ours
has. So a tensor that is missing or left over is named. What is of no kind is answered with what its names look like.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zeuxis.errors import WeightsError
from zeuxis.nn.compact import CompactNet
from zeuxis.nn.dncnn import DnCNNNet
from zeuxis.nn.gfpgan import FaceNet
from zeuxis.nn.picture_network import PictureNetwork
from zeuxis.nn.rrdb import RRDBNet
from zeuxis.nn.sr_resnet import SRResNetNet
from zeuxis.pretrained.kind import check_keys, unwrapped

Shapes = Mapping[str, tuple[int, ...]]
Names = dict[str, str]  # layer of ours -> layer of theirs, or tensor -> tensor
DECODER, MODULATION = "stylegan_decoder", "modulated_conv.modulation"  # of GFPGAN
BLOCK = ("conv1", "conv2", "skip")  # the layers of one of its blocks
IRCNN_DEPTH = 7  # of its networks, whose names are DnCNN's and whose layers are dilated


@dataclass(frozen=True)
class PublicNetwork:
    """A kind of published network."""

    name: str
    mark: str  # a pattern of a name that every file of this kind has, and none of another
    read: Callable[[Shapes], tuple[PictureNetwork, Names]]


@dataclass(frozen=True)
class RRDBNames:
    """How a program spells the layers of an RRDB network."""

    first: str
    block: str  # with the number of the block, the number of the dense block and of the convolution, from 0
    after_body: str
    ups: tuple[str, ...]
    fine: str
    last: str
    counted_from: int = 1


BASIC = RRDBNames(
    "conv_first", "body.{0}.rdb{1}.conv{2}", "conv_body", ("conv_up1", "conv_up2"), "conv_hr", "conv_last"
)
PLAIN = RRDBNames(
    "conv_first", "RRDB_trunk.{0}.RDB{1}.conv{2}", "trunk_conv", ("upconv1", "upconv2"), "HRconv", "conv_last"
)


def read_public(tensors: Mapping[str, Tensor], what: str) -> tuple[PictureNetwork, str]:
    """The network of a published checkpoint with its numbers, and the name of its kind; ``what`` names it in errors.

    Raises :class:`WeightsError` for what is of no known kind, or not wholly of it.
    """
    place, inside = place_of({key: tuple(tensor.shape) for key, tensor in tensors.items()})
    public = {key.removeprefix(place): tensors[key] for key in inside}
    named = f"{what}, its names without '{place}'," if place else what
    kind, network, sources = _recognised({key: tuple(tensor.shape) for key, tensor in public.items()}, named)
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    numbers = {ours: public[theirs].float().reshape(shapes[ours]) for ours, theirs in sources.items()}
    network.load_state_dict(numbers, assign=True)
    return network.requires_grad_(False).eval(), kind.name


def is_restorer(shapes: Shapes) -> bool:
    """Whether tensors of those names and shapes are a network of a kind that is known here, wholly."""
    place, inside = place_of(shapes)
    return _is_one({key.removeprefix(place): shapes[key] for key in inside})


def place_of(shapes: Shapes) -> tuple[str, tuple[str, ...]]:
    """The prefix under which a file keeps its network, and the keys under it, in full.

    Beside those of :func:`zeuxis.pretrained.kind.unwrapped` it may be any (``model.``, ``net.``), where a network of a
    known kind lies there wholly: of several an average first. Such names may be a network's own too, so that is tried
    last.
    """
    place, inside = unwrapped(shapes)
    if next(_kind_of(_under(shapes, inside, place)), None) is not None:
        return place, inside
    return next(_deeper(shapes, place, inside, DEEPEST), (place, inside))


def _deeper(shapes: Shapes, place: str, inside: Sequence[str], depth: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Where networks lie under further prefixes."""
    firsts = dict.fromkeys(key.removeprefix(place).partition(".")[0] for key in inside)
    for first in sorted(firsts, key=lambda name: "ema" not in name):
        deeper = f"{place}{first}."
        keys = tuple(key for key in inside if key.startswith(deeper))
        if keys and _is_one(_under(shapes, keys, deeper)):
            yield deeper, keys
        elif keys and depth > 1:
            yield from _deeper(shapes, deeper, keys, depth - 1)


def _under(shapes: Shapes, keys: Sequence[str], place: str) -> Shapes:
    return {key.removeprefix(place): shapes[key] for key in keys}


def _is_one(shapes: Shapes) -> bool:
    """Whether tensors, prefixes stripped, are a network of a kind that is known here, wholly."""
    try:
        _recognised(shapes, "it")
    except WeightsError:
        return False
    return True


def _kind_of(shapes: Shapes) -> Iterator[PublicNetwork]:
    """The kinds of which there is a mark."""
    return (one for one in NETWORKS if any(re.fullmatch(one.mark, key) for key in shapes))


def _recognised(shapes: Shapes, what: str) -> tuple[PublicNetwork, PictureNetwork, Names]:
    """The kind of a checkpoint, its network without numbers, and which public tensor each of its tensors is.

    Raises as :func:`read_public`.
    """
    kind = next(_kind_of(shapes), None)
    if kind is None:
        raise WeightsError(f"{what} is of no kind of restorer that is known here ({_known()}): {looks_like(shapes)}")
    with torch.device("meta"):
        network, names = kind.read(shapes)
    own = network.state_dict()
    sources = {key: _source(key, names) for key in own}
    check_keys(f"{what} begins as {kind.name} and", set(sources.values()), set(shapes), looks_like(shapes))
    if wrong := [theirs for ours, theirs in sources.items() if not _same(shapes[theirs], own[ours].shape)]:
        raise WeightsError(f"{what} is not {kind.name}: {wrong[0]} has the shape {shapes[wrong[0]]}, against the rest")
    return kind, network, sources


def _source(key: str, names: Names) -> str:
    """The public name of a tensor of ours: its own, or its layer's and then the same."""
    layer, _, last = key.rpartition(".")
    return names[key] if key in names else f"{names[layer]}.{last}"


def _same(theirs: tuple[int, ...], ours: tuple[int, ...]) -> bool:
    """Whether shapes are equal but for more axes of 1 in the public one."""
    return theirs == ours or (len(theirs) > len(ours) and [n for n in theirs if n != 1] == [n for n in ours if n != 1])


# -- the kinds ----------------------------------------------------------------------------------------


def _size(shapes: Shapes, layer: str, axis: int) -> int:
    found = shapes.get(f"{layer}.weight", ())
    if len(found) != 4 or not all(found):
        raise WeightsError(f"it has no convolution {layer}, so that its architecture cannot be read off")
    return found[axis]


def _count(shapes: Shapes, pattern: str, start: int = 0) -> int:
    """How many of ``pattern``, filled with consecutive numbers, are there."""
    k = start
    while pattern.format(k) in shapes:
        k += 1
    return k - start


def _rrdb(shapes: Shapes, names: RRDBNames) -> tuple[PictureNetwork, Names]:
    blocks = _count(shapes, f"{names.block}.weight".replace("{1}", "1").replace("{2}", "1"))
    width, channels = _size(shapes, names.first, 0), _size(shapes, names.last, 0)
    unshuffle = round((_size(shapes, names.first, 1) / channels) ** 0.5)
    if channels * unshuffle**2 != _size(shapes, names.first, 1) or 2 ** len(names.ups) % max(1, unshuffle):
        raise WeightsError(
            f"{_size(shapes, names.first, 1)} channels go in and {channels} come out: no ESRGAN that is known"
        )
    growth = _size(shapes, names.block.format(0, 1, 1), 0)
    network = RRDBNet(
        channels, blocks=blocks, width=width, growth=growth, doublings=len(names.ups), unshuffle=unshuffle
    )
    found = {"first": names.first, "after_body": names.after_body, "fine": names.fine, "last": names.last}
    found |= {f"ups.{k}": name for k, name in enumerate(names.ups)}
    for b in range(blocks):
        for r in range(3):
            for k in range(5):
                found[f"body.{b}.blocks.{r}.convs.{k}"] = names.block.format(b, r + 1, k + 1)
    return network, found


def _old_rrdb(shapes: Shapes) -> tuple[PictureNetwork, Names]:
    """The names of the first program: numbers in a row, so that where they end tells how often it doubles.

    ``model.1.sub.N`` are the blocks and, after the last of them, the convolution behind them; then follow an
    enlargement, a convolution and an activation for each doubling, and two more convolutions.
    """
    blocks = _count(shapes, "model.1.sub.{}.RDB1.conv1.0.weight")
    numbers = sorted({int(found[1]) for key in shapes if (found := re.fullmatch(r"model\.(\d{1,4})\.weight", key))})
    doublings = (numbers[-1] - 4) // 3 if numbers else 0
    at = [3 * (k + 1) for k in range(doublings)]
    after = 3 * doublings + 2
    if doublings < 0 or numbers != [0, *at, after, after + 2]:
        raise WeightsError(f"its convolutions are model.{', model.'.join(map(str, numbers))}: no ESRGAN that is known")
    names = RRDBNames(
        "model.0",
        "model.1.sub.{0}.RDB{1}.conv{2}.0",
        f"model.1.sub.{blocks}",
        tuple(f"model.{k}" for k in at),
        f"model.{after}",
        f"model.{after + 2}",
    )
    return _rrdb(shapes, names)


def _compact(shapes: Shapes) -> tuple[PictureNetwork, Names]:
    last = max(int(found[1]) for key in shapes if (found := re.fullmatch(r"body\.(\d{1,4})\.weight", key)))
    channels, made = _size(shapes, "body.0", 1), _size(shapes, f"body.{last}", 0)
    scale = round((made / channels) ** 0.5)
    if last % 2 or channels * scale**2 != made:
        raise WeightsError(f"its last layer makes {made} channels of pictures of {channels}: no compact network")
    network = CompactNet(channels, width=_size(shapes, "body.0", 0), inner=last // 2 - 1, scale=scale)
    return network, {f"layers.{k}": f"body.{k}" for k in range(last + 1)}


def _sr_resnet(shapes: Shapes) -> tuple[PictureNetwork, Names]:
    blocks, width = _count(shapes, "body.{}.conv1.weight"), _size(shapes, "conv_first", 0)
    ups = _count(shapes, "upconv{}.weight", start=1)
    steps = tuple(max(1, round((_size(shapes, f"upconv{k + 1}", 0) / width) ** 0.5)) for k in range(ups))
    network = SRResNetNet(_size(shapes, "conv_first", 1), blocks=blocks, width=width, steps=steps)
    names = {"first": "conv_first", "fine": "conv_hr", "last": "conv_last"}
    names |= {f"ups.{k}": f"upconv{k + 1}" for k in range(ups)}
    names |= {f"body.{k}.conv{j}": f"body.{k}.conv{j}" for k in range(blocks) for j in (1, 2)}
    return network, names


def _dncnn(shapes: Shapes) -> tuple[PictureNetwork, Names]:
    depth = 0
    while f"model.{2 * depth}.weight" in shapes:
        depth += 1
    channels, out = _size(shapes, "model.0", 1), _size(shapes, f"model.{2 * (depth - 1)}", 0)
    if channels != out:
        raise WeightsError(
            f"a row of {depth} convolutions from {channels} channels to {out}: it looks like FFDNet, which is given "
            "the strength of the noise beside the picture and is not known here"
        )
    if depth <= IRCNN_DEPTH:
        raise WeightsError(
            f"a row of {depth} convolutions: it looks like IRCNN, whose layers are dilated (which names and shapes do "
            "not tell) and which is not known here; DnCNN has 17 or 20"
        )
    network = DnCNNNet(channels, depth=depth, width=_size(shapes, "model.0", 0))
    return network, {f"layers.{2 * k}": f"model.{2 * k}" for k in range(depth)}


def _gfpgan(shapes: Shapes) -> tuple[PictureNetwork, Names]:
    """The clean program's: style_convs.2k and 2k + 1 are the two layers of the level k, from 8 pixels on."""
    levels = _count(shapes, "conv_body_up.{}.conv1.weight")
    convs = ["style_conv1", *(f"style_convs.{k}" for k in range(2 * levels))]
    weights = [shapes.get(f"{DECODER}.{conv}.modulated_conv.weight", ()) for conv in convs]
    code = shapes.get(f"{DECODER}.style_conv1.modulated_conv.modulation.weight", ())
    if not levels or not all(len(weight) == 5 for weight in weights) or len(code) != 2:
        raise WeightsError("it has no generator of styles of the clean program, so that its sizes cannot be read off")
    mapping = [key for key in shapes if re.fullmatch(rf"{DECODER}\.style_mlp\.\d{{1,4}}\.weight", key)]
    network = FaceNet(
        [weight[1] for weight in weights[::2]],
        width=code[1],
        channels=_size(shapes, "toRGB.0", 0),
        mapping=len(mapping),
    )
    removal = {"first": "conv_body_first", "middle": "final_conv", "latent": "final_linear"}
    for k in range(levels):
        removal |= {f"{ours}.{k}.{part}": f"conv_body_{ours}.{k}.{part}" for ours in ("down", "up") for part in BLOCK}
        removal |= {f"alpha.{k}.{part}": f"condition_scale.{k}.{part}" for part in (0, 2)}
        removal |= {f"beta.{k}.{part}": f"condition_shift.{k}.{part}" for part in (0, 2)}
        removal[f"pixels.{k}"] = f"toRGB.{k}"
    layers = ["first", *(f"conv{k % 2}.{k // 2}" for k in range(2 * levels))]
    generator = {"const": "constant_input.weight"}
    generator |= {f"mapping.{k}": f"style_mlp.{2 * k + 1}" for k in range(len(mapping))}
    for k, (ours, theirs) in enumerate(zip(layers, convs, strict=True)):
        generator |= {f"{ours}.strength": f"{theirs}.weight", f"{ours}.noise": f"noises.noise{k}", ours: theirs}
        generator |= {f"{ours}.conv": f"{theirs}.modulated_conv", f"{ours}.conv.affine": f"{theirs}.{MODULATION}"}
    for k in range(levels + 1):
        theirs = f"to_rgbs.{k - 1}" if k else "to_rgb1"
        generator |= {f"pixels.{k}": theirs, f"pixels.{k}.conv": f"{theirs}.modulated_conv"}
        generator[f"pixels.{k}.conv.affine"] = f"{theirs}.{MODULATION}"
    names = {f"removal.{ours}": theirs for ours, theirs in removal.items()}
    return network, names | {f"generator.{ours}": f"{DECODER}.{theirs}" for ours, theirs in generator.items()}


NETWORKS = (
    PublicNetwork("GFPGAN", r"stylegan_decoder\.constant_input\.weight", _gfpgan),
    PublicNetwork("ESRGAN", r"body\.0\.rdb1\.conv1\.weight", lambda shapes: _rrdb(shapes, BASIC)),
    PublicNetwork("ESRGAN (plain names)", r"RRDB_trunk\.0\.RDB1\.conv1\.weight", lambda shapes: _rrdb(shapes, PLAIN)),
    PublicNetwork("ESRGAN (old names)", r"model\.1\.sub\.0\.RDB1\.conv1\.0\.weight", _old_rrdb),
    PublicNetwork("SRResNet", r"body\.0\.conv1\.weight", _sr_resnet),
    PublicNetwork("Real-ESRGAN compact", r"body\.0\.weight", _compact),
    PublicNetwork("DnCNN", r"model\.2\.weight", _dncnn),
)
DEEPEST = 3  # prefixes, one in another
TRANSLATES = "zeuxis convert makes a model of it, and zeuxis translate uses that"
PAINTS = "zeuxis convert makes a model of it, and zeuxis paint uses that"
LOOKS = (  # patterns of names of well-known networks that are not read here
    (r"layers\.\d+\.residual_group\.", "SwinIR or HAT"),
    (r"stylegan_decoder\.", "GFPGAN of the program with compiled operations (known is its clean one, 1.2 to 1.4)"),
    (r"quantize\.embedding\.weight", "CodeFormer or a VQGAN (zeuxis convert makes a model of the latter)"),
    (r"m_head\.weight", "DRUNet"),
    (r"m_head\.0\.weight", "SCUNet"),
    (r"model\.model\.\d+\.", f"pix2pix's U-Net ({TRANSLATES})"),
    (r"model\d_1\.\d+\.", f"a generator of pix2pixHD ({PAINTS})"),
    (r"model\.\d+\.conv_block\.", f"a generator of CycleGAN ({TRANSLATES}) or of pix2pixHD ({PAINTS})"),
    (r"up_\d\.norm_0\.", f"SPADE ({PAINTS})"),
    (r"conv_after_body\.", "EDSR or RCAN"),
    (r"(head|sub_mean|add_mean)\.", "EDSR or RCAN"),
    (r"encoders\.\d+\.\d+\.", "NAFNet"),
    (r"patch_embed\.", "Restormer"),
    (r"model\.diffusion_model\.", "Stable Diffusion (zeuxis sample draws with it)"),
)


def known_look(shapes: Shapes) -> str | None:
    """Which well-known network the names of a checkpoint look like, if any."""
    return next((name for pattern, name in LOOKS if any(re.match(pattern, key) for key in shapes)), None)


def looks_like(shapes: Shapes) -> str:
    """What the names of a checkpoint look like, in words."""
    if (name := known_look(shapes)) is not None:
        return f"it looks like {name}"
    some = ", ".join(f"{key} {'x'.join(map(str, shape))}" for key, shape in list(shapes.items())[:3])
    return f"it has {len(shapes)} tensors, {some or 'none'} first"


def _known() -> str:
    return ", ".join(dict.fromkeys(one.name.partition(" (")[0] for one in NETWORKS))
