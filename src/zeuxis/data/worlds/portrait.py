"""Painting faces. Every part is a signed distance in pixels, covered
with an edge of one pixel, and painted over what lies below it, from the background to the hat.

As in ``sdf``, only sums, products, quotients, square roots, minima and maxima are used: they are correctly rounded
everywhere, so the same face gives the same bits in any batch and on any machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from zeuxis.data.worlds.face import Face
from zeuxis.patterns.turtle import segment

PARTS = ("background", "clothes", "skin", "hair", "beard", "eye", "brow", "nose", "mouth", "glasses", "hat")
"""The classes of the layout."""


def _colours(*rgb: tuple[int, int, int]) -> Tensor:
    return torch.tensor(rgb, dtype=torch.float32) / 255


SKIN = _colours((246, 214, 190), (224, 176, 138), (168, 114, 78), (104, 68, 48))
HAIR = _colours((34, 28, 30), (104, 66, 38), (226, 188, 108), (176, 72, 34), (168, 168, 172))
LIPS, WHITE, PUPIL, FRAME = (_colours(c)[0] for c in ((176, 70, 74), (250, 250, 250), (22, 20, 24), (40, 44, 60)))
ROSE = _colours((232, 96, 104))[0]


@dataclass(frozen=True, slots=True)
class FaceCanvas:
    """Pictures and their layout, painted part by part; or some of their rows."""

    image: Tensor  # (B, 3, H, W) in [0, 1]
    layout: Tensor  # (B, H, W) uint8
    across: Tensor  # (W,): where the columns are, in sides
    down: Tensor  # (H,): where the rows are

    @classmethod
    def blank(cls, back: Tensor, size: int) -> FaceCanvas:
        """Pictures of the colours ``back`` (B, 3)."""
        at = (torch.arange(size, device=back.device) + 0.5) / size
        image = back[:, :, None, None].repeat(1, 1, size, size)
        return cls(image, torch.zeros(len(back), size, size, dtype=torch.uint8, device=back.device), at, at)

    @property
    def size(self) -> int:
        """Pixels a side of the whole picture."""
        return len(self.across)

    def band(self, top: Tensor, foot: Tensor) -> FaceCanvas:
        """The rows of this canvas in which something that lies between ``top`` and ``foot`` (B,) can be seen.

        They are the same for all pictures. What is painted there is painted here; the rest is not looked at.
        """
        if not len(top):
            return self
        first = max(0, math.floor(float(top.min()) * self.size) - 1)
        last = math.ceil(float(foot.max()) * self.size) + 1
        rows = slice(first, max(first, last))
        return FaceCanvas(self.image[:, :, rows], self.layout[:, rows], self.across, self.down[rows])

    def x(self, centre: Tensor) -> Tensor:
        """Columns' offsets from ``centre`` (B,): ``(B, 1, W)``."""
        return (self.across - centre[:, None])[:, None, :]

    def y(self, centre: Tensor) -> Tensor:
        """Rows' offsets: ``(B, H, 1)``."""
        return (self.down - centre[:, None])[:, :, None]

    def over(self, distance: Tensor, colour: Tensor, part: str, there: Tensor | None = None) -> None:
        """Paint ``colour`` where ``distance`` (B, H, W), in sides, is negative.

        ``colour`` is ``(3,)``, ``(B, 3)`` or ``(B, 3, H, W)``; ``there`` (B,) bool says in which pictures at all.
        """
        cover = distance.mul(-self.size).add_(0.5).clamp_(0, 1)
        if there is not None:
            cover.mul_(there.float()[:, None, None])
        paint = (colour if colour.ndim == 4 else colour.view(-1, 3, 1, 1)).to(self.image.device)
        self.image.add_((paint - self.image).mul_(cover[:, None]))
        self.layout.masked_fill_(cover >= 0.5, PARTS.index(part))

    def ellipse(self, cx: Tensor, cy: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Distance to an ellipse of half-axes ``a`` and ``b`` (B,), near its edge: ``(B, H, W)``."""
        q = (self.x(cx) / a[:, None, None]).square() + (self.y(cy) / b[:, None, None]).square()
        return q.sqrt_().sub_(1).mul_(torch.minimum(a, b)[:, None, None])

    def stroke(self, x0: Tensor, y0: Tensor, x1: Tensor, y1: Tensor, half: Tensor) -> Tensor:
        """Distance to a line with round ends, ``half`` (B,) thick either way: ``(B, H, W)``."""
        start, end = torch.stack([x0, y0], 1), torch.stack([x1, y1], 1)
        far = segment(self.across[None, None, :], self.down[None, :, None], start, end)
        return far.sqrt_().sub_(half[:, None, None])


def paint(faces: Face, size: int) -> tuple[Tensor, Tensor]:
    """Pictures ``(B, 3, size, size)`` in [-1, 1], on a file's 256 levels, and layouts ``(B, size, size)`` int64."""
    canvas = FaceCanvas.blank(faces.back, size)
    device = faces.factors.device
    style, hair = faces.value("hair_style"), HAIR.to(device)[faces.value("hair_colour")]
    skin = SKIN.to(device)[faces.value("skin")]
    hatted = faces.value("hat") == 1

    _behind(canvas, faces, style, hair)
    top, y, foot = faces.y - faces.height, faces.y, faces.y + faces.height  # of the head
    _body(canvas.band(y - 0.05, torch.ones_like(y)), faces, skin)
    _ears(canvas, faces, skin)  # of the ear turned away a sliver is left, whose soft edge reaches far
    head = _head(canvas, faces, skin)
    _cheeks(canvas.band(y, foot), faces, skin)
    _beard(canvas, faces, head, hair)
    _wrinkles(canvas.band(top, foot), faces, skin)
    eyes = canvas.band(y - faces.brow - 0.08, y + 0.06)
    for side in (-1.0, 1.0):
        _eye(eyes, faces, side)
        _brow(eyes, faces, side, hair)
    _nose(canvas.band(y - 0.02, y + faces.nose + 0.02), faces, skin)
    _mouth(canvas.band(y, foot), faces)
    _on_top(canvas, faces, style, hair)
    for side in (-1.0, 1.0):
        _lens(eyes, faces, side)
    _bridge(eyes, faces)
    _hat(canvas.band(top - 0.4 * faces.height, y), faces, hatted)
    return canvas.image.mul_(255).round_().mul_(2 / 255).sub_(1), canvas.layout.long()


def _behind(canvas: FaceCanvas, f: Face, style: Tensor, hair: Tensor) -> None:
    """Long hair falls behind the shoulders; curls stand off the head."""
    long = canvas.ellipse(f.x, f.y + 0.06, f.width * 1.28, f.height * 1.3)
    canvas.over(long, hair * 0.8, "hair", style == 2)
    dx, dy = canvas.x(f.x), canvas.y(f.y - 0.08)
    r = (dx.square() + dy.square()).sqrt_().clamp_(min=1e-6)
    c = dy / r
    c2 = c.square()
    nine = ((((c2 * 256 - 576) * c2 + 432) * c2 - 120) * c2 + 9) * c  # the cosine of nine times the angle
    curls = r - (1 + 0.07 * nine) * (f.width * 1.32)[:, None, None]
    canvas.over(curls, hair * 0.85, "hair", style == 3)


def _body(canvas: FaceCanvas, f: Face, skin: Tensor) -> None:
    shoulders = canvas.ellipse(f.x, torch.full_like(f.x, 1.06), torch.full_like(f.x, 0.40), torch.full_like(f.x, 0.20))
    canvas.over(shoulders, f.shirt, "clothes")
    neck = canvas.stroke(f.x, f.y + 0.1, f.x, f.y + f.height + 0.05, f.width * 0.42)
    canvas.over(neck, skin * 0.82, "skin")


def _ears(canvas: FaceCanvas, f: Face, skin: Tensor) -> None:
    for side in (-1.0, 1.0):
        # Turning the head hides one ear and shows the other.
        shown = (1 + side * f.turn).clamp(min=0.1)
        ear = canvas.ellipse(f.x + side * f.width * 0.98 - 0.02 * f.turn, f.y + 0.02, 0.032 * shown, f.height * 0.19)
        canvas.over(ear, skin * 0.9, "skin")


def _head(canvas: FaceCanvas, f: Face, skin: Tensor) -> Tensor:
    """An ellipse whose lower half narrows, lit from one side. Returns its distance."""
    dx, dy = canvas.x(f.x), canvas.y(f.y)
    low = (dy / f.height[:, None, None]).clamp(0, 1).square()  # (B, H, 1)
    wide = f.width[:, None, None] * (1 - f.jaw[:, None, None] * low)
    q = (dx / wide).square_() + (dy / f.height[:, None, None]).square()
    distance = q.sqrt_().sub_(1).mul_(f.width[:, None, None])
    slope = (dx / f.width[:, None, None]) * f.light[:, None, None]  # bright where the light comes from
    shade = 1 + 0.28 * slope.clamp(-1, 1)  # (B, 1, W)
    lit = (skin[:, :, None, None] * shade[:, None]).clamp(max=1).expand(-1, -1, canvas.size, -1)
    canvas.over(distance, lit, "skin")
    return distance


def _beard(canvas: FaceCanvas, f: Face, head: Tensor, hair: Tensor) -> None:
    """The head below a line that rises to the ears, but for the lips."""
    dx, dy = canvas.x(f.x + 0.03 * f.turn), canvas.y(f.y)
    line = (f.height * 0.46)[:, None, None] - 1.6 * dx.square() / f.width[:, None, None]
    lips = canvas.ellipse(f.x + 0.03 * f.turn, f.y + f.height * 0.55, f.mouth * 1.1, torch.full_like(f.x, 0.035))
    canvas.over(torch.maximum(torch.maximum(head, line - dy), -lips), hair * 0.92, "beard", f.value("beard") == 1)


def _cheeks(canvas: FaceCanvas, f: Face, skin: Tensor) -> None:
    """The young have rosy ones: by proportions alone, one in fifty of them would pass for grown."""
    young = f.value("age") == 0
    rosy = skin + 0.5 * (ROSE.to(skin.device) - skin)
    for side in (-1.0, 1.0):
        x, y = f.x + side * f.width * 0.46 + 0.03 * f.turn, f.y + f.height * 0.16  # above any beard
        canvas.over(canvas.ellipse(x, y, torch.full_like(x, 0.036), torch.full_like(x, 0.028)), rosy, "skin", young)


def _wrinkles(canvas: FaceCanvas, f: Face, skin: Tensor) -> None:
    """Two on the forehead, and one from either wing of the nose."""
    old = f.value("age") == 2
    thin = torch.full_like(f.x, 0.006)
    cx = f.x + 0.04 * f.turn
    for k in (0, 1):
        y = f.y - f.height * (0.40 + 0.13 * k)
        canvas.over(canvas.stroke(cx - 0.075, y, cx + 0.075, y, thin), skin * 0.72, "skin", old)
    for side in (-1.0, 1.0):
        x, y = cx + side * 0.06, f.y + f.height * 0.30
        canvas.over(canvas.stroke(x, y, x + side * 0.035, y + 0.065, thin), skin * 0.72, "skin", old)


def _eye(canvas: FaceCanvas, f: Face, side: float) -> None:
    x, y = f.x + side * f.eyes + 0.045 * f.turn, f.y - 0.02
    canvas.over(canvas.ellipse(x, y, f.eye, f.eye * 0.68), WHITE, "eye")
    look = x + 0.012 * f.turn
    canvas.over(canvas.ellipse(look, y, f.eye * 0.5, f.eye * 0.5), f.iris, "eye")
    canvas.over(canvas.ellipse(look, y, f.eye * 0.25, f.eye * 0.25), PUPIL, "eye")


def _brow(canvas: FaceCanvas, f: Face, side: float, hair: Tensor) -> None:
    x, y = f.x + side * f.eyes + 0.045 * f.turn, f.y - 0.02 - f.brow
    tilt = 0.012 * f.curve  # raised towards the nose by sorrow
    inner, outer = x - side * 0.04, x + side * 0.045
    thick = torch.full_like(x, 0.009)
    canvas.over(canvas.stroke(inner, y + tilt, outer, y - tilt * 0.4, thick), hair * 0.7, "brow")


def _nose(canvas: FaceCanvas, f: Face, skin: Tensor) -> None:
    top, foot = f.y - 0.01, f.y - 0.01 + f.nose
    tip = f.x + 0.085 * f.turn
    canvas.over(canvas.stroke(f.x + 0.05 * f.turn, top, tip, foot, torch.full_like(tip, 0.008)), skin * 0.78, "nose")
    canvas.over(canvas.ellipse(tip, foot, torch.full_like(tip, 0.03), torch.full_like(tip, 0.016)), skin * 0.74, "nose")


def _mouth(canvas: FaceCanvas, f: Face) -> None:
    """A parabola: its ends rise with a smile and fall with sorrow."""
    dx = canvas.x(f.x + 0.05 * f.turn) / f.mouth[:, None, None]  # -1 to 1 along the mouth
    middle = f.y + f.height * 0.55 + 0.016 * f.curve
    bow = 0.045 * f.curve[:, None, None] * dx.square()
    thick = 0.017 - 0.008 * dx.square()
    distance = (canvas.y(middle) + bow).abs() - thick
    canvas.over(torch.maximum(distance, (dx.abs() - 1) * f.mouth[:, None, None]), LIPS, "mouth")


def _on_top(canvas: FaceCanvas, f: Face, style: Tensor, hair: Tensor) -> None:
    """The hair in front: a cap above the forehead, fuller where it is long or curly."""
    full = torch.tensor([1.0, 1.04, 1.10, 1.14], device=style.device)[style]
    outer = canvas.ellipse(f.x, f.y - 0.02, f.width * full, f.height * full)
    dx, dy = canvas.x(f.x + 0.03 * f.turn), canvas.y(f.y)
    line = -(f.height * 0.52)[:, None, None] + 2.2 * dx.square() / f.width[:, None, None] * 0.45
    side = torch.where(style == 2, 0.9, 0.15)[:, None, None] * f.height[:, None, None]  # how far down at the temples
    temple = (f.width * 0.86)[:, None, None] - dx.abs()
    curtain = torch.maximum(temple, dy - side)
    cap = torch.maximum(outer, torch.minimum(dy - line, curtain))
    canvas.over(cap, hair, "hair", style > 0)


def _lens(canvas: FaceCanvas, f: Face, side: float) -> None:
    x, y = f.x + side * f.eyes + 0.045 * f.turn, f.y - 0.018
    ring = canvas.ellipse(x, y, torch.full_like(x, 0.062), torch.full_like(x, 0.052)).abs_().sub_(0.008)
    canvas.over(ring, FRAME, "glasses", f.value("glasses") == 1)


def _bridge(canvas: FaceCanvas, f: Face) -> None:
    x, y, thin = f.x + 0.045 * f.turn, f.y - 0.018, torch.full_like(f.x, 0.008)
    gap = (f.eyes - 0.062).clamp(min=0.005)
    worn = f.value("glasses") == 1
    canvas.over(canvas.stroke(x - gap, y, x + gap, y, thin), FRAME, "glasses", worn)
    for side in (-1.0, 1.0):  # the temples reach to the ears
        canvas.over(
            canvas.stroke(x + side * (f.eyes + 0.062), y, f.x + side * f.width, y, thin), FRAME, "glasses", worn
        )


def _hat(canvas: FaceCanvas, f: Face, worn: Tensor) -> None:
    """A dome over the crown, and a brim."""
    brim = f.y - f.height * 0.60
    dome = canvas.ellipse(f.x, brim, f.width * 1.06, f.height * 0.66)
    dy = canvas.y(brim)
    canvas.over(torch.maximum(dome, dy.expand_as(dome)), f.cap, "hat", worn)
    reach = f.width * 1.25
    canvas.over(
        canvas.stroke(f.x - reach, brim, f.x + reach, brim, torch.full_like(reach, 0.025)), f.cap * 0.75, "hat", worn
    )
