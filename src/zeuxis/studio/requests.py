"""What a job may ask for: the bodies of ``POST /api/jobs``, one kind of job each. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from zeuxis.studio.limits import (
    MOST_BATCH,
    MOST_CHANGES,
    MOST_DIRECTIONS,
    MOST_FRAMES,
    MOST_GIVEN,
    MOST_ITERATIONS,
    MOST_PARTIALS,
    MOST_PICTURES,
    MOST_SAMPLES,
    MOST_STEPS,
    MOST_STRENGTH,
    MOST_TEXT,
)

Name = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Text = Annotated[str, StringConstraints(max_length=MOST_TEXT)]
SizeText = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,4}(x[0-9]{1,4})?$")]
Seed = Annotated[int, Field(ge=0, lt=2**53)]  # whole in every JavaScript
Factor = Annotated[int, Field(ge=0, le=100_000)]


class StrictModel(BaseModel):
    """A table in which nothing unknown is passed over."""

    model_config = ConfigDict(extra="forbid")


class PictureRef(StrictModel):
    """A picture: one that was uploaded, or one of an earlier job's."""

    upload: Name | None = Field(default=None, description="What POST /api/uploads called it.")
    job: Name | None = None
    picture: Annotated[int, Field(ge=0, lt=MOST_PICTURES)] = Field(default=0, description="Which one of the job's.")

    @model_validator(mode="after")
    def _one_of_them(self) -> PictureRef:
        if (self.upload is None) == (self.job is None):
            raise ValueError("give either upload or job")
        return self


class PictureParts(StrictModel):
    """One picture of several that lie one after another in its channels, as multi-channel models take them."""

    parts: Annotated[list[PictureRef], Field(min_length=2, max_length=MOST_GIVEN)]


KnobValue = (
    bool | int | Annotated[float, Field(allow_inf_nan=False)] | Annotated[str, StringConstraints(max_length=100)]
)
Knobs = Annotated[dict[Annotated[str, StringConstraints(max_length=50)], KnobValue], Field(max_length=40)]
Factors = Annotated[dict[str, Factor], Field(max_length=40)]
One = PictureRef | PictureParts | Annotated[int, Field(ge=0, le=1_000_000)] | Text | Factors
Given = One | Annotated[list[One], Field(min_length=1, max_length=MOST_PICTURES)]
Conditions = Annotated[dict[Annotated[str, StringConstraints(max_length=20)], Given], Field(max_length=12)]


class SampleJob(StrictModel):
    """Pictures of a model; picture k is that of seed ``seed + k``. Without a seed one is chosen, and told."""

    kind: Literal["sample"] = "sample"
    model: ModelName
    n: Annotated[int, Field(ge=1, le=MOST_PICTURES)] = 1
    seed: Seed | None = None
    size: SizeText | None = Field(default=None, description="Pixels a side, or WIDTHxHEIGHT, not the model's own.")
    prompt: Text | None = Field(default=None, description="What a model obeys of caption, instruction, label.")
    condition: Conditions = Field(default_factory=dict, description="By field; /api/catalog lists the fields.")
    knobs: Knobs = Field(default_factory=dict)
    partials: Annotated[int, Field(ge=0, le=MOST_PARTIALS)] = Field(
        default=0, description="Unfinished pictures to show."
    )


class PaintJob(StrictModel):
    """Pictures of a layout, whose colours are those that a job of kind ``describe`` tells: ``zeuxis paint``."""

    kind: Literal["paint"] = "paint"
    model: ModelName
    layout: PictureRef
    style: PictureRef | None = None
    n: Annotated[int, Field(ge=1, le=MOST_PICTURES)] = 1
    seed: Seed = 0
    knobs: Knobs = Field(default_factory=dict)


class EditJob(StrictModel):
    """Pictures made of one, by a model that draws in steps: ``zeuxis edit``."""

    kind: Literal["edit"] = "edit"
    model: ModelName
    picture: PictureRef
    mask: PictureRef | None = Field(default=None, description="Light where it is to be made; the rest stays.")
    strength: Annotated[float, Field(gt=0, le=1)] | None = None
    n: Annotated[int, Field(ge=1, le=MOST_PICTURES)] = 1
    seed: Seed = 0
    condition: Conditions = Field(default_factory=dict, description="By field, without source and mask.")
    knobs: Knobs = Field(default_factory=dict)
    partials: Annotated[int, Field(ge=0, le=MOST_PARTIALS)] = 0


class ExampleJob(StrictModel):
    """One training example of a model's own data, by field: files of the result, to be drawn on."""

    kind: Literal["example"] = "example"
    model: ModelName
    seed: Seed = 0


class PrepareJob(StrictModel):
    """A picture made into what a model has learnt to be given: its edges, grey, small, as its data pairs them.

    The result's file 0000.png, to which ``{"job": ID}`` refers.
    """

    kind: Literal["prepare"] = "prepare"
    model: ModelName
    picture: PictureRef
    seed: Seed = 0


class LookJob(StrictModel):
    """A look at a picture: what seems wrong with it, and what would mend it; the result's ``facts``."""

    kind: Literal["look"] = "look"
    picture: PictureRef


TASKS = r"^(enlarge:[2-8]|denoise|deblur|jpeg|colorize|inpaint|panorama:[1-8](\.[0-9]{1,3})?)$"
Task = Annotated[str, StringConstraints(pattern=TASKS)]


class RestoreJob(StrictModel):
    """Photographs restored: ``zeuxis restore``."""

    kind: Literal["restore"] = "restore"
    pictures: Annotated[list[PictureRef], Field(min_length=1, max_length=MOST_PICTURES)]
    model: ModelName | None = None
    task: Task | None = None
    mask: PictureRef | None = Field(default=None, description="For inpaint: light where it is to paint.")
    knobs: Knobs = Field(default_factory=dict)
    tile: Annotated[int, Field(ge=8, le=4096)] | None = None
    fidelity: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None, description="At 1 what the damage left is kept as it is given."
    )
    seed: Seed | None = Field(default=None, description="Of a model that draws what it restores.")
    ensemble: bool = Field(default=False, description="The mean of eight orientations, eight times as slow.")


class TranslateJob(StrictModel):
    """Pictures into others, each at its own proportions: ``zeuxis translate``."""

    kind: Literal["translate"] = "translate"
    model: ModelName
    pictures: Annotated[list[PictureRef], Field(min_length=1, max_length=MOST_GIVEN)]
    seed: Seed = 0
    size: SizeText | Literal["own"] | None = None
    knobs: Knobs = Field(default_factory=dict)
    invert: bool = False


class EncodeJob(StrictModel):
    """A picture to codes and back: ``zeuxis encode`` and ``zeuxis decode``."""

    kind: Literal["encode"] = "encode"
    model: ModelName
    picture: PictureRef
    size: Annotated[int, Field(ge=4, le=1024)] | None = None


Seeds = Annotated[list[Seed], Field(max_length=MOST_GIVEN)]
Refs = Annotated[list[PictureRef], Field(max_length=MOST_GIVEN)]
Layers = Annotated[str, StringConstraints(pattern=r"^(coarse|middle|fine|[0-9]{1,2}(-[0-9]{1,2})?)$")]
Share = Annotated[float, Field(ge=0, le=1)]
Strength = Annotated[float, Field(ge=-MOST_STRENGTH, le=MOST_STRENGTH)]


class WalkJob(StrictModel):
    """Pictures on the way from one latent to the next: ``zeuxis walk``. The first picture is the sheet."""

    kind: Literal["walk"] = "walk"
    model: ModelName
    seeds: Seeds = Field(default_factory=list, description="It leads over these, and then over the pictures.")
    pictures: Refs = Field(default_factory=list, description="Of a model that encodes.")
    way: Literal["auto", "linear", "spherical"] = Field(
        default="auto", description="auto: spherical between normal latents, straight between style codes."
    )
    frames: Annotated[int, Field(ge=1, le=MOST_FRAMES)] = Field(default=8, description="From each to before the next.")
    loop: bool = Field(default=False, description="Go on from the last to the first.")
    milliseconds: Annotated[int, Field(ge=10, le=10_000)] = Field(default=80, description="That a frame stays.")
    format: Literal["webp", "gif", "mp4", "png"] = Field(default="webp", description="png: the sheet alone.")
    condition: Conditions = Field(default_factory=dict, description="Of the pictures of the seeds.")
    knobs: Knobs = Field(default_factory=dict)


class MixJob(StrictModel):
    """Every picture of the rows mixed with every one of the columns: ``zeuxis mix``."""

    kind: Literal["mix"] = "mix"
    model: ModelName
    rows: Seeds = Field(default_factory=list)
    columns: Seeds = Field(default_factory=list)
    row_pictures: Refs = Field(default_factory=list)
    column_pictures: Refs = Field(default_factory=list)
    layers: Layers | None = Field(default=None, description="Of style codes: those that are the columns'.")
    share: Share | None = Field(default=None, description="How far latents go from row to column.")
    condition: Conditions = Field(default_factory=dict, description="Of the seeds: the rows', then the columns'.")
    knobs: Knobs = Field(default_factory=dict)


class DirectionsJob(StrictModel):
    """Directions along which pictures change: ``zeuxis directions``. The first picture is the sheet."""

    kind: Literal["directions"] = "directions"
    model: ModelName
    by: Literal["sefa", "pca"] | None = Field(default=None, description="By default sefa where the model allows it.")
    count: Annotated[int, Field(ge=1, le=MOST_DIRECTIONS)] = 6
    layers: Layers | None = None
    samples: Annotated[int, Field(ge=2, le=MOST_SAMPLES)] = 1000
    seed: Seed = 0


class MoveJob(StrictModel):
    """Pictures moved along directions: ``zeuxis sample --direction``."""

    kind: Literal["move"] = "move"
    model: ModelName
    directions: Name = Field(description="A job of kind directions that is done.")
    strengths: Annotated[dict[Text, Strength], Field(min_length=1, max_length=MOST_DIRECTIONS)] = Field(
        description="By the direction's name, in standard deviations."
    )
    n: Annotated[int, Field(ge=1, le=MOST_GIVEN)] = 1
    seed: Seed = 0
    picture: PictureRef | None = Field(default=None, description="In place of those of the seeds.")
    condition: Conditions = Field(default_factory=dict)
    knobs: Knobs = Field(default_factory=dict)


class BreedJob(StrictModel):
    """A generation of pictures: a first one of a model, or children of an earlier job's: ``zeuxis breed``."""

    kind: Literal["breed"] = "breed"
    model: ModelName | None = Field(default=None, description="To begin with.")
    parents: Name | None = Field(default=None, description="A job of kind breed that is done, to go on from.")
    pick: Annotated[list[Annotated[int, Field(ge=0, lt=MOST_PICTURES)]], Field(max_length=MOST_PICTURES)] = Field(
        default_factory=list, description="The favourites among the parents, by number."
    )
    n: Annotated[int, Field(ge=2, le=MOST_PICTURES)] = 16
    mutation: Share = Field(default=0.3, description="How far a child goes towards a stranger.")
    seed: Seed | None = None
    condition: Conditions = Field(default_factory=dict)
    knobs: Knobs = Field(default_factory=dict)

    @model_validator(mode="after")
    def _begins_or_goes_on(self) -> BreedJob:
        if (self.model is None) == (self.parents is None):
            raise ValueError("give either a model to begin with, or the parents")
        if self.parents is not None and not self.pick:
            raise ValueError("pick favourites among the parents")
        if self.parents is not None and (self.condition or self.knobs):
            raise ValueError("children are as their parents were asked for: leave condition and knobs out")
        if self.model is not None and self.pick:
            raise ValueError("nobody is there to be picked: give the parents")
        return self


class ProjectJob(StrictModel):
    """The latent whose picture is nearest to one that is given: ``zeuxis project``."""

    kind: Literal["project"] = "project"
    model: ModelName
    picture: PictureRef
    steps: Annotated[int, Field(ge=1, le=MOST_STEPS)] = Field(default=MOST_STEPS, description="Of the optimisation.")
    each_layer: bool = Field(default=False, description="Of style codes: one for each layer, nearer to the picture.")
    features: Literal["pixels"] | None = Field(
        default=None, description="pixels: nothing beside them; by default the shipped judge of the model's data too."
    )
    seed: Seed = 0
    condition: Conditions = Field(default_factory=dict, description="What the picture shows, of a model that is told.")


LatentJob = WalkJob | MixJob | DirectionsJob | MoveJob | BreedJob | ProjectJob


class ReplayJob(StrictModel):
    """A picture drawn again from the record that its PNG carries: ``zeuxis sample --replay``."""

    kind: Literal["replay"] = "replay"
    picture: PictureRef
    condition: Conditions = Field(default_factory=dict, description="The pictures that it was made from.")


class DescribeJob(StrictModel):
    """A model loaded, so that it says what it obeys, exactly; the result's ``facts``."""

    kind: Literal["describe"] = "describe"
    model: ModelName


ShortName = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Change = bool | int | Annotated[float, Field(allow_inf_nan=False)] | ShortName
Changes = Annotated[
    dict[Annotated[str, StringConstraints(pattern=r"^[\w-]+(\.[\w-]+)*$", max_length=100)], Change],
    Field(max_length=MOST_CHANGES),
]


class TrainJob(StrictModel):
    """A recipe trained, or a run gone on with: ``zeuxis train``. Cancelled, it saves; resumed, it goes on."""

    kind: Literal["train"] = "train"
    recipe: ShortName | None = Field(default=None, description="A recipe by name; GET /api/recipes lists them.")
    run: ShortName | None = Field(default=None, description="A run to go on with, in place of a recipe.")
    data: ShortName | None = Field(
        default=None, description="A set or a world by name, in place of the recipe's; GET /api/data lists them."
    )
    dataset: Name | None = Field(default=None, description="What POST /api/datasets called it, in place of data.")
    size: Annotated[int, Field(ge=4, le=1024)] | None = Field(default=None, description="Pixels a side.")
    iterations: Annotated[int, Field(ge=1, le=MOST_ITERATIONS)] | None = None
    batch: Annotated[int, Field(ge=1, le=MOST_BATCH)] | None = None
    seed: Seed | None = None
    start: ModelName | None = Field(default=None, description="A model whose weights it starts from.")
    set: Changes = Field(default_factory=dict, description="Other values of the recipe, by dotted name.")
    name: ShortName | None = Field(default=None, description="Of the run; without one the next number is its name.")
    measure: bool = Field(default=False, description="Whether what the recipe claims is measured afterwards.")

    @model_validator(mode="after")
    def _one_of_them(self) -> TrainJob:
        if (self.recipe is None) == (self.run is None):
            raise ValueError("give either a recipe or a run")
        if self.data is not None and self.dataset is not None:
            raise ValueError("give either data or dataset")
        begins = {"data": self.data, "dataset": self.dataset, "size": self.size, "seed": self.seed, "start": self.start}
        given = [name for name, value in {**begins, "name": self.name}.items() if value is not None]
        if self.run is not None and given:
            raise ValueError(f"a run that is gone on with has its own {given[0]}: leave it out")
        return self


class EvaluateJob(StrictModel):
    """What the recipe of a run claims, measured of that run: ``zeuxis evaluate``."""

    kind: Literal["evaluate"] = "evaluate"
    run: ShortName


class DiagnoseJob(StrictModel):
    """The usual failures looked for in a run: ``zeuxis diagnose``; the result's ``facts`` are the findings in words."""

    kind: Literal["diagnose"] = "diagnose"
    run: ShortName
    samples: Annotated[int, Field(ge=50, le=2000)] = Field(default=200, description="Pictures that are drawn.")


TrainingJob = TrainJob | EvaluateJob | DiagnoseJob
JobRequest = (
    SampleJob
    | RestoreJob
    | TranslateJob
    | EncodeJob
    | ReplayJob
    | DescribeJob
    | PaintJob
    | EditJob
    | ExampleJob
    | PrepareJob
    | LookJob
    | LatentJob
    | TrainingJob
)
AnyJob = Annotated[JobRequest, Field(discriminator="kind")]
