"""The process of one lane's worker: ``python -m zeuxis.studio.worker_process LANE RUNS MOST DEVICE``.

It works until its standard input ends, which it does with the server. Loading torch takes seconds, in which nothing is
at work: where the input ends meanwhile the process ends at once, for it listens before it loads.
"""

from __future__ import annotations

import signal
import sys
import traceback
from pathlib import Path

from zeuxis.studio.folders import Folders
from zeuxis.studio.queue import JobQueue
from zeuxis.studio.server_input import ServerInput, leave


def main(lane: str, runs: str, most: str, device: str) -> None:
    """Be the worker of ``lane`` for the server at the other end of standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Windows Ctrl-C reaches it: that is the server's, which hangs up
    server = ServerInput()
    server.listen()
    if lane == "training":
        from zeuxis.studio.training_worker import serve  # noqa: PLC0415  (torch, after it listens)
    else:
        from zeuxis.studio.worker import serve  # noqa: PLC0415  (as above)
    folders = Folders(Path(runs))
    serve(folders, JobQueue(folders.queue, int(most)), device, server)
    sys.stdout.flush()
    leave()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception:  # noqa: BLE001  (whatever it is, as where torch does not load: the server is told by the status)
        traceback.print_exc()
        sys.stderr.flush()
        leave(1)
