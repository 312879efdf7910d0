"""What a training does where there are few pictures: it says so, and a StyleGAN2 has them varied."""

from __future__ import annotations

from zeuxis.api.naming import counted
from zeuxis.api.suited import of_others
from zeuxis.catalog.listing import entry
from zeuxis.catalog.schema import model_arguments
from zeuxis.data.source import Source
from zeuxis.game import System
from zeuxis.recipe import Recipe, load_recipe

BY_HEART = 2000  # pictures; the fewer there are, the sooner a GAN's figures turn and grow worse (2006.06676, section 2)
VARIED_BELOW = 10_000  # pictures; of so few, varying them betters what a GAN makes by far (2006.06676, section 4)
PLAIN, VARIES = "stylegan2", "stylegan2-ada"  # the same game, without what augments as far as overfitting asks for
PUBLISHED_SPEED = 500_000  # pictures in which p can go from 0 to 1 (2006.06676, section 3)
SHOWN = 8  # classes that a line names
SHARE = 0.4  # of a recipe's own pictures, in which p can do so where they are fewer


def few_pictures(recipe: Recipe, source: Source) -> str | None:
    """A line where there are fewer pictures than a batch has, or a GAN's discriminator will know them by heart."""
    n, batch = len(source), recipe.train.batch
    told = []
    if n < batch:
        told.append(f"a batch of {batch} holds some more than once (--batch {n} or less)")
    if n < BY_HEART and entry(recipe.system).card.family == "adversarial" and recipe.system != VARIES:
        told.append(
            f"the discriminator of a GAN learns so few by heart ({VARIES} varies what it sees as far as that asks for, "
            "and --augment flips shows each from both sides)"
        )
    return f"{counted(n, 'picture')} {'is' if n == 1 else 'are'} few: {'; '.join(told)}" if told else None


def unseen_classes(system: System, source: Source) -> str | None:
    """A line where a system is told classes, or is to tell them, and none of its training pictures is of some.

    Of few pictures all of a class may be held out, or left out of a subset.
    """
    labels = source.labels() if "label" in system.conditions or "classify" in system.card.verbs else None
    if labels is None:
        return None
    seen = set(labels.unique().tolist())
    names = [name for k, name in enumerate(source.spec.class_names) if k not in seen]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    some = f"{', '.join(names[:SHOWN])}{more}"
    return f"no picture of {some} is trained on, so nothing is learnt of what it shows" if names else None


def varied_where_few(recipe: Recipe, source: Source) -> tuple[Recipe, str | None]:
    """A recipe of :data:`PLAIN` as one of :data:`VARIES` where other pictures than its own are few, and a line on it.

    What a recipe says of its own data stays: it is what others are measured against. So does one that asks for what
    :data:`VARIES` has not, and one that is in no catalogue. How fast the probability moves follows from the recipe as
    it is in the catalogue, not from the budget, so that a longer training of the same goes on with it.
    """
    n = len(source)
    if recipe.system != PLAIN or n >= VARIED_BELOW or not of_others(recipe):
        return recipe, None
    if not recipe.model.keys() <= model_arguments(entry(VARIES)).keys():
        return recipe, None
    model = {"speed": _speed(load_recipe(recipe.name)), **recipe.model}
    if source.spec.shape.channels not in (1, 3):  # which have no hue
        model.setdefault("augment", "bg")
    are, them = ("is", "it") if n == 1 else ("are", "them")
    line = (
        f"{counted(n, 'picture')} {are} few, so the discriminator sees {them} varied as far as overfitting asks for, "
        f"by {VARIES} (--set system={PLAIN} trains without)"
    )
    return recipe.model_copy(update={"system": VARIES, "model": model}), line


def _speed(recipe: Recipe) -> int:
    iterations = recipe.train.iterations
    return PUBLISHED_SPEED if iterations is None else min(PUBLISHED_SPEED, int(SHARE * iterations * recipe.train.batch))
