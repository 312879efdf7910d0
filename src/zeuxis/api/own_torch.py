"""Torch as it is expected here, whatever the program or the notebook that calls has set for itself.

Numbers are drawn and layers built in the default type and on the default device, and a context without gradients, or of
autocast, reaches all that is called within it. Left alone, a seed would be another picture there, and a training would
fail or be of another precision than its record says.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

CASTING = ("cpu", "cuda", "mps")  # kinds of devices that have an autocast of their own


@contextmanager
def own_torch() -> Iterator[None]:
    """Within it defaults are float32 and the processor, gradients are recorded, and nothing is cast by itself.

    Of several threads one at a time may find the default type changed: it is the whole process's.
    """
    dtype = torch.get_default_dtype()
    with ExitStack() as stack:
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        for kind in CASTING:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        if dtype is not torch.float32:
            torch.set_default_dtype(torch.float32)
            stack.callback(torch.set_default_dtype, dtype)
        yield
