"""A race is fair: who begins rotates, warming up does not count, and a ratio is the median of the turns'."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def race(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import _race

    return _race


def test_who_begins_rotates_and_warming_up_does_not_count(race: ModuleType) -> None:
    order, now = [], [0.0]

    def contestant(name: str, seconds: float) -> object:
        def play() -> None:
            order.append(name)
            now[0] += seconds

        return play

    contestants = {"zeuxis": contestant("zeuxis", 2.0), "a": contestant("a", 3.0), "b": contestant("b", 8.0)}
    found = race.race(contestants, turns=2, warm=1, clock=lambda: now[0])
    assert order == ["zeuxis", "a", "b", "a", "b", "zeuxis", "b", "zeuxis", "a"]
    assert found == {"zeuxis": [2.0, 2.0], "a": [3.0, 3.0], "b": [8.0, 8.0]}


def test_a_ratio_is_the_median_over_turns(race: ModuleType) -> None:
    (row,) = race.compared("work", {"zeuxis": [1.0, 2.0, 1.0], "peer": [3.0, 2.0, 1.5]}, pictures=64)
    assert (row.peer, row.ratio, row.least, row.most, row.rate) == ("peer", 1.5, 1.0, 3.0, "64 images/s")


def test_the_table_names_what_could_not_run(race: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    import run

    # what is no matter of speed
    assert {path.stem for path in BENCHMARKS.glob("*.py")} - set(run.BENCHMARKS) <= {
        "_race",
        "run",
        "abstention",
        "dcgan_quality",
        "inpaint_psnr",
        "planted_faults",
        "watermark",
    }
    monkeypatch.setitem(run.BENCHMARKS, "absent", [((), run.rows_of)])
    (row,) = run.run("absent", {})
    assert row.what == "absent" and row.rate.startswith("not run: ") and "absent.py" in row.rate
    page = run.table({"absent": [row], "x": [race.Row("work", "2 images/s", "peer", 1.5, 1.0, 3.0)]}, threads=1)
    assert "| `x` | work | peer | 1.5 (1.0 to 3.0) | 2 images/s |" in page and "| `absent` | absent |" in page
    for name in ("_race", "run"):
        sys.modules.pop(name)
