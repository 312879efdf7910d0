"""``zeuxis diagnose``: what is wrong with a training, and what mends it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from zeuxis.cli import completing
from zeuxis.cli.options import KNOBS, DataName, DeviceName, Json, Knobs, Pair, paired, sampling
from zeuxis.cli.output import emit, say
from zeuxis.cli.progress import Progress
from zeuxis.signature import taking


@taking(KNOBS)
def diagnose(
    run: Annotated[str, typer.Argument(help="A run folder, or a model without one.", autocompletion=completing.models)],
    data: DataName = None,
    pair: Pair = None,
    samples: Annotated[int, typer.Option("--samples", min=50, help="Pictures that are drawn and looked at.")] = 500,
    knob: Knobs = None,
    device: DeviceName = "cpu",
    as_json: Json = False,
    **flags: Any,
) -> None:
    """Look for mode collapse, vanishing gradients, non-convergence, memorising and other failures; says the mend."""
    from zeuxis.api.diagnose import diagnose as work
    from zeuxis.api.model import load
    from zeuxis.knobs import Sampling

    asked = knob or any(value is not None for value in flags.values())
    how = sampling(load(run, device), flags, knob) if asked else Sampling()
    with Progress() as progress:
        found = work(run, data=paired(data, pair), samples=samples, how=how, device=device, report=progress)
    if as_json:
        emit(found)
        return
    for finding in found.findings:
        say(f"{finding.name}: {finding.evidence}")
        say(f"  mend: {finding.mend}")
    if not found.findings:
        say(f"{run}: none of the usual failures is seen in {', '.join(found.looked_at)}")
