"""Progressive distillation (Salimans & Ho 2022, arXiv:2202.00512): a sampler of few steps, from one of many.

A student learns to do in one step what its teacher does in two. Then it is the teacher, and the number of steps is
halved again: all halvings are rounds of one training. The first teacher is a trained model that is given.

Paper -> code: x^_eta -> elder, x^_theta -> student, N -> students_steps, i -> at, z_t -> noisy, z_t' -> half,
z_t'' -> whole, x~ -> target, w(lambda_t) -> weight, K -> halvings.

Everything is in VE space (``z / alpha``), where sigma_t / alpha_t is ``sigma`` and a step of DDIM is one of Euler's.

Parts: the teacher's own network and denoiser, diffusion/sampler.py (``euler``), diffusion/weighting.py.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from zeuxis.batch import Condition, Shape
from zeuxis.card import Card
from zeuxis.diffusion.path import append_dims
from zeuxis.diffusion.sampler import Denoise, euler
from zeuxis.diffusion.weighting import snr_plus_one, squared_error, truncated_snr
from zeuxis.errors import Unsupported, UsageError, lookup
from zeuxis.game import Move, Player, System, Turn
from zeuxis.knobs import Sampling
from zeuxis.rng import ImageRng, normal_like

WEIGHTS: dict[str, Callable[[Tensor], Tensor]] = {"snr+1": snr_plus_one, "truncated-snr": truncated_snr}


class ProgressiveDistillation(System):
    """A copy of the teacher that draws in ``steps`` steps; it obeys what the teacher obeys.

    Args:
        teacher: a trained system with a denoiser and a knob for its steps, by name or run folder; never trained here.
            It predicts v, a velocity or the picture: of noise that it predicts nothing follows about the picture at
            pure noise, where a sampler of one step is asked.
        start: steps of the teacher's own sampler, which the first student halves: ``steps`` times a power of two.
        steps: those of the last student, which the finished model takes.
        weight: of the error in the picture at each level of noise: "snr+1" (the squared error of v) or
            "truncated-snr" (the larger of the errors of picture and noise).
        guidance: scale of the guidance of the teacher, which the students then have within them (Meng et al. 2022,
            2210.03142); none leaves it to the teacher's own default.
    """

    card = Card(
        "progressive-distillation",
        title="Progressive distillation",
        family="diffusion",
        year=2022,
        paper="2202.00512",
        verbs={"sample", "denoiser"},
        accepts={"label", "caption"},
        departures=(
            "Levels are those of the teacher's own sampler, not of the paper's cosine schedule.",
            "All halvings take an equal share of the training; the paper gives the last two twice as much.",
            "The optimiser's moments are kept from one halving to the next.",
        ),
    )
    distils = True
    stage: Tensor

    def __init__(
        self,
        shape: Shape,
        *,
        teacher: System,
        start: int = 1024,
        steps: int = 1,
        weight: Literal["snr+1", "truncated-snr"] = "snr+1",
        guidance: float | None = None,
    ) -> None:
        super().__init__()
        self.shape = Shape(*shape)
        _check_teacher(teacher, self.shape)
        self.halvings = round(math.log2(start / steps)) if start > steps >= 1 else 0
        if not self.halvings or steps * 2**self.halvings != start:
            raise UsageError(f"{start} steps are not halved to {steps}: set start to 2, 4, 8, ... times steps")
        self.start, self.weight = start, lookup("weight", weight, WEIGHTS)
        if (there := len(teacher.levels(Sampling(steps=start))) - 1) != start:
            raise UsageError(
                f"the teacher '{teacher.card.id}' draws in at most {there} steps, so that {start} of its steps are not "
                f"halved: set start to at most {steps * 2 ** int(math.log2(max(1, there // steps)))}"
            )
        self.teacher = teacher
        self.elder, self.student = (_copied(teacher) for _ in range(2))
        self.freeze(teacher)
        self.freeze(self.elder)
        nets = _trained_by(self.student)
        self.player = Player("student", nets, lr=1e-4, decay=self.annealed)
        self.guided = Sampling(guidance=guidance)
        self.plain = Sampling(guidance=1.0) if "guidance" in teacher.knobs else Sampling()
        self.register_buffer("stage", torch.zeros((), dtype=torch.int64))  # how many halvings are done

    def players(self) -> tuple[Player, ...]:
        return (self.player,)

    @property
    def conditions(self) -> frozenset[str]:
        return self.teacher.conditions

    def moves(self) -> tuple[Move, ...]:
        return (Move("student", self.halve),)

    def halve(self, turn: Turn) -> Tensor:
        """Algorithm 2: one step of the student to where two steps of DDIM of its elder lead."""
        image, condition = turn.batch.image, turn.batch.condition  # (B, C, H, W)
        n, stage = len(image), int(self.stage)
        grid = self.grid(stage).to(image.device)  # (2 N + 1,), descending to 0
        at = turn.rng.integers(len(grid) // 2, n, device=image.device)  # (B,)
        now, middle, after = (append_dims(grid[2 * at + k], image) for k in range(3))
        noisy = image + now * normal_like(image, turn.rng)
        with torch.no_grad():
            elder = self.elder.denoiser(condition, n, self.plain if stage else self.guided)
            half = torch.lerp(elder(noisy, now.flatten()).float(), noisy, middle / now)
            whole = torch.lerp(elder(half, middle.flatten()).float(), half, after / middle)
            target = (whole - after / now * noisy) / (1 - after / now)
        guess = self.student.denoiser(condition, n, self.plain)(noisy, now.flatten())
        turn.note(steps=float(len(grid) // 2))
        return (self.weight(now.flatten()) * squared_error(guess, target)).mean()

    def after_round(self, turn: Turn) -> None:
        """Between two halvings the student becomes the elder: eta <- theta, N <- N / 2."""
        if int(self.stage) < min(int(turn.progress * self.halvings), self.halvings - 1):
            self.elder.load_state_dict(self.student.state_dict())
            self.stage += 1

    def annealed(self, progress: float) -> float:
        """What the learning rate is multiplied by: linearly down to 0 within each halving."""
        return 1 - progress * self.halvings % 1

    def grid(self, stage: int) -> Tensor:
        """The levels of the elder's steps after ``stage`` halvings, descending to 0; of its student every other one."""
        return self.teacher.levels(Sampling(steps=self.start))[:: 2**stage]

    def denoiser(self, condition: Condition, n: int, how: Sampling = Sampling()) -> Denoise:
        """The student's answer at a level of its own: where a step of its sampler to 0 would lead."""
        self.settings(how)  # refuses knobs that there are not
        return self.student.denoiser(condition, n, self.plain)

    def levels(self, how: Sampling = Sampling()) -> Tensor:
        """Those of the present student's steps, descending, then 0: ``steps`` of them once it is trained."""
        self.settings(how)
        return self.grid(int(self.stage))[::2]

    @torch.no_grad()
    def sample(self, condition: Condition, rng: ImageRng, how: Sampling = Sampling()) -> Tensor:
        """DDIM in the student's steps."""
        levels = self.levels(how)
        x = levels[0].item() * rng.normal(len(rng), *self.shape, device=self.device)
        return euler(self.denoiser(condition, len(rng), how), x, levels, rng).clamp(-1, 1)


def _copied(teacher: System) -> System:
    """A copy of the teacher that shares what the teacher itself never trained."""
    return copy.deepcopy(teacher, {id(part): part for part in teacher.frozen})


def _trained_by(system: System) -> tuple[nn.Module | nn.Parameter, ...]:
    """What the players of ``system`` train, which a loaded one does not, made trainable again."""
    own = [player.nets for player in system.players()]
    own += [group.nets for player in system.players() for group in player.groups]
    nets = tuple(net for some in own for net in some)
    system.requires_grad_(False)
    for net in nets:
        net.requires_grad_(True)
    for part in system.frozen:
        part.requires_grad_(False)
    return nets


def _check_teacher(teacher: System, shape: Shape) -> None:
    """Refuse a teacher that cannot be one."""
    name = teacher.card.id
    if "denoiser" not in teacher.can or "steps" not in teacher.knobs:
        raise Unsupported(f"'{name}' has no denoiser to distil: give a diffusion model, such as flow-matching")
    if tuple(teacher.shape) != tuple(shape):
        raise UsageError(
            f"the teacher '{name}' was trained on pictures of {tuple(teacher.shape)}, not {tuple(shape)} (channels, "
            "rows, columns): set size to its own, or train one on this data"
        )
    if "encode" in teacher.can:
        raise Unsupported(f"'{name}' denoises codes of pictures: give a diffusion model of pictures")
    if teacher.predicts_noise:
        raise UsageError(
            f"the teacher '{name}' predicts the noise (epsilon), which says nothing of the picture at pure "
            "noise: train one with model.predicts = 'v', or a flow-matching"
        )
