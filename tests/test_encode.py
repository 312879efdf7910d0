"""Pictures to a model's codes and back, from the command line: sizes, bits, and files that were tampered with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from zeuxis.api.code_file import KEY, Coded, read_codes, write_codes
from zeuxis.api.coding import MOST_SIDE, REBUILT, decode, encode, fit_to, target_of
from zeuxis.api.model import Model, load
from zeuxis.api.replay import replay
from zeuxis.api.runs import train
from zeuxis.api.still import tensor_of
from zeuxis.batch import to_uint8
from zeuxis.errors import DataError, UsageError, ZeuxisError
from zeuxis.metrics.similarity import psnr
from zeuxis.provenance.record import read_record
from zeuxis.recipe import load_recipe

FILE = "codes/photo.codes.safetensors"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def pca(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of eight principal components of the digits."""
    recipe = load_recipe("pca", ('data="digits"', "size=8", "model.components=8"))
    return str(train(recipe, out=tmp_path_factory.mktemp("runs") / "pca").folder)


@pytest.fixture(scope="module")
def vqgan() -> Model:
    return load("vqgan")


def photo(width: int, height: int, path: str = "photo.png") -> Path:
    """A grey blob in colour, so that it must be turned grey."""
    y, x = np.mgrid[0:height, 0:width]
    blob = 255 * np.exp(-((x / width - 0.5) ** 2 + (y / height - 0.5) ** 2) / 0.05)
    Image.fromarray(blob.astype(np.uint8)).convert("RGB").save(path)
    return Path(path)


# -- there and back -----------------------------------------------------------------------------------


def test_a_picture_in_64_bytes_and_back(command, vqgan: Model) -> None:
    photo(32, 32)
    code, out, err = command("encode", "photo.png", "--with", "vqgan")
    assert code == 0 and err == "" and out.startswith("photo.png: 64 codes of 8 bits: 64 bytes, ")
    assert load_file(FILE)["codes"].dtype == torch.uint8
    code, out, _ = command("decode", FILE)
    assert code == 0 and out == f"{FILE} -> codes/photo-rebuilt.png\n"
    with Image.open("codes/photo-rebuilt.png") as image:
        rebuilt = tensor_of(image)
    image = tensor_of(Image.open("photo.png").convert("L"))
    with torch.inference_mode():
        wanted = vqgan.system.decode(vqgan.system.encode(image))
    assert torch.equal(to_uint8(rebuilt), to_uint8(wanted))
    reported = encode(vqgan, Path("photo.png")).psnr
    assert reported == pytest.approx(float(psnr(rebuilt, image)))


def test_the_rebuilt_picture_says_what_it_is(command, vqgan: Model) -> None:
    photo(32, 32)
    command("encode", "photo.png", "--with", "vqgan")
    command("decode", FILE)
    made = read_record(Path("codes/photo-rebuilt.png"))
    assert (made["model"], made["weights_sha256"]) == ("vqgan", vqgan.weights_sha256)
    assert made["synthetic"] is True and made["disclosure"] == REBUILT and "torch" in made["versions"]
    assert made["condition"] == {"codes": {"of": "photo.png", "bits": 512, "fitted": None}}
    with Image.open("codes/photo-rebuilt.png") as image:
        assert image.info["Description"] == REBUILT
    with pytest.raises(ZeuxisError, match="holds codes: only pictures of zeuxis sample are replayed"):
        replay(made)


def test_numbers_are_told_apart_from_codes(command, pca: str) -> None:
    photo(8, 8)
    code, out, _ = command("encode", "photo.png", "--with", pca, "--out", "here.safetensors", "--json")
    (found,) = json.loads(out)
    assert code == 0 and (found["values"], found["codes"], found["bits"]) == (None, [8], 8 * 32)
    assert found["file"] == "here.safetensors" and found["original_size"] == [8, 8] and found["fitted"] is None
    kept = read_codes(Path("here.safetensors"))
    image = tensor_of(Image.open("photo.png").convert("L"))
    assert torch.equal(kept.codes, load(pca).system.encode(image)[0])
    code, out, _ = command("info", "here.safetensors", "--json")
    assert code == 0 and json.loads(out).items() <= found.items()
    code, out, _ = command("decode", "here.safetensors", "--with", pca, "--out", "back.png", "--json")
    assert code == 0 and json.loads(out)[0]["file"] == "back.png" and Path("back.png").is_file()


def test_several_pictures_go_into_a_folder(command, pca: str) -> None:
    photo(8, 8, "a.png"), photo(8, 8, "b.png")
    code, out, _ = command("encode", "a.png", "b.png", "--with", pca, "--out", "codes")
    assert code == 0 and out.count("8 numbers of 32 bits: 32 bytes") == 2
    files = sorted(Path("codes").iterdir())
    assert [f.name for f in files] == ["a.codes.safetensors", "b.codes.safetensors"]
    code, _, _ = command("decode", *files, "--out", "back")
    assert code == 0 and {f.name for f in Path("back").iterdir()} == {"a-rebuilt.png", "b-rebuilt.png"}
    Path("other").mkdir()
    photo(8, 8, "other/a.png")
    code, _, err = command("encode", "a.png", "other/a.png", "--with", pca, "--out", "codes")
    assert code == 2 and "rename one" in err


def test_what_comes_back_exactly_is_said_to(command, tmp_path: Path) -> None:
    recipe = load_recipe("gaussian", ('data="digits"', "size=8"))
    run = train(recipe, out=tmp_path / "run").folder
    photo(8, 8)
    code, out, _ = command("encode", "photo.png", "--with", run)
    assert code == 0 and "64 numbers of 32 bits: 256 bytes, without loss" in out


# -- sizes --------------------------------------------------------------------------------------------


def test_a_model_for_one_shape_gets_the_middle_and_says_so(command, pca: str) -> None:
    photo(40, 24)
    code, out, err = command("encode", "photo.png", "--with", pca)
    assert code == 0 and "8 numbers" in out
    assert err == f"note: photo.png: of 40x24 the middle 24x24, now 8x8, as '{pca}' takes it\n"
    assert read_codes(Path(FILE)).fitted == "of 40x24 the middle 24x24, now 8x8"
    code, _, err = command("encode", "photo.png", "--with", pca, "--size", 16)
    assert code == 2 and "codes pictures of 8x8 alone" in err


@pytest.mark.parametrize(
    ("size", "target", "fitted"),
    [
        ((32, 32), (32, 32), None),
        ((64, 48), (64, 48), None),
        ((47, 33), (44, 32), "of 47x33 the middle 44x32"),
        ((2, 40), (4, 40), "of 2x40 the middle 2x20, now 4x40"),
        ((512, 512), (256, 256), "of 512x512 the middle 512x512, now 256x256"),
    ],
)
def test_a_first_stage_takes_the_nearest_size_that_its_factor_divides(vqgan: Model, size, target, fitted) -> None:
    assert target_of(vqgan, size, None) == target
    cropped, how = fit_to(Image.new("L", size), target, 4)
    assert cropped.size == target and how == fitted


def test_what_is_only_cut_keeps_its_pixels(vqgan: Model) -> None:
    pixels = np.arange(47 * 33, dtype=np.uint32).astype(np.uint8).reshape(33, 47)
    cropped, _ = fit_to(Image.fromarray(pixels), (44, 32), 4)
    assert np.array_equal(np.asarray(cropped), pixels[0:32, 1:45])
    photo(47, 33)
    found = encode(vqgan, Path("photo.png")).coded
    assert found.codes.shape == (8, 11) and found.size() == "88 codes of 8 bits: 88 bytes"


def test_a_very_large_picture_has_no_more_codes_than_can_be_attended_over(vqgan: Model) -> None:
    for size in ((4000, 3000), (10_000, 40)):
        width, height = target_of(vqgan, size, None)
        assert width % 4 == height % 4 == 0 and (width // 4) * (height // 4) <= MOST_SIDE**2


def test_a_size_can_be_asked_for(command, vqgan: Model) -> None:
    photo(50, 40)
    assert target_of(vqgan, (50, 40), 20) == (20, 20)
    code, out, _ = command("encode", "photo.png", "--with", "vqgan", "--size", 20)
    assert code == 0 and "25 codes of 8 bits: 25 bytes" in out
    for size, near in ((30, 28), (1, 4), (9999, 256)):
        with pytest.raises(UsageError, match=f"sides that 4 divides, up to 256; for instance {near}$"):
            target_of(vqgan, (50, 40), size)


# -- what may go wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        ("encode none.png --with vqgan", 2, "there is no picture none.png"),
        ("encode text.txt --with vqgan", 1, "it is no picture of a usual format"),
        ("encode photo.png --with scenes", 2, "of the shipped models these do: kl-autoencoder-scenes, vqgan"),
        ("encode photo.png --with features-digits", 2, "does not code pictures and decode them"),
        ("encode photo.png --with vqgn", 2, "did you mean vqgan"),
        ("encode photo.png", 2, "--with"),
        ("encode --with vqgan", 2, "PICTURE"),
        ("encode photo.png --with vqgan --out text.txt", 2, "is a file"),
        ("encode photo.png --with vqgan --size 30", 2, "for instance 28"),
        ("encode photo.png --with vqgan --label 3", 2, "--label"),
        ("decode none.safetensors", 2, "there is no file"),
        ("decode text.txt", 1, "cannot be read as safetensors"),
        ("decode other.safetensors", 2, "holds no coded picture"),
    ],
)
def test_a_mistake_is_one_line_and_the_right_exit_code(command, line: str, code: int, says: str) -> None:
    photo(32, 32)
    Path("text.txt").write_text("no picture")
    save_file({"codes": torch.zeros(3)}, "other.safetensors")
    done, out, err = command(*line.split())
    assert (done, out) == (code, "") and says in err and err.startswith("zeuxis: ") and err.count("\n") == 1


def test_other_weights_of_the_same_name_do_not_decode(command, pca: str, tmp_path: Path) -> None:
    photo(8, 8)
    command("encode", "photo.png", "--with", pca)
    recipe = load_recipe("pca", ('data="digits"', "size=8", "model.components=8", "model.floor=0.1"))
    other = train(recipe, out=tmp_path / "other").folder
    code, _, err = command("decode", FILE, "--with", other)
    assert code == 1 and "was coded by the weights" in err and "--with the model that coded it" in err
    code, _, err = command("decode", FILE, "--with", "vqgan")
    assert code == 1 and "was coded by the weights" in err
    code, _, err = command("decode", FILE, "--with", "scenes")
    assert code == 2 and "does not code pictures" in err


def a_coded(vqgan: Model, **changes: object) -> Coded:
    photo(32, 32)
    return replace(encode(vqgan, Path("photo.png")).coded, **changes)


def test_a_model_that_has_gone_is_asked_for(vqgan: Model, command) -> None:
    write_codes(Path(FILE), a_coded(vqgan, model="runs/gone"))
    code, _, err = command("decode", FILE)
    assert code == 2 and "was coded by 'runs/gone', which is not here: give it --with" in err
    assert command("decode", FILE, "--with", "vqgan")[0] == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"codes": torch.zeros(4, 4, dtype=torch.int64)},
        {"codes": torch.zeros(64, dtype=torch.int64)},
        {"codes": torch.zeros(0, dtype=torch.int64)},
        {"codes": torch.zeros(8, 8), "values": None},
        {"values": 1024},
        {"shape": (3, 32, 32)},
        {"shape": (1, 30, 32)},
        {"shape": (1, 64, 64)},
        {"shape": (1, 40_000, 40_000)},
    ],
)
def test_codes_that_are_not_the_model_s_are_refused(vqgan: Model, changes: dict[str, object]) -> None:
    write_codes(Path(FILE), a_coded(vqgan, **changes))
    with pytest.raises(DataError, match=r"encode the picture again|does not take"):
        decode(Path(FILE))


def tampered(change, **fields: object) -> None:
    """Rewrite the file with other codes and another card."""
    from safetensors import safe_open

    with safe_open(FILE, "pt") as file:
        card = json.loads(file.metadata()[KEY])
    save_file({"codes": change(load_file(FILE)["codes"])}, FILE, {KEY: json.dumps(card | fields)})


@pytest.mark.parametrize(
    ("change", "fields", "says"),
    [
        (lambda c: c + 1, {}, "not those that were written"),
        (lambda c: c[:4], {}, "not those that were written"),
        (lambda c: c, {"format": 2}, "format 2"),
        (lambda c: c, {"values": 3}, "outside the 3"),
        (lambda c: c, {"values": None}, "not finite numbers"),
        (lambda c: c, {"values": "many"}, "no indices"),
        (lambda c: c, {"shape": [1, 32]}, "not a size"),
        (lambda c: c, {"original_size": [32, -1]}, "not a size"),
        (lambda c: c, {"weights_sha256": 7}, "no text"),
    ],
)
def test_a_file_that_was_changed_is_refused(vqgan: Model, change, fields, says: str) -> None:
    write_codes(Path(FILE), a_coded(vqgan))
    tampered(change, **fields)
    with pytest.raises(DataError, match=says):
        read_codes(Path(FILE))


@pytest.mark.parametrize("damage", [lambda b: b[:-10], lambda b: b[:20], lambda b: b"\xff" * 8 + b[8:], lambda b: b""])
def test_a_damaged_file_is_refused(vqgan: Model, damage) -> None:
    write_codes(Path(FILE), a_coded(vqgan))
    path = Path(FILE)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match="encode the picture again"):
        read_codes(path)


def test_a_card_without_a_field_says_which(vqgan: Model) -> None:
    write_codes(Path(FILE), a_coded(vqgan))
    codes = load_file(FILE)
    save_file(codes, FILE, {KEY: '{"format": 1}'})
    with pytest.raises(DataError, match="'sha256' is missing"):
        read_codes(Path(FILE))
    save_file(codes, FILE, {KEY: "[1"})
    with pytest.raises(DataError, match="damaged"):
        read_codes(Path(FILE))


def test_indices_take_the_smallest_integers_that_hold_them(vqgan: Model) -> None:
    kinds = ((2, torch.uint8, 1), (256, torch.uint8, 8), (257, torch.int16, 9), (65536, torch.int32, 16))
    for values, kind, bits in kinds:
        coded = a_coded(vqgan, values=values, codes=torch.tensor([0, values - 1]))
        write_codes(Path(FILE), coded)
        assert load_file(FILE)["codes"].dtype == kind and coded.bits == 2 * bits
        assert read_codes(Path(FILE)).codes.tolist() == [0, values - 1]


def test_what_is_written_is_what_is_read(vqgan: Model) -> None:
    coded = a_coded(vqgan)
    write_codes(Path(FILE), coded)
    found = read_codes(Path(FILE))
    assert torch.equal(found.codes, coded.codes) and found.codes.dtype == torch.int64
    assert replace(found, codes=coded.codes) == coded
    assert [p.name for p in Path().glob(".draft-*")] == []
    with torch.inference_mode():
        assert torch.equal(decode(Path(FILE)).tensor, vqgan.system.decode(coded.codes[None]))
