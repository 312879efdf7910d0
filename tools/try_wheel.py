"""Build the wheel, install it into a fresh environment and run the demo from there: python tools/try_wheel.py FOLDER.

What the source tree has and the wheel lacks (a recipe, weights, a result) is named; the demo is run in an empty folder,
where nothing of the tree can be imported. FOLDER must not exist; it keeps the wheel, the environment and the page.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(*command: object, at: Path) -> str:
    """Run a command without this environment's own Python settings; what it prints is returned."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(list(map(str, command)), cwd=at, env=env, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def lacking(wheel: Path) -> list[str]:
    """The tracked files of the package that ``wheel`` lacks."""
    tracked = run("git", "ls-files", "src/zeuxis", at=ROOT).splitlines()
    with zipfile.ZipFile(wheel) as packed:
        return sorted({name.removeprefix("src/") for name in tracked} - set(packed.namelist()))


def main(folder: Path) -> None:
    folder.mkdir(parents=True)
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT, at=folder)
    (wheel,) = folder.glob("zeuxis-*.whl")
    absent = lacking(wheel)
    if absent:
        sys.exit(f"{wheel.name} lacks {len(absent)} files of the package: {', '.join(absent[:5])}")
    venv.create(folder / "fresh", with_pip=True)
    python, elsewhere = folder / "fresh" / "bin" / "python", folder / "elsewhere"
    elsewhere.mkdir()
    run(python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", wheel, at=elsewhere)
    where = Path(run(python, "-c", "import zeuxis; print(zeuxis.__file__)", at=elsewhere).strip())
    if not where.is_relative_to(folder / "fresh"):
        sys.exit(f"the fresh environment imports {where}, not what was installed")
    run(folder / "fresh" / "bin" / "zeuxis", "demo", "--out", "demo", at=elsewhere)
    page = elsewhere / "demo" / "index.html"
    if not page.is_file():
        sys.exit(f"the demo wrote no {page}")
    sys.stdout.write(f"{wheel.name}: {wheel.stat().st_size / 2**20:.0f} MiB, the demo's page is {page}\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]).resolve())
