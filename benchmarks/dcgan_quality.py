"""How good clothing is after the same time: our recipe `dcgan` beside PyTorch's DCGAN example with its own defaults.

    git clone https://github.com/pytorch/examples
    python benchmarks/dcgan_quality.py --clone examples [--minutes 10] [--slice 20] [--samples 5000] [--seed 0]

The example's program is run as it is (64x64, 64 filters, batch 64, Adam at 2e-4), on Fashion-MNIST under the name of
the set that its `--dataset mnist` loads; a stand-in for torchvision gives it the pictures (Pillow's bilinear filter, as
torchvision resizes) and writes no samples. Ours is `zeuxis train dcgan`. Each is a process of one thread; they are let
run in turns of some seconds, and ended after as much of their own processor time: what the example's two loading
processes take is given to it. What it draws (64x64) is reduced to 28x28 by an antialiased bilinear filter; its figure
is the better of its generator as the program draws with it (batch statistics) and with running statistics. Beside both
stands what training pictures reach that go the same way, enlarged and reduced. All are measured against held-out
pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

import zeuxis
from zeuxis.api.features import features_of
from zeuxis.api.reference import Reference
from zeuxis.data.library import open_source
from zeuxis.metrics.frechet import frechet

DATA, SIDE, THEIRS = "fashion-mnist", 28, 64
SHAPE = (1, 32, 32)  # of our pictures: those of the data, padded
PROGRAM = Path("dcgan") / "main.py"
OURS, PEER = "ours", "peer"
PARTS = ("torchvision.datasets", "torchvision.transforms", "torchvision.utils")


class TimeIsUp(BaseException):
    """A contestant has had its processor time; not an Exception, which libraries catch."""


@contextmanager
def processor_time(seconds: float) -> Iterator[None]:
    """Raises :class:`TimeIsUp` inside once this process has used so many seconds of processor time."""

    def up(_signal: int, _frame: object) -> None:
        raise TimeIsUp

    signal.signal(signal.SIGPROF, up)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def train_ours(folder: Path, seconds: float, _clone: Path, seed: int) -> None:
    """`zeuxis train dcgan`, asked to stop by SIGTERM, upon which it saves: until then its iterations have no bound."""

    def interrupt(_signal: int, _frame: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)  # not SIGINT, which a shell has its background jobs ignore

    signal.signal(signal.SIGPROF, interrupt)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    from zeuxis.cli import main as command

    command(["train", "dcgan", "--iterations", "10000000", "--seed", str(seed), "--out", str(folder / OURS), "--json"])


def train_peer(folder: Path, seconds: float, clone: Path, seed: int) -> None:
    """The example's program; its networks are kept where the time is up."""
    sys.modules.update(torchvision())
    sys.argv = ["main.py", "--dataset", "mnist", "--dataroot", "given", "--outf", str(folder / "theirs")]
    sys.argv += ["--manualSeed", str(seed)]
    kept: list[nn.Module] = []
    seen = nn.Module.apply

    def applied(net: nn.Module, fn: Callable[[nn.Module], None]) -> nn.Module:
        """What it initialises so are its networks, the generator first, and their layers."""
        kept.append(net)
        return seen(net, fn)

    nn.Module.apply = applied  # type: ignore[method-assign, assignment]
    try:
        with processor_time(seconds):
            runpy.run_path(str(clone / PROGRAM), run_name="__main__")
    except TimeIsUp:
        generator = next(net for net in kept if type(net).__name__ == "Generator")
        save_file(generator.state_dict(), folder / "theirs.safetensors")


def clothes() -> Tensor:
    """The training pictures ``(N, 28, 28)`` uint8."""
    source = open_source(DATA, SIDE, "train")
    parts = [source.batch(rows).image for rows in torch.arange(len(source)).split(1024)]
    return ((torch.cat(parts)[:, 0] + 1) * 127.5).round().to(torch.uint8)


def torchvision() -> dict[str, types.ModuleType]:
    """As much of torchvision as the example imports, for pictures of this data set."""

    class Clothing(torch.utils.data.Dataset[Any]):
        def __init__(self, transform: Callable[[Image.Image], Tensor], **_named: object) -> None:
            self.transform, self.pictures = transform, clothes().numpy()

        def __len__(self) -> int:
            return len(self.pictures)

        def __getitem__(self, k: int) -> tuple[Tensor, int]:
            return self.transform(Image.fromarray(self.pictures[k])), 0

    def composed(steps: list[Callable[[Any], Any]]) -> Callable[[Any], Any]:
        def run(x: Any) -> Any:
            for step in steps:
                x = step(x)
            return x

        return run

    modules = {name: types.ModuleType(name) for name in ("torchvision", *PARTS)}
    whole, datasets, transforms, utils = modules.values()
    datasets.MNIST = Clothing  # type: ignore[attr-defined]
    transforms.Compose = composed  # type: ignore[attr-defined]
    transforms.Resize = lambda side: lambda picture: picture.resize((side, side), Image.Resampling.BILINEAR)  # type: ignore[attr-defined]
    transforms.ToTensor = lambda: lambda picture: torch.from_numpy(np.array(picture))[None].float() / 255  # type: ignore[attr-defined]
    transforms.Normalize = lambda mean, std: lambda x: (x - mean[0]) / std[0]  # type: ignore[attr-defined]
    utils.save_image = lambda *_given, **_named: None  # type: ignore[attr-defined]
    for name in PARTS:
        setattr(whole, name.partition(".")[2], modules[name])
    return modules


def peer_pictures(weights: dict[str, Tensor], samples: int, batch_statistics: bool) -> Tensor:
    """What the example's generator draws: ``(samples, 1, 64, 64)`` in [-1, 1]."""
    layers: list[nn.Module] = []
    for name, value in sorted(weights.items(), key=lambda one: int(one[0].split(".")[1])):
        if name.endswith("weight") and value.ndim == 4:
            first = not layers
            layers.append(nn.ConvTranspose2d(*value.shape[:2], 4, 1 if first else 2, 0 if first else 1, bias=False))
        elif name.endswith("running_mean"):
            layers += [nn.BatchNorm2d(len(value)), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Tanh())
    net.load_state_dict({name.removeprefix("main."): value for name, value in weights.items()})
    net.train(batch_statistics)
    draw = torch.Generator().manual_seed(1)
    with torch.inference_mode():
        return torch.cat(
            [net(torch.randn(n, 100, 1, 1, generator=draw)) for n in [64] * (samples // 64) + [samples % 64] if n]
        )


def reduced(x: Tensor) -> Tensor:
    """Pictures ``(B, 1, 64, 64)`` as ours: 28x28, padded with black to 32x32."""
    small = interpolate(x, (SIDE, SIDE), mode="bilinear", antialias=True)
    return pad(small, [(SHAPE[1] - SIDE) // 2] * 4, value=-1.0)


def there_and_back(pictures: Tensor) -> Tensor:
    """Pictures of the data, enlarged as the example is given them and reduced as what it draws: ``(B, 1, 32, 32)``."""
    large = [Image.fromarray(x).resize((THEIRS, THEIRS), Image.Resampling.BILINEAR) for x in pictures.numpy()]
    return reduced(torch.from_numpy(np.stack([np.array(x) for x in large]))[:, None].float() / 127.5 - 1)


def in_turns(contestants: list[subprocess.Popen[bytes]], seconds: float) -> None:
    """Let the processes run one at a time, ``seconds`` each, until all have ended."""
    for one in contestants:
        os.killpg(one.pid, signal.SIGSTOP)
    while any(one.poll() is None for one in contestants):
        for one in contestants:
            if one.poll() is not None:
                continue
            os.killpg(one.pid, signal.SIGCONT)
            end = time.monotonic() + seconds
            while one.poll() is None and time.monotonic() < end:
                time.sleep(0.2)
            if one.poll() is None:
                os.killpg(one.pid, signal.SIGSTOP)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clone", type=Path, required=True, help="a clone of pytorch/examples")
    parser.add_argument("--minutes", type=float, default=10.0, help="of processor time, each")
    parser.add_argument("--slice", type=float, default=20.0, help="seconds that each runs at a time")
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--contestant", choices=[OURS, PEER], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.contestant:
        train = {OURS: train_ours, PEER: train_peer}[given.contestant]
        train(given.folder, 60 * given.minutes, given.clone, given.seed)
        return
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        common = [sys.executable, __file__, *sys.argv[1:], "--folder", made]
        one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
        in_turns(
            [
                subprocess.Popen(
                    [*common, "--contestant", who], start_new_session=True, env=one_thread, stdout=subprocess.DEVNULL
                )
                for who in (OURS, PEER)
            ],
            given.slice,
        )
        json.dump(figures(folder, given.samples) | {"minutes": given.minutes, "seed": given.seed}, sys.stdout, indent=1)
        sys.stdout.write("\n")


def figures(folder: Path, samples: int) -> dict[str, Any]:
    """The Fréchet distances of both, and what belongs beside them."""
    space = features_of(DATA, shape=SHAPE)
    held_out, training = (open_source(DATA, SHAPE[1], split) for split in ("test", "train"))
    real = Reference(held_out, torch.arange(samples), training)
    moments = real.moments(space)
    weights = load_file(folder / "theirs.safetensors")

    def distance(x: Tensor) -> float:
        return round(float(frechet(space.of(x), moments)), 2)

    theirs = {
        kind: distance(reduced(peer_pictures(weights, samples, by_batch)))
        for kind, by_batch in (("batch statistics", True), ("running statistics", False))
    }
    model = zeuxis.load(folder / OURS)
    ours = distance(torch.cat([model.sample(n, seed=k).tensor for k, n in enumerate(_parts(samples))]))
    return {
        "ours": ours,
        "the example": theirs,
        "ratio": round(ours / min(theirs.values()), 3),
        "real pictures, the example's way": distance(there_and_back(clothes()[:samples])),
        "real pictures": real.frechet_floor(space),
        "our iterations": json.loads((folder / OURS / "model" / "model.json").read_text())["round"],
        "the example's": int(weights["main.1.num_batches_tracked"]),  # and one in a hundred for its sample sheets
        "samples": samples,
    }


def _parts(samples: int) -> list[int]:
    """Of 500 at a time."""
    return [500] * (samples // 500) + [samples % 500] * bool(samples % 500)


if __name__ == "__main__":
    main()
