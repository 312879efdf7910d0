"""Style mixing: some layers of a picture are given the style codes of another.

Karras, Laine & Aila 2018, "A style-based generator architecture for generative adversarial networks"
(arXiv:1812.04948), section 3.1 and figure 3: coarse styles are those of 4 and 8 pixels (pose, shape), middle ones those
of 16 and 32 (features), fine ones the rest (colours, texture). The layers of StyleGAN3 do not double in size in turn:
there the names mean the first four codes, the next four and the rest.

Axes: L layers, W numbers of a style code.
"""

from __future__ import annotations

from torch import Tensor

from zeuxis.errors import UsageError

COARSE, MIDDLE = 4, 8  # the layers where the middle and the fine styles begin: two for each resolution
NAMES = ("coarse", "middle", "fine")


def layers_of(text: str, layers: int) -> range:
    """``coarse``, ``middle``, ``fine`` or ``A-B``, counted from 0 with both ends, as layers out of ``layers``."""
    named = {"coarse": range(0, COARSE), "middle": range(COARSE, MIDDLE), "fine": range(MIDDLE, layers)}
    if text in named:
        found = range(named[text].start, min(named[text].stop, layers))
        if not len(found):
            raise UsageError(f"{text} styles begin at layer {named[text].start}, and there are {layers} layers: write "
                             f"the layers as 0-{layers - 1}")  # fmt: skip
        return found
    first, dash, last = text.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()):
        raise UsageError(f"layers {text}: write {', '.join(NAMES)}, one layer as 3, or from one to another as 2-5")
    found = range(int(first), int(last or first) + 1)
    if not len(found) or found.stop > layers:
        raise UsageError(f"layers {text}: there are {layers}, from 0 to {layers - 1}")
    return found


def mixed(a: Tensor, b: Tensor, layers: range) -> Tensor:
    """The codes ``(L, W)`` of ``a``, at ``layers`` those of ``b``."""
    made = a.clone()
    made[layers.start : layers.stop] = b[layers.start : layers.stop]
    return made
