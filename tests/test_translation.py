"""Translators: published counts, parity with the public programs at equal weights, and the commands."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from zeuxis.api.adopt import convert_file
from zeuxis.api.model import Model, load
from zeuxis.api.still import layout_of
from zeuxis.api.translate import _on_paper, translate
from zeuxis.batch import Batch, Condition
from zeuxis.catalog.assemble import build_for
from zeuxis.catalog.build import build
from zeuxis.cli import main
from zeuxis.data.library import open_source
from zeuxis.data.pairing import borders, class_colours, coloured, parse_pairing
from zeuxis.errors import DataError, UnknownName, Unsupported, UsageError, WeightsError
from zeuxis.game import System, Turn
from zeuxis.knobs import Sampling
from zeuxis.nn.norm import Norm
from zeuxis.nn.patch_gan import PATCHES, MultiScaleCritic, PatchCritic, PixelCritic, map_side, patch_critic
from zeuxis.pretrained.kind import from_public, recognise, to_public
from zeuxis.pretrained.kinds import KINDS
from zeuxis.pretrained.restorer_keys import read_public
from zeuxis.pretrained.translators import TRANSLATORS
from zeuxis.provenance.asked import Marks, marking
from zeuxis.provenance.record import read_record
from zeuxis.provenance.watermark import WATERMARK
from zeuxis.recipe import load_recipe
from zeuxis.rng import ImageRng, Stream
from zeuxis.spec import DataSpec, Shape
from zeuxis.systems.translation.cyclegan import CycleGAN
from zeuxis.training.checkpoint import write_model

KIND = {kind.system: kind for kind in TRANSLATORS}


def spec_of(channels: int = 3, side: int = 32, sources: int | None = None, classes: int = 0) -> DataSpec:
    source = None if sources is None else Shape(sources, side, side)
    return DataSpec(Shape(channels, side, side), source_shape=source, layout_names=tuple(map(str, range(classes))))


def count(net: nn.Module | None) -> int:
    assert net is not None
    return sum(p.numel() for p in net.parameters())


# -- published sizes ----------------------------------------------------------------------------------

# What the networks of the public programs have, built from their code: of pix2pixHD for Cityscapes (35 classes and the
# boundaries of instances), of SPADE without encoder for COCO-Stuff, ADE20K and Cityscapes, and with it for ADE20K.
PUBLISHED: dict[str, tuple[str, DataSpec, dict[str, int], dict[str, int]]] = {
    "pix2pix": ("pix2pix", spec_of(side=256), {}, {"generator": 54_413_955, "critic": 2_768_705}),
    "pix2pix-128": ("pix2pix", spec_of(side=128), {"depth": 7}, {"generator": 41_828_995}),
    "cyclegan": ("cyclegan", spec_of(side=256), {}, {"to_image": 11_378_179, "image_critic": 2_764_737}),
    "cyclegan-6": ("cyclegan", spec_of(side=128), {"blocks": 6}, {"to_image": 7_837_699}),
    "pix2pix-hd": (
        "pix2pix-hd",
        spec_of(side=512, sources=1, classes=35),
        {"scales": 2},
        {"generator": 182_546_755, "critic": 5_603_202},
    ),
    "pix2pix-hd-local": (
        "pix2pix-hd",
        spec_of(side=512, sources=1, classes=35),
        {"ngf": 32, "enhancers": 1},
        {"generator": 182_857_059, "critic": 8_404_803},
    ),
    "coco": (
        "spade",
        spec_of(side=256, classes=184),
        {"nz": 0, "doublings": 5},
        {"generator": 97_480_899, "critic": 5_904_514},
    ),
    "ade": (
        "spade",
        spec_of(side=256, classes=151),
        {"doublings": 5},
        {"generator": 111_942_595, "encoder": 10_463_424, "critic": 5_836_930},
    ),
    "cityscapes": ("spade", spec_of(side=256, classes=36), {"nz": 0}, {"generator": 93_048_003, "critic": 5_601_410}),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_counts(name: str) -> None:
    system, spec, arguments, wanted = PUBLISHED[name]
    with torch.device("meta"):
        made = build(system, spec, dict(arguments))
    assert {part: count(made.get_submodule(part)) for part in wanted} == wanted


def test_patches_see_what_they_are_called_by() -> None:
    """A logit's gradient reaches so many pixels a side; 142 and 286 at a size that the test can afford."""
    for patch in (1, 16, 34, 70):
        critic, side = patch_critic(1, patch, ndf=2, norm=Norm.NONE), 96
        x = torch.zeros(1, 1, side, side, requires_grad=True)
        logits = critic(x)
        logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
        assert x.grad is not None
        rows = (x.grad[0, 0].abs().sum(1) > 0).sum()
        assert rows == patch, patch
        assert patch == 1 or logits.shape[2] == map_side(side, PATCHES[patch])
    assert map_side(256, PATCHES[286]) == 6 and map_side(64, PATCHES[286]) < 1


# -- parity with the public programs ------------------------------------------------------------------

# ``translators.json`` was made by the public code: pix2pix and CycleGAN as taesungp/contrastive-unpaired-translation
# keeps them, NVIDIA/pix2pixHD and NVlabs/SPADE. It holds the names and shapes of their tensors, whose numbers follow
# from their names (see `filled`), and of each result its mean, its mean square and five values.
PARITY: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("translators.json").read_text("utf-8"))


def filled(shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Tensors of those names: numbers that follow from them alone, and the singular vectors that go with a weight."""
    made = {name: 0.08 * Stream(0, name).normal(*shape) for name, shape in shapes.items()}
    for name in shapes:
        if name.endswith("running_var"):
            made[name] = 1 + 2.5 * made[name].abs()
        if name.endswith("weight_orig"):
            u, _, v = torch.linalg.svd(made[name].flatten(1), full_matrices=False)
            made |= {f"{name[:-4]}u": u[:, 0], f"{name[:-4]}v": v[0]}
    return made


def told(x: Tensor) -> Tensor:
    flat = x.flatten().double()
    return torch.stack([flat.mean(), flat.square().mean(), *flat[torch.linspace(0, len(flat) - 1, 7).long()[1:-1]]])


def picture(*shape: int) -> Tensor:
    return 2 * Stream(1, "picture").uniform(*shape) - 1


def by_order(net: nn.Module) -> None:
    for k, p in enumerate(net.parameters()):
        p.data = filled({str(k): p.shape})[str(k)]


def read(system: str) -> System:
    """Ours with the numbers of the public file."""
    public = filled(PARITY[system]["shapes"])
    assert recognise(public, KINDS) == {"": KIND[system]}
    found = from_public(KIND[system], public)
    made = build(system, found.architecture.spec(PARITY[system]["side"]), dict(found.architecture.arguments))
    made.load_state_dict(made.state_dict() | found.tensors)
    again = to_public(KIND[system], found.architecture, found.tensors)
    assert again.keys() == public.keys() and all(torch.equal(again[name], public[name]) for name in public)
    return made.eval()


@torch.no_grad()
def test_the_rungs_of_the_ladder_differ_in_their_critic_alone() -> None:
    """16 and 70 pixels are parts of their pictures, 286 are more than all, and each critic has room."""
    rungs = {name: load_recipe(f"pix2pix-ladder-{name}") for name in ("l1", "1", "16", "70", "whole")}
    patches = {name: recipe.model.get("patch") for name, recipe in rungs.items()}
    assert patches == {"l1": None, "1": 1, "16": 16, "70": 70, "whole": 286} and rungs["l1"].model["adversarial"] == 0
    alike = [
        {
            **recipe.model_dump(exclude={"name", "about"}),
            "model": {k: recipe.model[k] for k in ("ngf", "depth", "norm")},
        }
        for recipe in rungs.values()
    ]
    assert all(one == alike[0] for one in alike) and alike[0]["size"] == 128
    assert map_side(128, PATCHES[286]) > 0


def test_parity_of_generators() -> None:
    layout, one = Stream(1, "layout"), ImageRng([0])
    made = read("pix2pix").sample(Condition(source=picture(1, 1, 64, 64)), one, Sampling(dropout=False))
    both = {"pix2pix": made, "cyclegan": read("cyclegan").sample(Condition(source=picture(2, 3, 32, 32)), one)}
    given = Condition(layout=layout.integers(5, 2, 64, 64), source=picture(2, 1, 64, 64))
    both["pix2pix-hd"] = read("pix2pix-hd").sample(given, one)
    spade = read("spade").get_submodule("generator")
    hot = F.one_hot(Stream(1, "layout").integers(5, 2, 256, 256), 5).movedim(3, 1).float()
    both["spade"] = spade(hot, Stream(1, "z").normal(2, 6))
    for name, image in both.items():
        torch.testing.assert_close(told(image), torch.tensor(PARITY[name]["told"]).double(), atol=1e-5, rtol=0)


@torch.no_grad()
def test_parity_of_critics() -> None:
    affine, x = Norm.INSTANCE_AFFINE, picture(1, 4, 64, 64)
    for name, net in (
        ("patch 70", PatchCritic(4, ndf=4, norm=affine)),
        ("patch 1", PixelCritic(4, ndf=4, norm=affine)),
    ):
        by_order(net)
        torch.testing.assert_close(told(net(x)), torch.tensor(PARITY[name]["told"]).double(), atol=1e-5, rtol=0)
    scales = MultiScaleCritic(4, ndf=4)
    for critic in scales.critics:
        by_order(critic)
    found = torch.cat([told(one) for maps in scales(x) for one in (maps[1], maps[-1])])
    torch.testing.assert_close(found, torch.tensor(PARITY["scales"]["told"]).double(), atol=1e-5, rtol=0)


# -- published files ----------------------------------------------------------------------------------


def test_a_published_generator_becomes_a_model_and_translates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pickle of the old names, statistics of its norms among them, by the commands alone."""
    public = filled(PARITY["pix2pix"]["shapes"])
    statistics = {"model.model.1.model.2.running_mean": torch.zeros(8)}
    torch.save(public | statistics, tmp_path / "edges.pth")
    assert main(["convert", str(tmp_path / "edges.pth"), "--size", "64"]) == 0
    grey = Image.fromarray((255 * (picture(1, 1, 96, 160)[0, 0].numpy() + 1) / 2).astype(np.uint8))
    grey.save(tmp_path / "drawing.png")
    assert main(["translate", str(tmp_path / "edges"), str(tmp_path / "drawing.png")]) == 0
    with Image.open(tmp_path / "drawing-translated.png") as made:
        assert made.size == (96, 64)  # the whole picture, as near as 32 pixels go
    assert (tmp_path / "drawing-translated-before-after.png").is_file()
    assert "before and after" in capsys.readouterr().out


def test_what_is_unknown_is_told_by_name(tmp_path: Path) -> None:
    half = {k: v for k, v in filled(PARITY["cyclegan"]["shapes"]).items() if not k.startswith("model.11")}
    save_file(half, tmp_path / "half.safetensors")
    with pytest.raises(WeightsError, match="lacks"):
        convert_file(tmp_path / "half.safetensors")
    with pytest.raises(WeightsError, match=r"a generator of CycleGAN .*zeuxis convert"):
        read_public(filled(PARITY["cyclegan"]["shapes"]), "it")


# -- pairs --------------------------------------------------------------------------------------------


def test_the_colours_of_classes_are_those_of_pascal_voc() -> None:
    assert class_colours(9)[[0, 1, 2, 3, 8]].tolist() == [
        [0, 0, 0],
        [128, 0, 0],
        [0, 128, 0],
        [128, 128, 0],
        [64, 0, 0],
    ]
    assert len(class_colours(200).unique(dim=0)) == 200


def test_layouts_are_sources() -> None:
    index = torch.arange(4)
    drawn, lined = (open_source(f"scenes | {way}", 32).batch(index).condition for way in ("layout", "outlines"))
    assert drawn.layout is not None and drawn.source is not None and lined.source is not None
    torch.testing.assert_close(drawn.source, coloured(drawn.layout))
    assert lined.source.shape == (4, 1, 32, 32) and set(lined.source.unique().tolist()) == {-1.0, 1.0}
    small = torch.tensor([[[0, 0, 1], [0, 0, 1], [0, 0, 0]]])
    assert borders(small)[0, 0].tolist() == [[0, 1, 1], [0, 1, 1], [0, 0, 1]]
    with pytest.raises(Unsupported, match="no class for every pixel"):
        open_source("scenes-day-night | layout")


def test_drawn_masks_are_sources_or_what_is_made(tmp_path: Path) -> None:
    for k in range(2):
        drawn = np.zeros((16, 16), np.uint8)
        drawn[k + 3, 2:14] = 255  # a line
        for name, picture in (("images", np.full((16, 16, 3), 40 * k, np.uint8)), ("masks", drawn)):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(picture).save(tmp_path / name / f"{k}.png")
    one = torch.tensor([1])
    wanted = torch.full((1, 1, 16, 16), -1.0)
    wanted[0, 0, 4, 2:14] = 1
    found, back = (open_source(f"{tmp_path} | {pair}") for pair in ("masks", "masks:image->mask"))
    batch, turned = found.batch(one), back.batch(one)
    assert batch.condition.source is not None and torch.equal(batch.condition.source, wanted)
    assert torch.equal(turned.image, wanted) and torch.equal(turned.condition.source, batch.image)  # type: ignore[arg-type]
    assert found.spec.source_shape == (1, 16, 16) and found.spec.shape == (3, 16, 16)
    assert (back.spec.shape, back.spec.source_shape) == (found.spec.source_shape, found.spec.shape)
    assert found.spec.provides == back.spec.provides == {"source"} and batch.condition.given == {"source"}
    recipe = load_recipe("pix2pix").model_copy(update={"model": {"ngf": 2, "depth": 4, "ndf": 2, "patch": 16}})
    assert build_for(recipe, back).shape == (1, 16, 16)
    with pytest.raises(Unsupported, match=r"needs source, .*use --pair masks, by which its masks become sources, or "):
        build_for(recipe, open_source(tmp_path))
    with pytest.raises(Unsupported, match="images/ and masks/"):
        open_source("scenes | masks", 32)
    with pytest.raises(UsageError, match="write masks, or masks:image->mask"):
        parse_pairing("masks:there")


def test_sides_of_pairs_change_places() -> None:
    way, back = (open_source(f"phantoms | style:{one}", 32).batch(torch.arange(2)) for one in ("t1->t2", "t2->t1"))
    assert way.condition.source is not None and back.condition.source is not None
    assert torch.equal(way.image, back.condition.source) and torch.equal(way.condition.source, back.image)
    with pytest.raises(UnknownName, match="t1"):
        open_source("phantoms | style:t3->t1", 32)
    spaced = open_source("phantoms | style: t2 -> t1", 32).batch(torch.arange(2))
    assert torch.equal(spaced.image, back.image)
    with pytest.raises(UsageError, match="same side"):
        open_source("phantoms | style:t1->source", 32)
    with pytest.raises(UsageError, match="write style"):
        parse_pairing("style:t1")
    with pytest.raises(UsageError, match="makes pairs by itself"):
        parse_pairing("layout | blur:2")


def pictures(folder: Path, n: int, size: tuple[int, int], *, shade: int = 0) -> Path:
    folder.mkdir(parents=True)
    for k in range(n):
        left = np.full((size[1], size[0] // 2, 3), 10 * k + shade, np.uint8)
        Image.fromarray(np.concatenate([left, 255 - left], 1)).save(folder / f"{k}.png")
    return folder


def test_halves_are_pairs(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "facades", 12, (32, 16))
    batch = open_source(f"{folder} | halves", 16).batch(torch.arange(3))
    assert batch.condition.source is not None and batch.image.shape == batch.condition.source.shape == (3, 3, 16, 16)
    torch.testing.assert_close(batch.image, -batch.condition.source)
    turned = open_source(f"{folder} | halves:right->left", 16).batch(torch.arange(3))
    assert torch.equal(turned.image, batch.condition.source)
    with pytest.raises(Unsupported, match="is of a folder"):
        open_source("scenes | halves", 16)


def test_halves_of_long_pictures_are_cut_alike(tmp_path: Path) -> None:
    """Each half has its own middle: of what is longer than two squares the outer ends alone would be lost."""
    folder = tmp_path / "long"
    folder.mkdir()
    ramp = np.tile(np.arange(32, dtype=np.uint8)[:, None] * 8, (16, 1, 3)).reshape(16, 32, 3)
    for k in range(3):
        Image.fromarray(np.concatenate([ramp, ramp], 1)).save(folder / f"{k}.png")  # 64x16: halves of 32x16
    for fit in ("square", "crop"):
        batch = open_source(f"{folder} | halves", 16, fit=fit).batch(torch.arange(2))
        assert torch.equal(batch.image, batch.condition.required("source")), fit


def test_two_folders_are_unpaired_and_no_pairs(tmp_path: Path) -> None:
    one, other = pictures(tmp_path / "a", 12, (16, 16)), pictures(tmp_path / "b", 15, (16, 16), shade=90)
    source = open_source(f"{one} -> {other}", 16)
    assert len(source) >= 12 and not source.paired and source.spec.source_shape == (3, 16, 16)
    tiny = {"model": {"ngf": 4, "blocks": 1, "ndf": 4, "layers": 1, "pool": 2}}
    build_for(load_recipe("cyclegan").model_copy(update=tiny), source)
    with pytest.raises(Unsupported, match="no two belong together"):
        build_for(load_recipe("pix2pix"), open_source("scenes-day-night", 32))
    with pytest.raises(Unsupported, match="no two belong together"):
        build_for(load_recipe("pix2pix"), open_source("scenes-day-night | style:image->source", 32))
    with pytest.raises(Unsupported, match=r"cyclegan' needs source.*use two collections \(--data FIRST SECOND"):
        build_for(load_recipe("cyclegan"), open_source(str(one), 16))
    with pytest.raises(UsageError, match=r"leave out 'blur:2' \(--pair\), and use cyclegan"):
        open_source(f"{one} -> {other} | blur:2", 16)
    with pytest.raises(UsageError, match="write A -> B"):
        open_source(f"{one} -> {other} -> {one}", 16)


def test_two_collections_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = pictures(tmp_path / "a", 12, (16, 16)), pictures(tmp_path / "b", 12, (16, 16), shade=90)
    small = [f"--set=model.{k}={v}" for k, v in (("ngf", 4), ("blocks", 1), ("ndf", 4), ("layers", 1), ("pool", 2))]
    given = ["--size", "16", "--iterations", "1", "--batch", "2", "--track", "none", *small]
    assert main(["train", "cyclegan", "--data", str(one), str(other), "--out", str(tmp_path / "run"), *given]) == 0
    assert main(["translate", str(tmp_path / "run"), str(one), "--out", str(tmp_path / "made")]) == 0
    assert len(list((tmp_path / "made").glob("[0-9]*.png"))) == 12
    capsys.readouterr()
    assert main(["translate", str(tmp_path / "run"), str(one), "--out", str(tmp_path / "made")]) == 0
    assert "done before: 12" in capsys.readouterr().out
    assert main(["train", "cyclegan", "stray"]) == 2
    assert "unexpected argument stray" in capsys.readouterr().err


# -- systems ------------------------------------------------------------------------------------------


def test_sources_of_other_channels_and_sizes() -> None:
    for name, more in (("pix2pix", {"depth": 3, "patch": 1}), ("cyclegan", {"blocks": 1, "identity": 0.0, "patch": 1})):
        facts = DataSpec(Shape(3, 16, 16), source_shape=Shape(1, 8, 8))
        system = build(name, facts, {"ngf": 4, "ndf": 4, **more}).eval()
        made = system.sample(Condition(source=picture(2, 1, 8, 8)), ImageRng([0, 1]))
        assert made.shape == (2, 3, 16, 16)
    with pytest.raises(UsageError, match=r"model\.identity=0"):
        build("cyclegan", facts, {})


def test_what_does_not_fit_is_refused() -> None:
    for system, spec, more, told_so in (
        ("pix2pix", spec_of(side=48), {"depth": 5}, "multiples of 32"),
        ("pix2pix", spec_of(), {"depth": 3, "patch": 286}, "no room"),
        ("pix2pix", spec_of(), {"depth": 3, "patch": 20}, "not 20"),
        ("spade", spec_of(), {"doublings": 3}, "name no classes"),
        ("pix2pix-hd", spec_of(side=16, classes=3), {}, "from 32 pixels"),
        ("cyclegan", spec_of(side=18), {}, "multiples of 4"),
        ("cyclegan", spec_of(), {"pool": -1}, r"model\.pool=-1"),
        ("pix2pix", spec_of(), {"depth": 0}, r"model\.depth=0: give 1"),
        ("spade", spec_of(classes=3), {"doublings": 3, "scales": 0}, r"model\.scales=0"),
        ("pix2pix-hd", spec_of(classes=3), {"downs": 2, "coarse": 1.0}, "below 1"),
    ):
        with pytest.raises(UsageError, match=told_so):
            build(system, spec, dict(more))
    spade = build("spade", spec_of(classes=3), {"ngf": 1, "nz": 4, "doublings": 3, "hidden": 4, "ndf": 4, "layers": 1})
    with pytest.raises(UsageError, match="knows 3 classes"):
        spade.sample(Condition(layout=torch.full((1, 32, 32), 3)), ImageRng([0]))


def test_noise_is_dropout_of_the_pictures_own_seed() -> None:
    system = build("pix2pix", spec_of(), {"ngf": 4, "depth": 5, "ndf": 4, "patch": 16}).eval()
    x = Condition(source=picture(1, 3, 32, 32).expand(2, -1, -1, -1))
    one, two = system.sample(x, ImageRng([0, 1]))
    assert not torch.equal(one, two)
    still = system.sample(x, ImageRng([0, 1]), Sampling(dropout=False))
    torch.testing.assert_close(still[0], still[1])


def test_a_style_is_encoded() -> None:
    system = build("spade", spec_of(classes=3), {"ngf": 2, "nz": 8, "doublings": 3, "hidden": 8, "ndf": 4, "layers": 1})
    system.eval()
    layout, styles = Stream(0).integers(3, 1, 32, 32).expand(2, -1, -1), picture(2, 3, 32, 32)
    encoder = system.get_submodule("encoder")
    mean, log_variance = encoder(styles)
    z = mean + (0.5 * log_variance).exp() * ImageRng([4, 5]).normal(2, 8)
    hot = F.one_hot(layout, 3).movedim(3, 1).float()
    made = system.sample(Condition(layout=layout, style=styles), ImageRng([4, 5]))
    torch.testing.assert_close(made, system.get_submodule("generator")(hot, z))


def test_the_coarse_network_learns_alone_first() -> None:
    more = {"ngf": 2, "downs": 2, "blocks": 1, "enhancers": 1, "enhancer_blocks": 1, "ndf": 4, "layers": 1, "scales": 1}
    system = build("pix2pix-hd", spec_of(classes=3), more)
    batch = Batch(picture(2, 3, 32, 32), Condition(layout=Stream(0).integers(3, 2, 32, 32)))
    paint = system.moves()[0].loss
    for progress, side, moved in ((0.0, 16, False), (0.9, 32, True)):
        system.zero_grad()
        turn = Turn(batch, Stream(0), 0, progress)
        loss = paint(turn)
        assert loss is not None and turn.memo["seen"][2].shape[2] == side
        loss.backward()
        inner = [p.grad for p in system.get_submodule("generator.enhancers").parameters()]
        assert any(g is not None and bool(g.any()) for g in inner) is moved


# -- painting -----------------------------------------------------------------------------------------


def test_layouts_are_painted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = DataSpec(Shape(3, 32, 32), layout_names=("sky", "ground", "circle"), provides=frozenset({"layout"}))
    more = {"ngf": 1, "nz": 4, "doublings": 3, "hidden": 4, "ndf": 4, "layers": 1}
    write_model(tmp_path / "model", build("spade", facts, more), {})
    numbers = np.zeros((64, 64), np.uint8)
    numbers[32:] = 1
    Image.fromarray(numbers).save(tmp_path / "numbers.png")
    Image.fromarray(class_colours(3).numpy()[numbers]).save(tmp_path / "colours.png")
    for name in ("numbers", "colours"):
        given = ["--layout", str(tmp_path / f"{name}.png"), "--out", str(tmp_path / f"{name}-made.png")]
        assert main(["paint", str(tmp_path / "model"), "--style", str(tmp_path / "colours.png"), *given]) == 0
    with Image.open(tmp_path / "numbers-made.png") as one, Image.open(tmp_path / "colours-made.png") as other:
        assert np.array_equal(np.asarray(one), np.asarray(other))
    assert read_record(tmp_path / "numbers-made.png")["condition"].keys() == {"layout", "style"}
    assert (tmp_path / "numbers-made-sheet.png").is_file()
    assert "its middle" not in capsys.readouterr().err
    Image.fromarray(numbers[:32]).save(tmp_path / "wide.png")
    given = ["--layout", str(tmp_path / "wide.png"), "--out", str(tmp_path / "wide-made.png")]
    assert main(["paint", str(tmp_path / "model"), *given]) == 0
    assert "wide.png: its middle was painted, 50% of it, at 32x32" in capsys.readouterr().err
    Image.new("RGB", (32, 32), (1, 2, 3)).save(tmp_path / "odd.png")
    assert main(["paint", str(tmp_path / "model"), "--layout", str(tmp_path / "odd.png")]) == 2
    assert "#010203" in (err := capsys.readouterr().err) and "#800000 ground" in err
    Image.new("L", (32, 32), 7).save(tmp_path / "seven.png")
    assert main(["paint", str(tmp_path / "model"), "--layout", str(tmp_path / "seven.png")]) == 2
    assert "class 7" in capsys.readouterr().err
    assert main(["paint", str(tmp_path / "model"), "--classes"]) == 0
    assert "circle" in capsys.readouterr().out
    assert main(["paint", str(tmp_path / "model"), "--classes", "-n", "2"]) == 2
    assert "-n: --classes lists them" in capsys.readouterr().err
    given = [str(tmp_path / f"{name}.png") for name in ("numbers", "odd")]
    assert main(["paint", str(tmp_path / "model"), "--layout", given[0], "--source", given[1]]) == 2
    assert "leave the source out" in capsys.readouterr().err
    assert main(["translate", str(tmp_path / "model"), str(tmp_path / "odd.png")]) == 2
    assert "zeuxis paint" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["L", "LA", "P", "I;16", "I", "1"])
def test_a_layout_is_read_in_every_mode_that_holds_whole_numbers(mode: str, tmp_path: Path) -> None:
    """Image editors save grey with transparency: how opaque a pixel is says nothing of its class."""
    numbers = np.zeros((6, 8), np.uint8)
    numbers[2:, 3:] = 1
    plain = Image.fromarray(numbers)
    kept = Image.fromarray(numbers.astype(bool)) if mode == "1" else plain.convert(mode)
    kept.save(tmp_path / ("a.tif" if mode == "I" else "a.png"))
    found = layout_of(str(next(tmp_path.iterdir())), (8, 6), ("sky", "ground"), "it")
    assert np.array_equal(found.numpy(), numbers)


def test_a_layout_of_fractions_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((6, 8), 0.5, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match="floating-point pixels name no classes"):
        layout_of(str(tmp_path / "a.tif"), (8, 6), ("sky", "ground"), "it")


def test_a_translator_of_layouts_paints_too(tmp_path: Path) -> None:
    spec = open_source("scenes | layout", 32).spec
    model = build("pix2pix", spec, {"ngf": 4, "depth": 5, "ndf": 4, "patch": 16})
    write_model(tmp_path / "model", model, {"data": "scenes | layout"})
    Image.new("L", (32, 32), 2).save(tmp_path / "circles.png")
    given = ["--layout", str(tmp_path / "circles.png"), "--out", str(tmp_path / "made")]
    assert main(["paint", str(tmp_path / "model"), "-n", "2", *given]) == 0
    assert {path.name for path in (tmp_path / "made").iterdir()} == {"0000.png", "0001.png", "sheet.png"}


def test_a_folder_with_a_damaged_picture_is_translated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = DataSpec(Shape(3, 32, 32), source_shape=Shape(3, 32, 32), provides=frozenset({"source"}))
    write_model(tmp_path / "model", build("cyclegan", facts, {"ngf": 2, "blocks": 1, "ndf": 2, "pool": 0}), {})
    folder = pictures(tmp_path / "in", 3, (48, 32))
    (folder / "bad.png").write_bytes(b"no picture")
    Image.new("RGB", (600, 2)).save(folder / "long.png")
    (folder / "notes.txt").write_text("none")
    assert main(["translate", str(tmp_path / "model"), str(folder)]) == 1
    told_so = capsys.readouterr()
    assert "would become 9600x32" in told_so.err
    assert "bad.png" in told_so.err and "notes.txt: not a picture" in told_so.err and "3 pictures" in told_so.out
    with Image.open(tmp_path / "in-translated" / "0.png") as made:
        assert made.size == (48, 32)
    assert read_record(tmp_path / "in-translated" / "0.png")["translated_from"] == "0.png"


@pytest.mark.parametrize("size", [(5, 3), (1, 1), (40, 4)])
def test_pictures_of_few_pixels_are_translated_at_their_own_size(size: tuple[int, int], tmp_path: Path) -> None:
    """Where the network is coarsest they are a point, which can be neither mirrored nor normalised."""
    facts = DataSpec(Shape(3, 32, 32), source_shape=Shape(3, 32, 32), provides=frozenset({"source"}))
    model = Model("m", build("cyclegan", facts, {"ngf": 2, "blocks": 1, "ndf": 2, "pool": 0}), {"sha256": "0"})
    Image.new("RGB", size, "red").save(tmp_path / "icon.png")
    (made,) = translate(model, [tmp_path / "icon.png"], size="own", page=False).done
    with Image.open(made) as found:
        assert all(4 <= side < wanted + 4 for side, wanted in zip(found.size, size, strict=True))


def test_a_size_of_nothing_is_refused(tmp_path: Path) -> None:
    facts = DataSpec(Shape(3, 32, 32), source_shape=Shape(3, 32, 32), provides=frozenset({"source"}))
    model = Model("m", build("cyclegan", facts, {"ngf": 2, "blocks": 1, "ndf": 2, "pool": 0}), {"sha256": "0"})
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="size 0: give pixels of the shorter side"):
        translate(model, [tmp_path / "a.png"], size=0)
    (tmp_path / "b.png").write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
    with pytest.raises(DataError, match=r"holds HEIC.*convert it to PNG"):
        translate(model, [tmp_path / "b.png"])


def test_no_file_is_lost_to_a_sheet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a picture called as the sheet would be, given or beside what is given."""
    facts = DataSpec(Shape(3, 16, 16), source_shape=Shape(3, 16, 16), provides=frozenset({"source"}))
    write_model(tmp_path / "model", build("cyclegan", facts, {"ngf": 2, "blocks": 1, "ndf": 2, "pool": 0}), {})
    folder = pictures(tmp_path / "in", 2, (16, 16))
    (folder / "0.png").rename(folder / "before-after.png")
    assert main(["translate", str(tmp_path / "model"), str(folder)]) == 0
    made = tmp_path / "in-translated"
    assert {path.name for path in made.iterdir()} == {"1.png", "before-after.png", "before-after-sheet.png"}
    assert "sheet_of" not in read_record(made / "before-after.png")
    kept = (folder / "before-after.png").read_bytes()
    both = [str(path) for path in (pictures(tmp_path / "more", 1, (16, 16)) / "0.png", folder / "1.png")]
    (tmp_path / "more" / "before-after.png").write_bytes(kept)
    assert main(["translate", str(tmp_path / "model"), *both]) == 2
    assert "before-after.png is there" in capsys.readouterr().err
    assert (tmp_path / "more" / "before-after.png").read_bytes() == kept


def test_what_is_there_is_not_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = DataSpec(Shape(3, 16, 16), source_shape=Shape(3, 16, 16), provides=frozenset({"source"}))
    write_model(tmp_path / "model", build("cyclegan", facts, {"ngf": 2, "blocks": 1, "ndf": 2, "pool": 0}), {})
    model, folder = load(tmp_path / "model"), pictures(tmp_path / "in", 3, (16, 16))
    translate(model, [folder])
    (tmp_path / "in-translated" / "1.png").unlink()
    seen: list[int] = []
    draw = CycleGAN.sample
    monkeypatch.setattr(CycleGAN, "sample", lambda self, *rest: (seen.append(1), draw(self, *rest))[1])
    found = translate(model, [folder])
    assert (len(found.done), len(found.before), len(seen)) == (1, 2, 1)
    assert read_record(tmp_path / "in-translated" / "before-after.png")["sheet_of"] == 3


def test_what_is_there_with_other_marks_is_not_what_is_asked_for(tmp_path: Path) -> None:
    facts = DataSpec(Shape(3, 16, 16), source_shape=Shape(3, 16, 16), provides=frozenset({"source"}))
    write_model(tmp_path / "model", build("cyclegan", facts, {"ngf": 2, "blocks": 1, "ndf": 2, "pool": 0}), {})
    model, (picture,) = load(tmp_path / "model"), pictures(tmp_path / "in", 1, (16, 16)).iterdir()
    made = tmp_path / "in" / f"{picture.stem}-translated.png"

    def again(watermark: bool | None = None, credentials: bool = False, **more: Any) -> Any:
        with marking(Marks(watermark=watermark)):
            translate(model, [picture], size=256, page=False, **more)
        with marking(Marks(watermark=watermark, credentials=credentials)):
            return translate(model, [picture], size=256, page=False, **more)

    assert again().before == (made,) and WATERMARK in read_record(made)
    with pytest.raises(DataError, match="is with a watermark, and is asked for without: give another --out, or --over"):
        again(watermark=False)
    assert again(watermark=False, overwrite=True).before == (made,) and WATERMARK not in read_record(made)
    with pytest.raises(DataError, match="is without a watermark, and is asked for with"):
        again()
    with pytest.raises(DataError, match="is without credentials, which are asked for"):
        again(watermark=False, credentials=True)


def test_a_dark_picture_of_16_bits_is_told_of(tmp_path: Path) -> None:
    facts = DataSpec(Shape(3, 16, 16), source_shape=Shape(3, 16, 16), provides=frozenset({"source"}))
    write_model(tmp_path / "model", build("cyclegan", facts, {"ngf": 2, "blocks": 1, "ndf": 2, "pool": 0}), {})
    for name, white in (("dark", 4095), ("light", 65535)):
        Image.fromarray(np.full((16, 16), white, np.uint16)).save(tmp_path / f"{name}.png")
    found = translate(load(tmp_path / "model"), [tmp_path / "dark.png", tmp_path / "light.png"])
    (note,) = found.notes
    assert (
        note.startswith(str(tmp_path / "dark.png")) and "if it holds 12 bits, multiply its values by 16 first" in note
    )


def test_what_of_a_picture_is_not_translated_is_told(tmp_path: Path) -> None:
    spec = DataSpec(Shape(3, 16, 16), source_shape=Shape(3, 16, 16), provides=frozenset({"source"}))
    card = {"data": "x", "sha256": "0" * 64}
    model = Model("m", build("pix2pix", spec, {"ngf": 2, "depth": 4, "ndf": 2, "patch": 1}), card)
    clear, plain = Image.new("RGBA", (16, 16), (9, 9, 9, 0)), Image.new("RGB", (16, 16), (9, 9, 9))
    clear.save(tmp_path / "a.png")
    plain.save(tmp_path / "b.tif", save_all=True, append_images=[plain])
    plain.save(tmp_path / "c.png")
    notes = translate(model, [tmp_path / "a.png", tmp_path / "b.tif", tmp_path / "c.png"], tmp_path / "out").notes
    assert [note.partition(": ")[2] for note in notes] == [
        "what is transparent in it was white to the model, and the result has no transparency",
        "it has 2 pages: the first is translated",
    ]


def test_a_restorer_that_translates_says_what_restores(tmp_path: Path) -> None:
    spec = DataSpec(Shape(3, 16, 16), source_shape=Shape(3, 16, 16), provides=frozenset({"source"}))
    model = Model("m", build("dncnn", spec, {"width": 2, "depth": 3}), {"data": "x | noise:0.1", "sha256": "0" * 64})
    (note,) = translate(model, [pictures(tmp_path / "in", 1, (16, 16))], tmp_path / "out").notes
    assert "zeuxis restore PICTURE --model m makes the whole" in note


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("a | edges:0.2", True),
        ("a | outlines", True),
        ("a | masks", True),
        ("a | masks:image->mask", False),
        ("a", False),
    ],
)
def test_of_what_is_light_it_is_said_where_the_model_learnt_of_lines(data: str, told: bool, tmp_path: Path) -> None:
    """Of photographs that become masks a bright one is no drawing on paper."""
    spec = DataSpec(Shape(3, 16, 16), source_shape=Shape(3, 16, 16), provides=frozenset({"source"}))
    model = Model("m", build("pix2pix", spec, {"ngf": 2, "depth": 4, "ndf": 2, "patch": 1}), {"data": data})
    Image.new("L", (16, 16), 200).save(tmp_path / "light.png")
    assert bool(_on_paper(model, tmp_path / "light.png", invert=False)) == told


def test_of_many_light_pictures_one_line_is_said(tmp_path: Path) -> None:
    spec = DataSpec(Shape(3, 16, 16), source_shape=Shape(3, 16, 16), provides=frozenset({"source"}))
    model = Model(
        "m",
        build("pix2pix", spec, {"ngf": 2, "depth": 4, "ndf": 2, "patch": 1}),
        {"data": "x | edges", "sha256": "0" * 64},
    )
    folder = pictures(tmp_path / "in", 3, (16, 16), shade=200)
    (note,) = translate(model, [folder], tmp_path / "out").notes
    assert "and 2 more are light for the most part" in note and note.endswith("try --invert")


def test_a_drawing_on_paper_is_inverted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = open_source("scenes | edges", 32).spec
    system = build("pix2pix", spec, {"ngf": 4, "depth": 4, "ndf": 4, "patch": 16, "dropped": 0})
    write_model(tmp_path / "model", system, {"data": "scenes | edges"})
    lines = np.full((32, 32), 255, np.uint8)
    lines[10] = 0
    for name, values in (("paper", lines), ("board", 255 - lines)):
        Image.fromarray(values).save(tmp_path / f"{name}.png")
    assert main(["translate", str(tmp_path / "model"), str(tmp_path / "board.png")]) == 0
    assert "--invert" not in capsys.readouterr().err
    assert (
        main(["translate", str(tmp_path / "model"), str(tmp_path / "paper.png"), "--out", str(tmp_path / "a.png")]) == 0
    )
    assert "try --invert" in capsys.readouterr().err
    inverted = ["--invert", "--out", str(tmp_path / "b.png")]
    assert main(["translate", str(tmp_path / "model"), str(tmp_path / "paper.png"), *inverted]) == 0
    with Image.open(tmp_path / "b.png") as one, Image.open(tmp_path / "board-translated.png") as other:
        assert np.array_equal(np.asarray(one), np.asarray(other))


def test_a_critic_without_room_is_told_of_before_the_first_round() -> None:
    small = {"ngf": 2, "blocks": 1, "ndf": 2, "pool": 0}
    with pytest.raises(UsageError, match="no logit of pictures of 16x16 pixels: set layers to 1 or 2"):
        build("cyclegan", spec_of(side=16), {**small, "layers": 3}).players()
    build("cyclegan", spec_of(side=16), {**small, "layers": 2}).players()
