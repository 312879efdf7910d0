"""A page about a piece of work: text, tables, curves and pictures in one HTML file beside its pictures."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from zeuxis.provenance.record import write_whole
from zeuxis.training.log_file import HELD_OUT, read_log

Points = Sequence[tuple[float, float]]

STYLE = """
:root { color-scheme: light dark; --ink: light-dark(#1b1b1f, #e8e6e3); --soft: light-dark(#6a6a72, #9a9aa2);
  --paper: light-dark(#fdfcf9, #17181c); --line: light-dark(#dcd9d2, #34353c); --accent: light-dark(#8c2f39, #e08a92); }
body { background: var(--paper); color: var(--ink); font: 16px/1.55 Georgia, serif; max-width: 60rem;
  margin: 3rem auto; padding: 0 1.25rem; }
h1 { font-size: 2rem; margin-bottom: .2rem } h2 { font-size: 1.25rem; margin-top: 2.5rem }
p.lead, figcaption, td.note { color: var(--soft) }
table { border-collapse: collapse; font: 14px/1.4 ui-monospace, monospace; width: 100% }
th, td { text-align: left; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line) }
tr.best td { color: var(--accent); font-weight: 600 }
figure { margin: 1rem 0 } figure img { image-rendering: pixelated; max-width: 100%; border: 1px solid var(--line) }
.row { display: grid; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); gap: 0 1.5rem }
svg { width: 100%; height: auto } svg polyline { fill: none; stroke-width: 1.5 }
svg text { font: 11px ui-monospace, monospace; fill: var(--soft) } svg line { stroke: var(--line) }
code { font: 14px ui-monospace, monospace; background: light-dark(#f1eee7, #22242a); padding: .1rem .3rem }
"""
INKS = ("#8c2f39", "#2f6f8c", "#6b8c2f", "#8c6a2f", "#5a2f8c", "#2f8c6a", "#8c2f7a", "#505050", "#b08c2f")


class Page:
    """Collects sections and writes them as one HTML file. Everything given to it is escaped."""

    def __init__(self, title: str, lead: str) -> None:
        self.title = title
        self._body = [f"<h1>{escape(title)}</h1><p class=lead>{escape(lead)}</p>"]

    def heading(self, text: str) -> None:
        self._body.append(f"<h2>{escape(text)}</h2>")

    def text(self, text: str) -> None:
        self._body.append(f"<p>{escape(text)}</p>")

    def command(self, text: str) -> None:
        self._body.append(f"<p><code>{escape(text)}</code></p>")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], best: int | None = None) -> None:
        """``best`` is the row to stand out."""
        head = "".join(f"<th>{escape(c)}</th>" for c in columns)
        lines = [
            f"<tr{' class=best' if k == best else ''}>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>"
            for k, row in enumerate(rows)
        ]
        self._body.append(f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>")

    def pictures(self, pictures: Mapping[str, str]) -> None:
        """Pictures side by side: file names relative to the page, with any signs in them, by caption."""
        shown = [
            f"<figure><img src='{escape(quote(os.fsencode(file)))}' alt='{escape(caption)}'>"
            f"<figcaption>{escape(caption)}</figcaption></figure>"
            for caption, file in pictures.items()
        ]
        self._body.append(f"<div class=row>{''.join(shown)}</div>")

    def curves(self, curves: Mapping[str, Points], x: str, y: str) -> None:
        """Lines of (x, y) by name, in one chart."""
        drawn = chart(curves, x, y)
        if drawn:
            self._body.append(f"<figure>{drawn}</figure>")

    def copy(self) -> Page:
        """One that can be gone on with apart from this."""
        other = Page(self.title, "")
        other._body = list(self._body)
        return other

    def write(self, path: Path, refresh: int | None = None) -> Path:
        """``refresh`` is after how many seconds a browser should read it again."""
        again = "" if refresh is None else f"<meta http-equiv=refresh content={refresh}>"
        path.parent.mkdir(parents=True, exist_ok=True)
        html = (
            f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{escape(self.title)}</title>"
            f"<meta name=viewport content='width=device-width'>{again}<style>{STYLE}</style></head>"
            f"<body>{''.join(self._body)}<p class=lead>Every picture here is synthetic unless it says that it is real; "
            "each PNG that a model drew carries the record of how it was made (zeuxis info FILE).</p></body></html>\n"
        )
        write_whole(path, html.encode(errors="backslashreplace"))  # names of files may be no text
        return path


def shown_html(
    title: str, losses: Mapping[str, Points], preview: Path | None, held_out: Mapping[str, Points] | None = None
) -> str:
    """A training as a notebook shows it: one piece of HTML with nothing outside it."""
    sheet = ""
    if preview is not None and preview.is_file():
        data = base64.b64encode(preview.read_bytes()).decode()
        sheet = f"<img alt='newest preview' style='image-rendering:pixelated' src='data:image/png;base64,{data}'>"
    lines = "<style>.zeuxis polyline{fill:none;stroke-width:1.5}.zeuxis text{font:11px monospace}</style>"
    drawn = chart(losses, "images", "loss") + chart(held_out or {}, "images", "held-out loss")
    curves = f"<div style='max-width:640px'>{drawn}</div>"
    return f"<div class=zeuxis>{lines}<p>{escape(title)}</p>{curves}{sheet}</div>"


def chart(curves: Mapping[str, Points], x: str, y: str, width: int = 640, height: int = 240) -> str:
    """An SVG line chart; empty if there is nothing finite to draw."""
    kept = {
        name: [(a, b) for a, b in points if math.isfinite(a) and math.isfinite(b)] for name, points in curves.items()
    }
    kept = {name: points for name, points in kept.items() if len(points) > 1}
    if not kept:
        return ""
    xs = [a for points in kept.values() for a, _ in points]
    ys = sorted(b for points in kept.values() for _, b in points)
    low, high = ys[0], ys[min(len(ys) - 1, int(0.98 * len(ys)))]  # the first few losses would flatten the rest
    left, right, top, bottom = 56, 12, 12, 32
    right_x = max(xs) - min(xs) or 1.0
    tall = high - low or 1.0

    def place(a: float, b: float) -> str:
        u = left + (a - min(xs)) / right_x * (width - left - right)
        v = height - bottom - min(1.0, (b - low) / tall) * (height - top - bottom)
        return f"{u:.1f},{v:.1f}"

    lines = "".join(
        f"<polyline stroke='{INKS[k % len(INKS)]}' points='{' '.join(place(a, b) for a, b in points)}'/>"
        f"<text x='{width - right}' y='{top + 14 * k + 8}' text-anchor='end' style='fill:{INKS[k % len(INKS)]}'>"
        f"{escape(name)}</text>"
        for k, (name, points) in enumerate(kept.items())
    )
    base = height - bottom
    return (
        f"<svg viewBox='0 0 {width} {height}' role='img' aria-label='{escape(y)} against {escape(x)}'>"
        f"<line x1='{left}' y1='{base}' x2='{width - right}' y2='{base}'/>"
        f"<line x1='{left}' y1='{top}' x2='{left}' y2='{base}'/>"
        f"<text x='{left}' y='{height - 8}'>{min(xs):.3g}</text>"
        f"<text x='{width - right}' y='{height - 8}' text-anchor='end'>{max(xs):.3g} {escape(x)}</text>"
        f"<text x='4' y='{top + 8}'>{high:.3g}</text><text x='4' y='{base}'>{low:.3g}</text>"
        f"<text x='{left + 6}' y='{top + 8}'>{escape(y)}</text>{lines}</svg>"
    )


def loss_curves(log: Path, x: str = "images", most: int = 300) -> dict[str, list[tuple[float, float]]]:
    """The losses that a run's ``log.jsonl`` recorded, against images seen, thinned to ``most`` points each."""
    return _curves(log, "loss/", x, most)


def held_out_curves(log: Path, x: str = "images", most: int = 300) -> dict[str, list[tuple[float, float]]]:
    """The same of what it measured on pictures that it never trained on; the mean first."""
    curves = _curves(log, HELD_OUT, x, most)
    return {name: curves[name] for name in sorted(curves, key=lambda name: name != "mean")}


def _curves(log: Path, begins: str, x: str, most: int) -> dict[str, list[tuple[float, float]]]:
    curves: dict[str, list[tuple[float, float]]] = {}
    for entry in read_log(log):
        for key, value in entry.items():
            if key.startswith(begins) and x in entry and isinstance(value, (int, float)):
                curves.setdefault(key.removeprefix(begins), []).append((entry[x], value))
    return {name: points[:: max(1, len(points) // most)] for name, points in curves.items()}
