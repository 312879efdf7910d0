"""What the service costs and bears: python benchmarks/service_rate.py [--turns 7] [--crowd 200].

A real ``zeuxis serve`` on loopback over an empty folder of runs. Time until it answers, and until the first picture;
bytes and requests of its page; what a drawing takes by a job and by the library in this process, in turns; requests a
second and latencies with 1, 8 and 64 clients; and a crowd that asks at once, whose every picture must come, with the
memory of server and worker before and after it. The times are of the clock: an idle machine, please.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _race
import torch

from zeuxis.api.model import load

CAPTION = "a small red circle above a large blue square at night"
ENDED = ("done", "failed", "cancelled")
CLIENTS = (1, 8, 64)
LOOK = 0.005  # seconds between two looks at a job


@dataclass(frozen=True)
class Service:
    """A service that runs, and how long it took to answer."""

    address: str
    process: int
    ready: float

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON that it answers; busy (429) is waited out."""
        content = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        while True:
            asked = urllib.request.Request(self.address + path, content, headers, method=method)
            try:
                with urllib.request.urlopen(asked, timeout=600) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code != 429:
                    raise
                time.sleep(0.05)

    def draw(self, **asked: Any) -> dict[str, Any]:
        """A drawing from its request to its end."""
        return self.finished(kind="sample", **asked)

    def finished(self, **asked: Any) -> dict[str, Any]:
        """A job from its request to its end."""
        job = self.ask("POST", "/api/jobs", asked)
        while job["state"] not in ENDED:
            time.sleep(LOOK)
            job = self.ask("GET", f"/api/jobs/{job['id']}")
        return job

    def memory(self) -> int:
        """Bytes of memory of the server and of its worker."""
        worker = self.ask("GET", "/api/status")["worker"]
        return _resident(self.process) + _resident(worker)


def _resident(process: int) -> int:
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def service() -> Iterator[Service]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as runs:
        command = [sys.executable, "-m", "zeuxis", "serve", "--port", str(port), "--runs", runs, "--json"]
        begun = time.perf_counter()
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            address = f"http://127.0.0.1:{port}"
            while True:
                try:
                    urllib.request.urlopen(f"{address}/api/status", timeout=10).close()
                    break
                except (urllib.error.URLError, ConnectionError):
                    time.sleep(0.01)
            yield Service(address, running.pid, time.perf_counter() - begun)
        finally:
            running.terminate()
            running.wait()


def page(run: Service) -> str:
    """What a visit loads before it asks for data."""
    with urllib.request.urlopen(run.address, timeout=10) as answer:
        index = answer.read()
    files = [index]
    for name in re.findall(rb'(?:src|href)="\./(assets/[^"]+)"', index):
        with urllib.request.urlopen(f"{run.address}/{name.decode()}", timeout=10) as answer:
            files.append(answer.read())
    return f"{len(files)} files, {sum(len(gzip.compress(file)) for file in files) / 1000:.1f} kB gzip"


def overhead(run: Service, turns: int) -> _race.Seconds:
    """16 pictures by a job, and by the library here with their files written."""
    model, folder = load("scenes"), tempfile.mkdtemp()
    seeds = iter(range(10**6))

    def here() -> None:
        model.sample(16, next(seeds), caption=CAPTION).save(Path(folder) / f"{next(seeds)}")

    def there() -> None:
        assert run.draw(model="scenes", prompt=CAPTION, n=16, seed=next(seeds))["state"] == "done"

    return _race.race({_race.OURS: there, "the library in this process": here}, turns, clock=time.perf_counter)


def slider(run: Service, moves: int) -> str:
    """Milliseconds from a slider's move to the picture's bytes, the model and its directions at hand."""
    found = run.finished(kind="directions", model="cvae", by="pca", count=1)
    (name,) = found["result"]["facts"]["names"]
    seconds = []
    for k in range(moves + 1):
        begun = time.perf_counter()
        told = {"directions": found["id"], "strengths": {name: k / moves}, "condition": {"label": 3}}
        job = run.finished(kind="move", model="cvae", seed=0, **told)
        with urllib.request.urlopen(run.address + job["result"]["pictures"][0]["url"], timeout=10) as answer:
            answer.read()
        seconds.append(time.perf_counter() - begun)
    return f"{1000 * statistics.median(seconds[1:]):.0f} ms in the middle, {1000 * max(seconds[1:]):.0f} at most"


def under(run: Service, clients: int, requests: int) -> tuple[float, list[float]]:
    """Requests a second, and each one's seconds, of so many clients that ask again when they have their picture."""
    seeds, lock = iter(range(10**6)), threading.Lock()

    def one(_: int) -> float:
        with lock:
            seed = next(seeds)
        begun = time.perf_counter()
        job = run.draw(model="scenes", prompt=CAPTION, n=1, seed=seed, knobs={"steps": 8})
        assert job["state"] == "done", job
        return time.perf_counter() - begun

    begun = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        seconds = list(pool.map(one, range(requests)))
    return requests / (time.perf_counter() - begun), sorted(seconds)


def main() -> None:
    given = _race.arguments(__doc__, turns=7, crowd=200, requests=128).parse_args()
    torch.set_num_threads(given.threads)
    os.environ["OMP_NUM_THREADS"] = str(given.threads)
    with service() as run:
        begun = time.perf_counter()
        assert run.draw(model="scenes", prompt=CAPTION, seed=1)["state"] == "done"
        first = time.perf_counter() - begun
        rows = [
            _race.Row("service: from its start to its first answer", f"{run.ready:.2f} s"),
            _race.Row("service: first picture, its model not yet loaded", f"{first:.2f} s"),
            _race.Row("service: the page without data", page(run)),
            _race.Row("service: a slider of cvae moved", slider(run, 4 * given.turns)),
            *_race.compared("service: 16 pictures of scenes by a job", overhead(run, given.turns), 16),
        ]
        for clients in CLIENTS:
            rate, seconds = under(run, clients, given.requests)
            middle, slow = statistics.median(seconds), seconds[int(0.95 * len(seconds))]
            text = f"{rate:.3g} requests/s; {middle:.2f} s in the middle, {slow:.2f} s at the 95th of a hundred"
            rows.append(_race.Row(f"service: {clients} clients, a picture of scenes in 8 steps each", text))
        before = run.memory()
        rate, seconds = under(run, given.crowd, given.crowd)
        growth = run.memory() / before - 1
        text = f"all {len(seconds)} came, {rate:.3g}/s; memory {before >> 20} MiB, {growth:+.1%} after"
        rows.append(_race.Row(f"service: {given.crowd} clients at once", text))
    _race.told(rows, given)


if __name__ == "__main__":
    main()
