"""Checkpoints are read without running them: whatever they name, however they are bent."""

import copy
import io
import json
import pickle
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from zeuxis.catalog.weights import load_system
from zeuxis.errors import DataError, UsageError, WeightsError, ZeuxisError
from zeuxis.files import machine
from zeuxis.pretrained.convert import UNPICKLER, convert


class Calls:
    """Pickles as a call of ``function(*args)``."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def zipped(path, data_pkl: bytes, storages=(), compression=zipfile.ZIP_STORED, root="archive"):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(f"{root}/data.pkl", data_pkl)
        for key, content in storages:
            archive.writestr(key, content)
    return path


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return (
        a.dtype == b.dtype
        and a.shape == b.shape
        and torch.equal(a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8))
    )


def a_state_dict():
    g = torch.Generator().manual_seed(0)
    base = torch.randn(6, 5, 4, generator=g)
    state = {
        f"of.{str(dtype).removeprefix('torch.')}": torch.randint(0, 2, (3, 4), generator=g).to(dtype)
        for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32,
                      torch.int16, torch.int8, torch.uint8, torch.bool, torch.float8_e4m3fn)
    }  # fmt: skip
    return state | {
        "transposed": base.permute(2, 0, 1),
        "sliced": base[1:5:2, ::3, 1:],
        "channels_last": torch.randn(2, 3, 4, 5, generator=g).to(memory_format=torch.channels_last),
        "expanded": torch.arange(3.0)[:, None].expand(3, 4),
        "tied": base,
        "tied.too": base,
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 3),
        "parameter": torch.nn.Parameter(torch.randn(2, generator=g)),
    }


@pytest.mark.parametrize("legacy", [False, True])
def test_every_tensor_of_a_state_dict_comes_out_equal(tmp_path, legacy):
    state = a_state_dict()
    if legacy:
        del state["of.float8_e4m3fn"]  # younger than the legacy form's storages
    torch.save(state, tmp_path / "a.pt", _use_new_zipfile_serialization=not legacy)
    done = convert(tmp_path / "a.pt")
    found = load_file(done.weights)
    assert found.keys() == state.keys()
    assert [k for k in state if not same(found[k], state[k].detach())] == []
    assert done.tensors == len(state)
    assert done.parameters == sum(t.numel() for t in state.values())
    assert done.not_made == ()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "a.pt", "a.safetensors"]


def test_a_training_checkpoint_keeps_its_numbers_and_names_what_was_not_made(tmp_path):
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-4)
    net(torch.zeros(1, 3, 8, 8)).sum().backward()
    optimiser.step()
    whole = {"state_dict": net.state_dict(), "optimiser": optimiser.state_dict(), "epoch": 7, "best": float("inf"),
             "args": Calls(io.BytesIO, b"x"), "name": "crème"}  # fmt: skip
    torch.save(whole, tmp_path / "a.ckpt")
    done = convert(tmp_path / "a.ckpt", tmp_path / "deep" / "b.safetensors")
    found, facts = load_file(done.weights), json.loads(done.facts.read_text())["facts"]
    assert all(same(found[f"state_dict.{k}"], v) for k, v in net.state_dict().items())
    assert same(found["optimiser.state.0.exp_avg"], optimiser.state_dict()["state"][0]["exp_avg"])
    assert (facts["epoch"], facts["best"], facts["name"]) == (7, "inf", "crème")
    assert facts["optimiser"]["param_groups"][0]["lr"] == 3e-4
    assert done.not_made == ("_io.BytesIO",)


def test_a_pickled_module_gives_the_names_of_its_state_dict(tmp_path):
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    torch.save(net, tmp_path / "a.pt")
    found = load_file(convert(tmp_path / "a.pt").weights)
    assert {k: v.tolist() for k, v in found.items()} == {k: v.tolist() for k, v in net.state_dict().items()}


def hostile(tmp_path):
    """Programs in every dress that a pickle has for a call; each would leave a file behind."""
    import os

    mark = tmp_path / "ran"
    command = f"touch {mark}"
    tensor = torch.ones(2)
    yield {"w": tensor, "x": Calls(os.system, command)}
    yield {"w": tensor, "x": Calls(eval, f"__import__('os').system({command!r})")}
    yield {"w": tensor, "x": Calls(exec, f"open({str(mark)!r}, 'w')")}
    yield {"w": tensor, "x": Calls(torch.hub.load, "nobody/nothing", "model")}
    yield {"w": tensor, "x": Calls(torch.load, str(mark))}
    yield {"w": tensor, "x": Calls(getattr, Calls(__import__, "os"), "system")}


def test_calls_in_a_checkpoint_are_not_made(tmp_path):
    for k, value in enumerate(hostile(tmp_path)):
        for legacy in (False, True):
            path = tmp_path / f"{k}{legacy}.pt"
            torch.save(value, path, _use_new_zipfile_serialization=not legacy)
            done = convert(path)
            assert load_file(done.weights)["w"].tolist() == [1, 1]
            assert len(done.not_made) >= 1
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "program",
    [
        b"cos\nsystem\n(S'touch {mark}'\ntR.",
        b"(S'touch {mark}'\nios\nsystem\n.",
        b"(cos\nsystem\nS'touch {mark}'\no.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0c{mark}\x85R.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}\x8c\x08__code__K\x01s\x86b.",
        b"\x80\x02ccollections\nOrderedDict\nN}\x8c\x05clearK\x01s\x86b.",
        b"\x80\x02\x82\x01.",  # an extension code
        b"Pos.system\n.",  # a persistent id as text
    ],
)
def test_hand_written_programs_do_not_run(tmp_path, program):
    mark = tmp_path / "ran"
    path = zipped(tmp_path / "a.pt", program.replace(b"{mark}", str(mark).encode()))
    with pytest.raises(DataError, match=r"a\.pt cannot be converted"):
        convert(path)
    assert not mark.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"<!DOCTYPE html><html><title>Quota exceeded</title></html>", "it is a web page, not the weights"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a pointer of Git LFS"),
        (b"\x93NUMPY\x01\x00v\x00{'descr': '<f4'}", "one array of numpy, not the weights"),
        (b"npz", r"an archive of arrays of numpy \(\.npz\), not the weights"),
    ],
)
def test_what_is_often_taken_for_weights_is_named(tmp_path, content, says):
    """A download's page in place of a file, and the latents and boundaries that lie beside published networks."""
    path = tmp_path / "network.pkl"
    path.write_bytes(content)
    if content == b"npz":
        with path.open("wb") as file:
            np.savez(file, w=np.zeros((1, 18, 512)))
    with pytest.raises(DataError, match=rf"network\.pkl cannot be converted: it is {says.removeprefix('it is ')}"):
        convert(path)


def test_programs_and_the_files_of_other_programs_are_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "script.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py", "version"):
            archive.writestr(f"script/{name}", b"\x80\x02N.")
    with pytest.raises(DataError, match="it is a program of TorchScript, which is never run: give the weights"):
        convert(tmp_path / "script.pt")
    (tmp_path / "network.onnx").write_bytes(b"\x08\x07\x12\x07")
    with pytest.raises(DataError, match="it is ONNX, which is not read: give the checkpoint of PyTorch"):
        convert(tmp_path / "network.onnx")


def a_tensor(storage: str, offset: int, size: tuple, stride: tuple, count: int, key: str = "0") -> bytes:
    """The pickle of one tensor with whatever numbers are asked for."""

    class Id:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, thing):
            return ("storage", getattr(torch, storage), key, "cpu", count) if isinstance(thing, Id) else None

    out = io.BytesIO()
    Pickler(out, 2).dump({"w": Calls(torch._utils._rebuild_tensor_v2, Id(), offset, size, stride, False, {})})
    return out.getvalue()


@pytest.mark.parametrize(
    ("pickled", "says"),
    [
        (a_tensor("FloatStorage", 0, (2,), (1,), 4), ""),  # the control: this one is sound
        (a_tensor("FloatStorage", 3, (2,), (1,), 4), "beyond its storage"),
        (a_tensor("FloatStorage", 0, (1 << 40,), (1,), 4), "beyond its storage"),
        (a_tensor("FloatStorage", 0, (1 << 40,), (0,), 4), "far more than it holds"),
        (a_tensor("FloatStorage", 0, (1 << 61, 1 << 61), (0, 0), 4), "far more than it holds"),
        (a_tensor("FloatStorage", -1, (2,), (1,), 4), "impossible size"),
        (a_tensor("FloatStorage", 0, (2,), (-1,), 4), "impossible size"),
        (a_tensor("FloatStorage", 0, (2,), (1,), 1 << 50), "missing or cut short"),
        (a_tensor("FloatStorage", 0, (2,), (1,), 4, "../../../etc/passwd"), "missing or cut short"),
        (a_tensor("ComplexFloatStorage", 0, (2,), (1,), 4), "which safetensors cannot"),
        (b"\x80\x02" + b"]" * 1 + b"q\x00" + b"h\x00a.", "more than"),  # a list in itself
        (b"\x80\x02N" + b"\x85" * 5000 + b".", "more than"),
        (b"\x80\x02\x8d" + struct.pack("<Q", 1 << 60) + b"x.", "damaged"),
        (b"\x80\x02(((((", "damaged"),
        (b"\x80\x02aaaa.", "damaged"),
        (b"I" + b"9" * 100_000 + b"\n.", "damaged"),
        (b"", "damaged"),
    ],
)
def test_impossible_contents_are_refused_in_one_line(tmp_path, pickled, says):
    path = zipped(
        tmp_path / "a.pt", pickled, [("archive/data/0", struct.pack("<4f", 1, 2, 3, 4)), ("archive/../x", b"")]
    )
    if says:
        with pytest.raises(DataError, match=says) as raised:
            convert(path)
        assert "\n" not in str(raised.value)
    else:
        assert load_file(convert(path).weights)["w"].tolist() == [1, 2]


def test_a_tree_that_grows_exponentially_is_refused(tmp_path):
    bomb = []
    for _ in range(60):
        bomb = [bomb, bomb]
    torch.save({"w": torch.ones(1), "bomb": bomb}, tmp_path / "a.pt")
    with pytest.raises(DataError, match="more than"):
        convert(tmp_path / "a.pt")


def test_bent_files_are_refused_in_one_line(tmp_path):
    torch.save(a_state_dict(), tmp_path / "good.pt")
    good = (tmp_path / "good.pt").read_bytes()
    torch.save({"w": torch.ones(1000)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    old = (tmp_path / "old.pt").read_bytes()
    zipped(tmp_path / "packed.pt", b"N." + b" " * 10_000_000, compression=zipfile.ZIP_DEFLATED)
    inner = zipped(tmp_path / "inner.zip", b"N.").read_bytes()
    bad = {
        "flipped": good.replace(struct.pack("<f", 2.5), struct.pack("<f", 2.25)),
        "half": good[: len(good) // 2],
        "headless": good[100:],
        "old half": old[: len(old) // 2],
        "empty": b"",
        "text": b"hello",
        "picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "zip": inner.replace(b"data.pkl", b"data.pkx"),
        "a tar": b"sys_info\0" * 100,
        "packed": (tmp_path / "packed.pt").read_bytes(),
        "plain pickle": pickle.dumps({"a": 1}),
        "no tensors": zipped(tmp_path / "n.zip", pickle.dumps({"a": 1})).read_bytes(),
    }
    for name, content in bad.items():
        path = tmp_path / f"{name}.bin"
        path.write_bytes(content)
        with pytest.raises(DataError, match="cannot be converted") as raised:
            convert(path)
        assert "\n" not in str(raised.value), name
        assert not path.with_suffix(".safetensors").exists()


def test_misuse_is_said_and_nothing_is_overwritten(tmp_path):
    with pytest.raises(UsageError, match="no file"):
        convert(tmp_path / "none.pt")
    torch.save({"w": torch.ones(1)}, tmp_path / "a.pt")
    with pytest.raises(UsageError, match=r"\.safetensors"):
        convert(tmp_path / "a.pt", tmp_path / "b.pth")
    convert(tmp_path / "a.pt")
    with pytest.raises(UsageError, match="exists already"):
        convert(tmp_path / "a.pt")
    with pytest.raises(DataError, match="within 0 seconds"):
        convert(tmp_path / "a.pt", tmp_path / "c.safetensors", seconds=0.0001)


def test_a_pickle_is_never_taken_for_weights(tmp_path):
    torch.save({"w": torch.ones(1)}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="zeuxis convert"):
        load_system(tmp_path / "w.pt")
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "w.pt").rename(folder / "model.safetensors")
    import hashlib

    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    (folder / "model.json").write_text(json.dumps({"system": "gaussian", "config": {}, "sha256": digest}))
    with pytest.raises(WeightsError, match="cannot read") as raised:
        load_system(folder)
    assert isinstance(raised.value, ZeuxisError) and "\n" not in str(raised.value)
    save_file({"w": torch.ones(1)}, folder / "model.safetensors")
    with pytest.raises(WeightsError, match="damaged"):
        load_system(folder)


# -- what reading may cost ----------------------------------------------------------------------------


def doubled(times: int) -> bytes:
    """A tuple of two of a tuple of two ...: short in a pickle, endless to hash or to write down."""
    return b")" + b"2\x86" * times


@pytest.mark.parametrize(
    ("pickled", "says"),
    [
        (b"\x80\x02}" + doubled(200) + b"K\x01s.", "neither a text, a number nor a flat tuple"),  # a key of 400 bytes
        (b"\x80\x02}" + b")" + b"\x85" * 200_000 + b"K\x01s.", "neither a text, a number"),  # one that is nested deeply
        (b"\x80\x02ccollections\nOrderedDict\n]" + doubled(40) + b"K\x01\x86a\x85R.", "neither a text, a number"),
        (b"\x80\x04" + doubled(200) + b"\x8c\x01a\x93.", "names something by no text"),  # the name of a class
        (b"\x80\x04" + doubled(200) + b"]}\x92.", "no tensors"),  # a class that is no name
        (b"\x80\x02](" + b"K\x01" * 1000 + b"eq\x000" + b"ctorch\nSize\nh\x00\x85R0" * 60_000 + b"N.", "MAX_WORK"),
        (b"\x80\x02X\x00\x00\x10\x00" + b"a" * (1 << 20) + b"q\x000](" + b"h\x00" * 100 + b"e.", "MAX_TEXT"),
    ],
)  # fmt: skip
def test_what_is_short_and_endless_is_refused_by_name(tmp_path, pickled, says):
    zipped(tmp_path / "a.pt", pickled)
    with pytest.raises(DataError, match=says):
        convert(tmp_path / "a.pt", seconds=60)


def test_members_that_overlap_are_refused_before_they_are_read(tmp_path):
    """A directory may say of every member that it is the whole file: its checksums would take for ever."""
    zipped(tmp_path / "a.pt", b"\x80\x02N.")
    with zipfile.ZipFile(tmp_path / "a.pt", "a") as archive:
        archive.writestr("archive/data/0", bytes(1 << 20))
        first = archive.getinfo("archive/data/0")
        for k in range(1, 2000):
            twin = copy.copy(first)
            twin.filename = f"archive/data/{k}"
            archive.filelist.append(twin)
            archive.NameToInfo[twin.filename] = twin
        archive._didModify = True
    with pytest.raises(DataError, match="members overlap"):
        convert(tmp_path / "a.pt", seconds=60)


@pytest.mark.skipif(sys.platform == "win32", reason="a kill of POSIX")
def test_the_reader_ends_with_whoever_started_it():
    child = (
        "import sys, time; sys.path.append(sys.argv[1]); from unpickle.program import end_with_parent; "
        "end_with_parent(); sys.stdout.write('ready\\n'); sys.stdout.flush(); time.sleep(600)"
    )
    parent = (
        "import os, subprocess, sys, time; reading, held = os.pipe(); "
        "p = subprocess.Popen([sys.executable, '-I', '-S', '-c', sys.argv[1], sys.argv[2]], stdin=reading); "
        "time.sleep(600)"
    )
    command = [sys.executable, "-S", "-c", parent, child, str(UNPICKLER.parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        process.kill()
        assert process.stdout.read() == b""  # the reader has the same pipe: it is closed when that has ended too


def test_what_a_killed_conversion_left_is_swept(tmp_path):
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as process:
        pass
    left = tmp_path / f".draft-{machine()}-{process.pid}-00000000"
    left.mkdir()
    (left / "w.safetensors").write_bytes(bytes(100))
    torch.save({"w": torch.ones(2)}, tmp_path / "a.pt")
    convert(tmp_path / "a.pt")
    assert {p.name for p in tmp_path.iterdir()} == {"a.pt", "a.safetensors", "a.json"}
