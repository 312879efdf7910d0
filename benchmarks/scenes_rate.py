"""How many scenes are rendered a second, labels and all: ``python benchmarks/scenes_rate.py [--threads N]``.

Prints one JSON line per picture size and batch size. The rate is that of the median batch; the slowest
tenth is given beside it, because other work on the machine shows there first, and so is the rate per
second of processor time, which such work disturbs least.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import torch

from zeuxis.data.worlds.scenes import Scenes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2.0, help="time spent on each row")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for size, batch in ((32, 32), (32, 128), (32, 512), (64, 128), (128, 32)):
        source = Scenes(size=size)
        index = torch.arange(batch)
        source.batch(index)  # the first call builds caches of the library
        times: list[float] = []
        cpu = time.process_time()
        while sum(times) < args.seconds:
            index = (index + batch) % len(source)
            start = time.perf_counter()
            source.batch(index)
            times.append(time.perf_counter() - start)
        cpu = time.process_time() - cpu
        slow = statistics.quantiles(times, n=10)[-1]
        row = {
            "size": size,
            "batch": batch,
            "threads": args.threads,
            "images_per_second": round(batch / statistics.median(times)),
            "images_per_second_slowest_tenth": round(batch / slow),
            "images_per_cpu_second": round(batch * len(times) / cpu),
            "batches": len(times),
            "torch": torch.__version__,
        }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
