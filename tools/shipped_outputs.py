"""What every shipped model computes: python tools/shipped_outputs.py FILE.safetensors (float32, one thread).

Two files, from before and after a change, say whether shipped weights still draw the same pictures, bit for bit.
``tests/shipped.safetensors`` is such a file, with pictures in 8 bits, classes of pixels and the rest in half precision:
python tools/shipped_outputs.py --small tests/shipped.safetensors
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import torch
from safetensors.torch import save_file
from torch import Tensor

from zeuxis.api.model import Model, load
from zeuxis.batch import to_uint8
from zeuxis.catalog.weights import shipped

CAPTIONS = (
    "a small red circle above a large blue square at night",
    "a large green star below a small yellow ring by day",
    "a small red circle above a large blue square at night",
)


def outputs(model: Model, images: Tensor) -> Iterator[tuple[str, Tensor]]:
    """What ``model`` makes of ``images`` (B, C, H, W), by verb; and three pictures of its own, where it draws."""
    system = model.system
    if "sample" in system.can:
        caption = {"caption": CAPTIONS} if "caption" in system.conditions else {}
        source = {"source": list(images)} if "source" in system.conditions else {}
        left = (torch.arange(images.shape[3]) < images.shape[3] // 2).float().expand(1, *images.shape[2:])
        mask = {"mask": [left] * len(images)} if "mask" in system.conditions else {}
        pixel_by_pixel = {"sample", "log_prob"} <= system.can and "denoiser" not in system.can  # slow: one is enough
        yield "sample", model.sample(n=1 if pixel_by_pixel else 3, seed=5, **caption, **source, **mask).tensor
    if "encode" in system.can:
        codes = system.encode(images)
        yield "encode", codes
        if "decode" in system.can:
            yield "decode", system.decode(codes)
    if "classify" in system.can:
        yield from ((f"classify{k}", logits) for k, logits in enumerate(system.classify(images)))
    if "segment" in system.can:
        yield "segment", system.segment(images)
    if "verify" in system.can:
        yield "verify", system.verify(images, images.flip(0))
    if "in_distribution" in system.can:
        yield "in_distribution", system.in_distribution(images)


def every_output() -> dict[str, Tensor]:
    """The outputs of all shipped models on fixed noise, each on its own, by ``model/verb``."""
    found: dict[str, Tensor] = {}
    for name in sorted(shipped()):
        model = load(name)
        generator = torch.Generator().manual_seed(crc32(name.encode()))
        images = torch.rand(3, *model.system.shape, generator=generator) * 2 - 1
        with torch.inference_mode():
            found |= {f"{name}/{verb}": out.clone().contiguous() for verb, out in outputs(model, images)}
    return found


def small(name: str, out: Tensor) -> Tensor:
    """The output in fewer bits: pictures in 8, other numbers in 16, whole numbers and flags as they are."""
    if name.endswith(("/sample", "/decode")):
        return to_uint8(out)
    if name.endswith("/segment"):
        return out.argmax(1).to(torch.int8)  # (B, H, W)
    return out.half() if out.is_floating_point() else out


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[:-1] not in ([], ["--small"]) or not arguments or arguments[-1].startswith("-"):
        sys.exit(__doc__)
    torch.set_num_threads(1)
    made = every_output()
    if len(arguments) == 2:
        made = {name: small(name, out) for name, out in made.items()}
    save_file(made, Path(arguments[-1]))
