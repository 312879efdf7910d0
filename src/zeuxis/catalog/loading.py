"""Tensors of a file into a system that was built without any: nothing is initialised, copied or cast in vain."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from zeuxis.errors import WeightsError
from zeuxis.game import System
from zeuxis.training.fit import misfit
from zeuxis.training.given import ELSEWHERE, stored

# Those of torch.nn.init that are not here draw by these methods.
DRAWN = frozenset({Tensor.normal_, Tensor.uniform_, nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_})


class NothingDrawn(TorchFunctionMode):
    """Within this context a tensor on the meta device is left alone by what would draw numbers for it.

    It has none; and the first such call has torch import its compiler, a second for every process that loads a model.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        tensor = args[0] if args else given.get("tensor")  # as torch.nn.init hands it on
        if isinstance(tensor, Tensor) and tensor.is_meta and func in DRAWN:
            return tensor
        return func(*args, **given)


@contextmanager
def parameters_on_meta(given: Mapping[str, System]) -> Iterator[None]:
    """Within this context every new parameter of a module is on the meta device: it has a shape and no memory.

    Buffers are made as ever, so that constants which no file holds (positions, masks, a schedule) are there after
    construction. Parameters of ``given`` systems stay what they are. Only this thread is concerned.
    """
    thread = threading.get_ident()
    keep = {id(p) for system in given.values() for p in system.parameters()}
    moved: dict[int, tuple[weakref.ref[nn.Parameter], nn.Parameter]] = {}

    def to_meta(module: nn.Module, name: str, parameter: nn.Parameter | None) -> Any:
        if parameter is None or parameter.is_meta or id(parameter) in keep or threading.get_ident() != thread:
            return None  # as it is
        before = moved.get(id(parameter))
        if before is not None and before[0]() is parameter:
            return before[1]  # tied: registered under two names
        there = nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)
        moved[id(parameter)] = weakref.ref(parameter), there
        return there

    handle = register_module_parameter_registration_hook(to_meta)
    try:
        with NothingDrawn():
            yield
    finally:
        handle.remove()


def assign(
    system: System, tensors: Mapping[str, Tensor], *, dtype: torch.dtype | None, device: torch.device | str, what: str
) -> None:
    """Make ``tensors`` the state of ``system``, which was built with :func:`parameters_on_meta`.

    Systems that it was given must have their tensors already, but for what ``tensors`` holds of them.
    Without ``dtype`` each tensor gets the type that it was built with. With one, parameters of two axes or more
    get it; vectors, buffers and constants keep theirs, because norms and schedules lose too much in half
    precision and cost nothing.

    Raises:
        WeightsError: names or shapes differ; ``what`` begins the message.
    """
    state = system.state_dict(keep_vars=True)
    trained = {name: state[name] for name in tensors if name in state}  # parts of given systems among them
    why = misfit({**stored(system), **trained}, tensors)
    if why is not None:
        raise WeightsError(f"{what} do not fit '{system.card.id}' as it was built: {why}")
    before = list(system.parameters())  # held, so that no new parameter has the id of one of them
    made, new = dict[int, nn.Parameter](), set[int]()  # by the id of what it replaces
    for prefix, module in system.named_modules(remove_duplicate=False):
        dot = f"{prefix}." if prefix else ""
        for name, parameter in tuple(module._parameters.items()):
            if parameter is None or dot + name not in tensors or id(parameter) in new:
                continue
            if id(parameter) not in made:  # else it is tied, and stays so
                wanted = dtype if dtype is not None and parameter.ndim > 1 else parameter.dtype
                there = tensors[dot + name].to(device, wanted)
                made[id(parameter)] = nn.Parameter(there, requires_grad=parameter.requires_grad)
                new.add(id(made[id(parameter)]))
            setattr(module, name, made[id(parameter)])
        for name, buffer in module._buffers.items():
            if buffer is not None and dot + name in tensors:
                module._buffers[name] = tensors[dot + name].to(device, buffer.dtype)
        if ELSEWHERE in module.__dict__:  # of a given system: what this file holds is no longer kept there alone
            module.__dict__[ELSEWHERE] -= {name for name in module.__dict__[ELSEWHERE] if dot + name in tensors}
    del before
    system.to(device)
    for name, tensor in (*system.named_parameters(), *system.named_buffers()):
        if tensor.is_meta:
            raise WeightsError(
                f"{what} do not hold {name}, and '{system.card.id}' makes it from its parameters: make it from the "
                "constructor's arguments, or register it as a persistent buffer"
            )
