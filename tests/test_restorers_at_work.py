"""Restorers that were trained here in `zeuxis restore`, and the figures of what they make."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from restorers import UNET, built, turn

from zeuxis.api.collectors import Chunk, Restorations, SourceConsistency
from zeuxis.api.measurable import check, restores
from zeuxis.api.model import Model
from zeuxis.api.restore import restore
from zeuxis.api.restore_measure import measure_restorer
from zeuxis.api.restore_models import restorer_for
from zeuxis.cli import main
from zeuxis.cli.train import _next as said_next
from zeuxis.conditions import FIELDS
from zeuxis.data.degraded import DegradedSource
from zeuxis.data.library import open_source
from zeuxis.errors import DataError, Unsupported, UsageError, ZeuxisError
from zeuxis.game import System
from zeuxis.metrics.similarity import cropped, luminance, psnr_y, ssim_y
from zeuxis.metrics.table import METRICS
from zeuxis.rng import ImageRng
from zeuxis.training.checkpoint import write_model

# -- zeuxis restore --------------------------------------------------------------------------------


def photo(folder: Path, width: int = 26, height: int = 18, mode: str = "RGB") -> Path:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(values).convert(mode).save(folder / "a.png")
    return folder / "a.png"


def run_of(folder: Path, system: System, data: str) -> Path:
    write_model(folder / "run" / "model", system.eval(), {"data": data})
    return folder / "run"


def test_a_photograph_is_inpainted_where_its_mask_is_light(tmp_path: Path) -> None:
    run = run_of(tmp_path, built("palette", network=UNET, condition="mask", steps=2), "scenes | strokes:3")
    picture, mask = photo(tmp_path), np.zeros((18, 26), np.uint8)
    mask[3:9, 5:12] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    (made,) = restore([picture], run, f"inpaint:{tmp_path / 'mask.png'}").done
    one, other = np.asarray(Image.open(picture)), np.asarray(Image.open(made))
    assert np.array_equal(one[mask == 0], other[mask == 0]) and not np.array_equal(one, other)
    for k, (many, says) in enumerate(
        ((mask, ()), (255 - mask, ("is light in 91%",)), (np.where(mask, 255, 90), ("neither dark nor light in 91%",)))
    ):
        Image.fromarray(many.astype(np.uint8)).save(tmp_path / "mask.png")
        notes = restore([picture], run, f"inpaint:{tmp_path / 'mask.png'}", out=tmp_path / f"doubt-{k}.png").notes
        assert len(notes) == len(says) and all(say in note for say, note in zip(says, notes, strict=True))
    for wrong, message in (
        (np.zeros((18, 26)), "nothing"),
        (np.full((18, 26), 255), "all of it"),
        (np.zeros((9, 9)), "9x9"),
    ):
        Image.fromarray(wrong.astype(np.uint8)).save(tmp_path / "mask.png")
        with pytest.raises(ZeuxisError, match=message):
            restore([picture], run, f"inpaint:{tmp_path / 'mask.png'}", out=tmp_path / "b.png")
    with pytest.raises(UsageError, match="inpaint:MASK"):
        restore([picture], run)


def test_each_picture_of_a_folder_may_have_a_mask_of_its_own(tmp_path: Path) -> None:
    run = run_of(tmp_path, built("palette", network=UNET, condition="mask", steps=2), "scenes | strokes:3")
    given = {name: tmp_path / "in" / name for name in ("a.png", "deep/a.jpg", "alone.png")}
    for k, file in enumerate(given.values()):
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(k).integers(0, 256, (18, 26, 3), np.uint8)).save(file, quality=95)
    marks = {"a.png": (slice(2, 6), slice(3, 9)), "deep/a.webp": (slice(9, 14), slice(12, 20))}
    for name, where in marks.items():
        mask, file = np.zeros((18, 26), np.uint8), tmp_path / "in" / "masks" / name
        mask[where] = 255
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(file, lossless=True)
    asked = (tmp_path / "in"), run, f"inpaint:{tmp_path / 'in' / 'masks'}", tmp_path / "out"
    made = restore([asked[0]], *asked[1:])
    assert [file.name for file in made.done] == ["a.png", "a.png"] and made.failed == 1, "masks are no pictures"
    assert "and there is no" in made.problems[0] and made.problems[0].endswith("alone.png")
    for source, result, where in zip(list(given.values())[:2], made.done, marks.values(), strict=True):
        one, other = np.asarray(Image.open(source).convert("RGB")), np.asarray(Image.open(result))
        changed = (one != other).any(2)
        assert changed[where].any() and changed.sum() == changed[where].sum()
    Image.fromarray(np.full((18, 26), 255, np.uint8) * np.eye(18, 26, dtype=np.uint8)).save(tmp_path / "in/masks/a.png")
    again = restore([asked[0]], *asked[1:], overwrite=True)
    assert len(again.done) == len(again.before) == 1, "what another mask says is made anew"
    with pytest.raises(UsageError, match="is the folder of masks"):
        restore([tmp_path / "in" / "masks"], *asked[1:])
    (tmp_path / "in/masks/a.jpg").write_bytes((tmp_path / "in/masks/a.png").read_bytes())
    with pytest.raises(ZeuxisError, match=r"a\.jpg and a\.png are both there: leave one"):
        restore([given["a.png"]], *asked[1:])


def test_the_page_tells_the_command_as_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the mask, and without a task where none was named: of some runs there is no name for what they do."""
    monkeypatch.chdir(tmp_path)
    masked = run_of(tmp_path, built("palette", network=UNET, condition="mask", steps=1), "x | strokes:3")
    Image.fromarray(np.eye(18, 26, dtype=np.uint8) * 255).save(tmp_path / "mask.png")
    made = restore([photo(tmp_path)], masked, "inpaint:mask.png", page=True)
    assert made.page is not None and "--task inpaint:mask.png" in made.page.read_text(encoding="utf-8")
    plain = run_of(tmp_path, built("sr-resnet", blocks=1, width=4), "x | grey | blur:2")
    made = restore([photo(tmp_path)], plain, out="b.png", page=True)
    assert made.task == "restore" and made.page is not None
    assert "--task" not in made.page.read_text(encoding="utf-8")


def test_a_model_may_enlarge_by_more_than_published_ones(tmp_path: Path) -> None:
    run = run_of(tmp_path, built("sr-resnet", 8, 4, blocks=1, width=4), "x | bicubic:8")
    assert restorer_for(run, "enlarge:8").network.scale == 8 and restorer_for(run, "enlarge:5").network.scale == 5
    four = run_of(tmp_path, built("sr-resnet", 4, 4, blocks=1, width=4), "x | bicubic:4")
    with pytest.raises(UsageError, match="--scale 8 trains one"):
        restorer_for(four, "enlarge:8")


def test_a_grey_photograph_gets_colours(tmp_path: Path) -> None:
    run = run_of(tmp_path, built("palette", network=UNET, steps=2), "scenes | grey")
    (made,) = restore([photo(tmp_path, mode="L")], run).done
    assert Image.open(made).mode == "RGB" and restorer_for(run, None).task == "colorize"
    profile = bytes(16) + b"GRAY" + bytes(108)
    Image.open(photo(tmp_path, mode="L")).save(tmp_path / "profile.png", icc_profile=profile)
    told = restore([tmp_path / "profile.png"], run)
    assert "icc_profile" not in Image.open(told.done[0]).info and "profile is of grey: it is left out" in told.notes[-1]


DEBLUR = {"blocks": 1, "width": 4, "critic_width": 4, "scales": 2, "strides": (2, 2)}


@pytest.mark.parametrize(
    ("system", "model", "data", "task"),
    [
        ("danet", {"width": 4, "levels": 2, "ndf": 4}, "scenes | sensor", "denoise"),
        ("deep-deblur", DEBLUR, "x | motion", "deblur"),
        ("deblurgan", {"ngf": 4, "blocks": 1, "ndf": 4, "layers": 1}, "x | blur:2", "deblur"),
        ("sr3", {"network": UNET, "steps": 2}, "x | bicubic:2", "enlarge:2"),
    ],
)
def test_every_restorer_restores_pictures_of_any_size(
    system: str, model: dict[str, object], data: str, task: str, tmp_path: Path
) -> None:
    scale = 2 if task.startswith("enlarge") else 1
    run = run_of(tmp_path, built(system, scale, **model), data)
    made = restore([photo(tmp_path)], run)
    assert made.task == task and Image.open(made.done[0]).size == (26 * scale, 18 * scale)


@pytest.mark.parametrize(
    ("system", "model"),
    [
        ("deblurgan", {"ngf": 4, "blocks": 1, "ndf": 4, "layers": 1}),
        ("deep-deblur", {"blocks": 1, "width": 4, "critic_width": 4, "scales": 2, "strides": (2, 2)}),
        ("danet", {"width": 4, "levels": 2, "ndf": 4}),
        ("colorizer", {"width": 4}),
        ("palette", {"network": UNET, "steps": 1}),
    ],
)
@pytest.mark.parametrize("size", [(1, 1), (1, 9)])
def test_pictures_may_be_as_small_as_a_pixel(system: str, model: dict[str, object], size: tuple[int, int]) -> None:
    network = built(system, **model).eval().picture_network()  # type: ignore[operator]
    assert network(torch.full((1, 3, *size), 0.5)).shape == (1, 3, *size)


def test_whether_a_mask_is_taken_is_the_networks_to_say(tmp_path: Path) -> None:
    """A palette's data may be damaged otherwise too, and what learnt to fill without a mask takes none."""
    Image.new("L", (26, 18)).save(tmp_path / "mask.png")
    masked = run_of(tmp_path, built("palette", network=UNET, condition="mask", steps=2), "x | jpeg:10 | strokes:3")
    assert restorer_for(masked, f"inpaint:{tmp_path / 'mask.png'}").mask == tmp_path / "mask.png"
    plain = run_of(tmp_path, built("sr-resnet", blocks=1, width=4), "x | strokes:3")
    assert restorer_for(plain, None).task == "inpaint"
    with pytest.raises(UsageError, match="takes no mask"):
        restorer_for(plain, f"inpaint:{tmp_path / 'mask.png'}")


def test_a_knob_is_obeyed_or_refused(tmp_path: Path) -> None:
    run = run_of(tmp_path, built("danet", width=4, levels=2, ndf=4), "x | sensor")
    assert restorer_for(run, None, ["make=clean"]).task == "denoise"
    with pytest.raises(UsageError, match="makes noise at its own size"):
        restorer_for(run, None, ["make=noisy"])
    with pytest.raises(UsageError, match="of the form name=value"):
        restorer_for(run, None, ["make"])


def test_a_training_ends_with_what_its_model_is_for() -> None:
    assert said_next("sr-resnet", Path("runs/a")) == "restore with it: zeuxis restore PHOTO --model runs/a"
    assert said_next("cyclegan", Path("runs/a")) == "translate with it: zeuxis translate runs/a PICTURE"
    assert said_next("spade", Path("runs/a")) == "paint with it: zeuxis paint runs/a --layout PNG"
    assert said_next("dcgan", Path("runs/a")) == "draw with it: zeuxis sample runs/a"
    drawn = said_next("controlnet", Path("runs/a"), (FIELDS["caption"], FIELDS["source"]))
    assert drawn == "draw with it: zeuxis sample runs/a --caption TEXT --source PICTURE"
    assert said_next("caption-lm", Path("runs/a")) == "have it write: zeuxis sample runs/a"
    assert said_next("judge", Path("runs/a")) == "measure it: zeuxis evaluate runs/a"


def test_a_model_that_restores_no_picture_of_any_size_says_how_it_is_used(tmp_path: Path) -> None:
    run = run_of(tmp_path, built("context-encoder", side=32, nef=4, ngf=4, ndf=4, bottleneck=8), "x | mask:0.4375")
    with pytest.raises(UsageError, match=f"zeuxis sample {run} --source PICTURE"):
        restorer_for(run, None)


def test_a_task_without_a_model_names_the_recipe_that_trains_one(tmp_path: Path) -> None:
    for task, recipe in (("colorize", "colorizer"), ("face", "stylegan2-faces"), ("panorama:2", "palette")):
        with pytest.raises(Unsupported, match=f"zeuxis train {recipe} "):
            restore([photo(tmp_path)], task=task)


# -- figures as the field has them -----------------------------------------------------------------


def test_luminance_is_that_of_the_reference_implementation() -> None:
    """BasicSR's bgr2ycbcr and calculate_psnr, restated in numpy."""
    rng = np.random.default_rng(0)
    one, other = (rng.integers(0, 256, (1, 3, 20, 24), np.uint8) for _ in range(2))

    def y(values: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        bgr = values[0].transpose(1, 2, 0)[..., ::-1].astype(np.float64) / 255
        return np.dot(bgr, [24.966, 128.553, 65.481]) + 16.0

    a, b = (torch.from_numpy(x).float() / 127.5 - 1 for x in (one, other))
    np.testing.assert_allclose(luminance(a)[0, 0].numpy(), y(one), atol=1e-4)
    inner = np.s_[4:-4, 4:-4]
    wanted = 10 * np.log10(255**2 / np.mean((y(one)[inner] - y(other)[inner]) ** 2))
    assert float(psnr_y(cropped(a, 4), cropped(b, 4))) == pytest.approx(wanted, abs=1e-6)
    assert float(ssim_y(a, a)) == 1 and float(luminance(-torch.ones(1, 1, 4, 4)).max()) == 0


def test_what_is_restored_is_consistent_where_it_is_the_same_again(tmp_path: Path) -> None:
    """Of a network that enlarges by repetition, and then shrinks to what was given."""
    system = built("sr-resnet", 2, 8, blocks=1, width=4)
    system.network.forward = lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3)  # type: ignore[union-attr]
    source = open_source("scenes | shrink:2", 16, "test")
    assert isinstance(source, DegradedSource)
    collector, batch = SourceConsistency(source), source.batch(torch.tensor([3, 5]))
    collector.add(Chunk(batch, system.sample(batch.condition, ImageRng.counting(0, 2))))
    assert collector.evidence()["scores"]["consistency"].min() > 100
    collector.add(Chunk(batch, batch.image.flip(-1)))
    assert collector.evidence()["scores"]["consistency"][2:].max() < 50


def test_what_is_enlarged_is_measured_without_a_border() -> None:
    system, batch = built("sr-resnet", 2, 8, blocks=1, width=4), turn(2, 8).batch
    made = batch.image.clone()
    made[:, :, :2], made[:, :, :, -2:] = 0, 0  # within two pixels of the border alone
    collector = Restorations(Model("", system, {}), {name: METRICS[name].score for name in ("psnr", "psnr-y")})
    collector.add(Chunk(batch, made))
    scores = collector.evidence()["scores"]
    assert scores["psnr-y"].isinf().all() and scores["psnr"].isfinite().all()


def test_a_restorer_is_measured_against_what_was_damaged(tmp_path: Path) -> None:
    run = run_of(tmp_path, built("sr-resnet", 2, blocks=1, width=4), "x | bicubic:2")
    one, mean = measure_restorer([photo(tmp_path, 40, 32)], run, "bicubic:2")
    assert mean.restored == one.restored and set(one.damaged) == {"psnr", "psnr-y", "ssim-y", "consistency"}
    with pytest.raises(UsageError, match=r"zeuxis evaluate RUN --data FOLDER --pair enlarge:2"):
        measure_restorer([photo(tmp_path, 40, 32)], run, "enlarge:2")
    with pytest.raises(UsageError, match="give another --pair"):
        measure_restorer([tmp_path / "a.png"], run, "bicubic:4")
    noisy = run_of(tmp_path, built("dncnn", depth=3, width=4), "x | noise:0.2")
    assert "consistency" not in measure_restorer([tmp_path / "a.png"], noisy, "noise:0.2")[0].restored


def test_the_figures_of_small_pictures_are_left_out_of_the_mean(tmp_path: Path) -> None:
    run = run_of(tmp_path, built("dncnn", depth=3, width=4), "x | noise:0.2")
    (tmp_path / "small").mkdir()
    small, large = photo(tmp_path / "small", 5, 4), photo(tmp_path, 40, 32)
    *_, mean = measure_restorer([large, small], run, "noise:0.2")
    assert set(mean.restored) == {"psnr", "psnr-y"}
    four = run_of(tmp_path, built("sr-resnet", 4, 8, blocks=1, width=4), "x | bicubic:4")
    told: list[str] = []
    with pytest.raises(UsageError, match="5x4 pixels are too few to measure what enlarges by 4"):
        measure_restorer([large, small], four, "bicubic:4", report=lambda name, share: told.append(name))
    assert not told  # it is said before the first is measured


def test_what_writes_no_picture_takes_no_place_for_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["restore", str(photo(tmp_path)), "--model", "m", "--pair", "noise"]
    assert main([*given, "--out", "b.png", "--overwrite", "--no-page"]) == 2
    assert "leave --out, --overwrite, --page out" in capsys.readouterr().err


def test_a_mask_is_not_measured_by_pairs(tmp_path: Path) -> None:
    Image.new("L", (26, 18)).save(tmp_path / "mask.png")
    run = run_of(tmp_path, built("palette", network=UNET, condition="mask", steps=2), "x | strokes:3")
    with pytest.raises(UsageError, match="measured by zeuxis evaluate"):
        measure_restorer([photo(tmp_path)], run, "noise:0.1", f"inpaint:{tmp_path / 'mask.png'}")


def test_what_is_no_picture_is_told_of_before_the_others_are_measured(tmp_path: Path) -> None:
    """The last of a long folder would lose all figures."""
    run, begun = run_of(tmp_path, built("dncnn", width=2, depth=3), "x | noise:0.1"), list[str]()
    (tmp_path / "z.png").write_text("<html>")
    with pytest.raises(DataError, match=r"z\.png: a page of HTML: leave it out"):
        measure_restorer([photo(tmp_path), tmp_path / "z.png"], run, "noise:0.1", report=lambda at, _: begun.append(at))
    assert not begun


def test_scores_are_of_pictures_that_belong_to_sources() -> None:
    """Neither a model that learnt without pairs is asked for them, nor data without."""
    pairs, apart = open_source("scenes | grey", 16, "test"), open_source("scenes-day-night", 16, "test")
    restorer = Model("r", built("sr-resnet", blocks=1, width=4), {})
    check(restorer, ["psnr"], pairs, 8)
    with pytest.raises(Unsupported, match="belong to their sources"):
        check(restorer, ["psnr"], apart, 8)
    with pytest.raises(Unsupported, match="give --pair"):
        check(restorer, ["frechet"], open_source("scenes", 16, "test"), 8)
    unpaired = Model("c", built("cyclegan", ngf=4, ndf=4, blocks=1, layers=1), {})
    assert not restores(unpaired)
    with pytest.raises(Unsupported, match="rebuilds pictures"):
        check(unpaired, ["psnr"], pairs, 8)


def test_a_score_for_which_too_little_is_left_is_refused_before_anything_is_drawn() -> None:
    source = open_source("scenes | bicubic:4", 16, "test")
    model = Model("r", built("sr-resnet", 4, 4, blocks=1, width=4), {})
    check(model, ["ssim", "psnr-y"], source, 8)
    with pytest.raises(UsageError, match="11 pixels a side, and of 'r' 8 are left"):
        check(model, ["ssim-y"], source, 8)


def low_and_high(tmp_path: Path, factor: int = 2) -> tuple[Path, Path]:
    """Two folders, the one of pictures made smaller as DIV2K has them, of other kinds and by odd sizes."""
    low, high = tmp_path / "low", tmp_path / "high"
    for place in (low, high):
        place.mkdir()
    for k, (width, height) in enumerate([(41, 32), (40, 35)]):
        shown = Image.open(photo(tmp_path, width, height)).convert("RGB")
        shown.save(high / f"000{k}.png")
        inner = shown.crop((0, 0, width - width % factor, height - height % factor))
        small = inner.resize((inner.width // factor, inner.height // factor), Image.Resampling.BICUBIC)
        small.save(low / f"000{k}x{factor}.png")
    return low, high


def test_a_restorer_is_measured_on_pairs_of_ones_own(tmp_path: Path) -> None:
    """The same figures as where the damage is made here, within what rounding to 256 levels leaves."""
    run = run_of(tmp_path, built("sr-resnet", 2, blocks=1, width=4), "x | bicubic:2")
    low, high = low_and_high(tmp_path)
    *each, mean = measure_restorer([low], run, None, against=high)
    *known, _ = measure_restorer([high], run, "bicubic:2")
    assert [one.name for one in each] == ["0000x2.png", "0001x2.png"] and mean.notes == ()
    for one, other in zip(each, known, strict=True):
        assert set(one.restored) == {"psnr", "psnr-y", "ssim-y"}
        assert one.restored["psnr-y"] == pytest.approx(other.restored["psnr-y"], abs=0.05)
        assert one.damaged["psnr"] == pytest.approx(other.damaged["psnr"], abs=0.05)
    (alone, _) = measure_restorer([low / "0001x2.png"], run, None, against=high / "0001.png")
    assert alone.restored == each[1].restored
    *_, mean = measure_restorer([low / "0001x2.png"], run, None, against=high)
    assert "of 1 pictures in" in mean.notes[0]


def test_sources_of_several_scales_are_taken_by_the_model(tmp_path: Path) -> None:
    run = run_of(tmp_path, built("sr-resnet", 2, blocks=1, width=4), "x | bicubic:2")
    low, high = low_and_high(tmp_path)
    for scale in (2, 4):
        (low / f"X{scale}").mkdir()
    for file in sorted(low.glob("*.png")):
        file.rename(low / "X2" / file.name)
        Image.new("RGB", (10, 8)).save(low / "X4" / file.name.replace("x2", "x4"))
    *each, mean = measure_restorer([low], run, None, against=high)
    assert len(each) == 2 and "2 pictures are of another scale than 2" in mean.notes[0]


def test_pairs_that_are_none_are_told_of(tmp_path: Path) -> None:
    run = run_of(tmp_path, built("sr-resnet", 2, blocks=1, width=4), "x | bicubic:2")
    low, high = low_and_high(tmp_path, 4)
    told = r"low/0000x4\.png has 10x8 pixels and .*high/0000\.png 41x32, 4 times .* enlarges by 2: .*--task enlarge:4"
    with pytest.raises(DataError, match=told):
        measure_restorer([low], run, None, against=high)
    Image.new("RGB", (41, 27)).save(high / "0000.png")
    with pytest.raises(DataError, match="is not 2 times as many a side"):
        measure_restorer([low], run, None, against=high)
    (high / "0001.png").unlink()
    with pytest.raises(UsageError, match=r"low/0001x4\.png: --against .*high holds no picture of its name"):
        measure_restorer([low], run, None, against=high)
    with pytest.raises(UsageError, match="give the folder of those"):
        measure_restorer([low], run, None, against=high / "0000.png")
    with pytest.raises(UsageError, match="--pair or --against"):
        measure_restorer([low], run, "bicubic:2", against=high)
    with pytest.raises(UsageError, match="--against: there is no picture or folder"):
        measure_restorer([low], run, None, against=tmp_path / "hihg")


def test_a_grey_picture_is_compared_with_a_coloured_one_in_colour(tmp_path: Path) -> None:
    run = run_of(tmp_path, built("dncnn", depth=3, width=4), "x | noise:0.2")
    shown = Image.open(photo(tmp_path, 40, 32)).convert("L")
    shown.save(tmp_path / "grey.png")
    shown.convert("RGB").save(tmp_path / "colour.png")
    one, _ = measure_restorer([tmp_path / "grey.png"], run, None, against=tmp_path / "colour.png")
    assert one.damaged["psnr"] == float("inf")


def test_the_command_measures_against_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of(tmp_path, built("sr-resnet", 2, blocks=1, width=4), "x | bicubic:2")
    low, high = low_and_high(tmp_path)
    given = ["restore", str(low), "--model", str(run), "--against", str(high)]
    assert main([*given, "--metric", "psnr-y", "--json"]) == 0 and '"psnr-y"' in capsys.readouterr().out
    assert not list(low.glob("*restored*"))
    assert main([*given, "--metric", "consistency"]) == 2 and "damages what was restored" in capsys.readouterr().err
    assert main([*given, "--pair", "bicubic:2"]) == 2 and "leave one of them out" in capsys.readouterr().err
    assert main([*given, "--seed", "1"]) == 2 and "measures, and writes no picture" in capsys.readouterr().err
