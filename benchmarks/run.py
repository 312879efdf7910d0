"""Run the benchmarks and write one table of them: python benchmarks/run.py [NAME ...] [--out docs/benchmarks-table.md].

Without names all of :data:`BENCHMARKS` run, one after another, each in a process of its own (an idle machine, please).
The table holds what was measured beside the machine's kind and the versions. A peer that is not installed is a line
that says so. To run one alone, with other settings, call its file.

    pip install perlin-numpy; pip install --no-deps pythae
    git clone https://github.com/karpathy/nanoGPT; git clone https://github.com/NVlabs/stylegan3
    git clone https://github.com/taesungp/contrastive-unpaired-translation; git clone https://github.com/xinntao/Real-ESRGAN
    python benchmarks/run.py --nanogpt nanoGPT/model.py --stylegan3 stylegan3 --cut contrastive-unpaired-translation \\
        --real-esrgan Real-ESRGAN
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import _race
from _race import Row

HERE = Path(__file__).parent
TABLE = HERE.parent / "docs" / "benchmarks-table.md"
NANOGPT = "{nanogpt}"  # stands for the place of nanoGPT's model.py
STYLEGAN3, CUT, REAL_ESRGAN = "{stylegan3}", "{cut}", "{real-esrgan}"  # for those of clones of public programs


def rows_of(found: dict[str, Any]) -> Iterable[Row]:
    """What a file that uses ``_race.told`` prints."""
    return [Row(**row) for row in found["rows"]]


def sampler_loop(found: dict[str, Any]) -> Iterable[Row]:
    for name, one in found.items():
        if isinstance(one, dict):
            rate = f"{one['zeuxis_ms']} ms of CPU"
            yield Row(f"sampler's loop, {name}, {found['steps']} steps", rate, "diffusers", one["times_as_fast"])


def image_gpt_step(found: dict[str, Any]) -> Iterable[Row]:
    what = f"image-gpt's step, {found['length']} codes, batch {found['batch']}"
    yield Row(what, f"{found['zeuxis_steps_per_s']} steps/s", "nanoGPT", found["ratio_median"])


def figures(found: dict[str, Any]) -> Iterable[Row]:
    """What prints figures of its own, as they are."""
    for name, value in found.items():
        yield Row(name, json.dumps(value))


Reader = Callable[[dict[str, Any]], Iterable[Row]]
# The file, what it is called with, how what it prints becomes rows. Add a benchmark here: one line.
BENCHMARKS: dict[str, list[tuple[tuple[str, ...], Reader]]] = {
    "startup": [(("--turns", "7"), rows_of)],
    "service_rate": [((), rows_of)],
    "scenes_rate": [((), rows_of)],
    "world_rate": [(("--turns", "7"), rows_of)],
    "loader_rate": [(("--pictures", "128", "--turns", "5"), rows_of)],
    "perlin_rate": [((), rows_of)],
    "dcgan_step": [((), rows_of)],
    "upfirdn": [((), rows_of)],
    "cyclegan_step": [(("--clone", CUT), rows_of)],
    "restore_rate": [(("--clone", REAL_ESRGAN), rows_of)],
    "stylegan2_step": [(("--clone", STYLEGAN3), rows_of)],
    "vae_step": [((), rows_of), (("--pixels", "bernoulli"), rows_of), (("--network", "perceptron"), rows_of)],
    "precision_rate": [((), rows_of)],
    "unet_step": [(("--turns", "8"), rows_of)],
    "dit_step": [(("--turns", "8"), rows_of)],
    "stable_diffusion_rate": [((), rows_of)],
    "sampler_loop": [(("--json",), sampler_loop)],
    "image_gpt_step": [((NANOGPT,), image_gpt_step), ((NANOGPT, "--length", "1024", "--batch", "4"), image_gpt_step)],
    "metrics_rate": [((), rows_of)],
    "maskgit_rate": [(("--turns", "3"), rows_of)],
    "load_large": [((), figures)],
    "evaluate_memory": [(("2000", "128"), figures)],
    "kills": [(("100",), figures)],
}


def run(name: str, places: Mapping[str, str | None]) -> list[Row]:
    """The rows of one benchmark; where it could not run, a row that says why. ``places`` are of public programs."""
    found: list[Row] = []
    for words, read in BENCHMARKS[name]:
        lacking = [word.strip("{}") for word in words if word in places and places[word] is None]
        if lacking:
            return [Row(name, f"not run: give --{lacking[0]}, the place of the public program")]
        command = [sys.executable, str(HERE / f"{name}.py"), *(places.get(word) or word for word in words)]
        sys.stderr.write(f"{' '.join(command[1:])}\n")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            found.append(Row(" ".join([name, *words]), f"not run: {last}"))
        else:
            found += read(json.loads(done.stdout))
    return found


def table(rows: dict[str, list[Row]], threads: int) -> str:
    """The page: the machine, and a line for each row."""
    on = ", ".join(f"{name} {value}" for name, value in _race.machine(threads).items())
    lines = [
        "# Benchmarks: the table",
        "",
        "Written by `python benchmarks/run.py`. A ratio says how many times as fast as the peer ours is, by CPU time:",
        "the median over turns in one process, in brackets the least and the most. What each measures, its file says.",
        "",
        f"On: {on}.",
        "",
        "| benchmark | what | beside | ratio | ours |",
        "|---|---|---|---|---|",
    ]
    for name, found in rows.items():
        for row in found:
            spread = "" if row.least is None else f" ({row.least} to {row.most})"
            ratio = "" if row.ratio is None else f"{row.ratio}{spread}"
            lines.append(f"| `{name}` | {row.what} | {row.peer or ''} | {ratio} | {row.rate} |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(BENCHMARKS)}")
    parser.add_argument("--nanogpt", help="nanoGPT's model.py")
    parser.add_argument("--stylegan3", help="a clone of NVlabs/stylegan3")
    parser.add_argument("--cut", help="a clone of taesungp/contrastive-unpaired-translation")
    parser.add_argument("--real-esrgan", help="a clone of xinntao/Real-ESRGAN")
    parser.add_argument("--out", type=Path, default=TABLE)
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in BENCHMARKS]
    if unknown:
        sys.exit(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    rows: dict[str, list[Row]] = {}
    for name in given.names or BENCHMARKS:
        places = {NANOGPT: given.nanogpt, STYLEGAN3: given.stylegan3, CUT: given.cut, REAL_ESRGAN: given.real_esrgan}
        rows[name] = run(name, places)
        given.out.write_text(table(rows, threads=1), encoding="utf-8")  # what is done is kept
    sys.stdout.write(f"{given.out}\n")


if __name__ == "__main__":
    main()
