"""How often the estimates of `zeuxis restore photo.jpg` are right: of photographs as they are, and damaged.

    python tools/estimates.py photos [MOST]

For each damage: of how many pictures it is said, and of noise how far the number is from what was added.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from zeuxis.data.picture import SUFFIXES
from zeuxis.degrade import estimate
from zeuxis.degrade.language import parse_chain
from zeuxis.rng import ImageRng

SIDE = 768  # pixels of the middle that are looked at
CHAINS = ("", "noise:0.04", "noise:0.1", "noise:0.2", "blur:1.5", "blur:2", "blur:3", "jpeg:75", "jpeg:50", "grey")


def main(folder: str, most: str = "100") -> None:
    files = [file for file in sorted(Path(folder).rglob("*")) if file.suffix.lower() in SUFFIXES][: int(most)]
    told = "said of: noise, blur, blocks, no colour; |noise read / noise added - 1|: median, worst"
    sys.stdout.write(f"{len(files)} pictures; {told}\n")
    for chain in CHAINS:
        said, off = np.zeros(4, int), []
        for k, file in enumerate(files):
            picture = torch.from_numpy(np.array(Image.open(file).convert("RGB"))[:SIDE, :SIDE])
            clean = picture.permute(2, 0, 1)[None] / 127.5 - 1
            seen = parse_chain(chain)(clean, ImageRng.counting(k, 1)) if chain else clean
            seen = ((seen + 1) * 127.5).round() / 255
            noise, blur = float(estimate.noise_level(seen)), float(estimate.blur_level(seen))
            blocks, colour = float(estimate.block_level(seen)), float(estimate.colour_level(seen))
            wrong = (noise > estimate.NOISY, blur > estimate.BLURRED, blocks > estimate.BLOCKY, colour < estimate.GREY)
            said += np.array(wrong)
            if chain.startswith("noise"):
                off.append(abs(noise / (float(chain.split(":")[1]) / 2) - 1))
        far = f"{np.median(off):.0%}, {max(off):.0%}; {np.mean(np.array(off) < 0.2):.0%} within a fifth" if off else ""
        sys.stdout.write(f"{chain or 'as it is':12s} {said.tolist()} {far}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
