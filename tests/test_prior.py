"""Priors over the codes of an autoencoder: systems of two systems, fitted once, kept, and models like any other."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from zeuxis.api import prior as module
from zeuxis.api.evaluate import default_metrics, evaluate
from zeuxis.api.model import Model, load
from zeuxis.api.prior import KINDS, Codes, codes_of, pictures
from zeuxis.api.replay import replay
from zeuxis.api.runs import train
from zeuxis.batch import Batch, Condition, Shape
from zeuxis.catalog.build import build
from zeuxis.catalog.weights import load_system
from zeuxis.cli import main
from zeuxis.data.cache import cache_dir
from zeuxis.data.library import open_source
from zeuxis.errors import DataError, UnknownName, Unsupported, UsageError, WeightsError
from zeuxis.files import file_hash
from zeuxis.game import System
from zeuxis.provenance.record import read_record
from zeuxis.recipe import Train, load_recipe
from zeuxis.rng import ImageRng, Stream
from zeuxis.spec import DataSpec
from zeuxis.systems.autoencoder.latent_prior import REACH, LatentPrior, code_width
from zeuxis.systems.density.pca import PCA

CPU = torch.device("cpu")
FLOOR = 1e-8


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Run folders of a small autoencoder, VAE and PCA of the digits."""
    small = ('data="digits"', "size=8", "train.batch=32", 'train.precision="float32"')
    nets = ("model.latent=6", "model.widths=[8]", "model.hidden=16")
    changes = {
        "autoencoder": (*small, *nets, "train.iterations=120"),
        "vae": (*small, *nets, "train.iterations=3"),
        "pca": (*small[:2], "model.components=6"),
    }
    root = tmp_path_factory.mktemp("runs")
    return {name: train(load_recipe(name, more), out=root / name).folder for name, more in changes.items()}


@pytest.fixture
def run(trained: dict[str, Path], tmp_path: Path) -> Path:
    """The autoencoder in a folder of the test's own, without priors."""
    return Path(shutil.copytree(trained["autoencoder"], tmp_path / "autoencoder"))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flow that a test can wait for."""
    recipe = Path(tmp_path / "quick-flow.toml")
    recipe.write_text(
        'system = "latent-prior"\nabout = "quick"\ndata = "digits"\n[model]\nautoencoder = "autoencoder"\n'
        '[model.density]\nsystem = "maf"\nflows = 2\nwidths = [32]\ndata_std = 0.125\nlevel = 0.0\n'
        "[train]\niterations = 5\nbatch = 256\nema = 0.99\n"
    )
    monkeypatch.setattr(module, "RECIPES", {**module.RECIPES, "flow": str(recipe)})


def of(model: Model) -> LatentPrior:
    assert isinstance(model.system, LatentPrior)
    return model.system


def drawn(prior: LatentPrior, n: int, temperature: float = 1.0) -> Tensor:
    """Codes ``(n, Z)`` from the density of ``prior``, as it is on standardised ones."""
    assert prior.density is not None
    z = prior.density.sample(Condition(), ImageRng.counting(0, n), {"temperature": temperature}).flatten(1)
    return prior.mean + prior.scale * z


class Vectors(System):
    """An autoencoder whose pictures are vectors already: its codes are chosen by a test."""

    card = PCA.card

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = Shape(*shape)

    def encode(self, image: Tensor) -> Tensor:
        return image.flatten(1)

    def decode(self, latent: Tensor) -> Tensor:
        return latent.unflatten(1, self.shape)


# -- what is drawn ------------------------------------------------------------------------------------


def test_the_normal_prior_is_the_vae_s_own(trained: dict[str, Path], tmp_path: Path) -> None:
    run = shutil.copytree(trained["vae"], tmp_path / "vae")
    how = {"seed": 3, "temperature": 0.7}
    own = load(run).sample(4, **how).tensor
    assert torch.equal(own, load(run).sample(4, **how, prior="normal").tensor)
    assert torch.equal(own, load(run / "priors" / "normal").sample(4, **how).tensor)


def test_the_gaussian_prior_has_the_codes_mean_and_covariance(run: Path) -> None:
    prior = of(load(run).with_prior("gaussian"))
    source = open_source("digits", 8)
    codes = codes_of(prior.autoencoder, pictures(source, 10_000, CPU)).double()
    assert codes.shape == (len(source), 6)
    scale = prior.density.factor() * prior.scale.double()[:, None]  # of z = mean + scale * (mu + L e)
    floor = FLOOR * prior.scale.double().square().diag()
    assert torch.allclose(prior.mean.double(), codes.mean(0), atol=1e-5)
    assert torch.allclose(scale @ scale.T, codes.T.cov(correction=0) + floor, rtol=1e-3, atol=1e-4)
    some, std = drawn(prior, 4000).double(), codes.std(0)
    assert ((some.mean(0) - codes.mean(0)) / std).abs().max() < 0.1
    assert (some.std(0) / std - 1).abs().max() < 0.1
    assert torch.allclose(drawn(prior, 3, 0.0).double(), codes.mean(0).expand(3, 6), atol=1e-4)
    picture = prior.sample(Condition(), ImageRng.counting(0, 3))
    assert torch.equal(picture, prior.autoencoder.decode(drawn(prior, 3)).clamp(-1, 1))


def two_heaps(n: int = 600) -> Tensor:
    """Codes ``(n, 2)`` around (-3, 3) and (3, -3)."""
    draws = Stream(4)
    side = (draws.uniform(n, 1) < 0.5).float() * 2 - 1
    return 0.3 * draws.normal(n, 2) + 3 * side * torch.tensor([1.0, -1.0])


def fitted_to(codes: Tensor, density: dict[str, object], rounds: int = 0) -> LatentPrior:
    spec = DataSpec(Shape(1, 1, codes.shape[1]))
    prior = build("latent-prior", spec, {"autoencoder": Vectors(spec.shape), "density": density})
    assert isinstance(prior, LatentPrior)
    if rounds:
        prior.measure(codes)
        config = Train(iterations=rounds, batch=256, ema=0.99)
        module.play(prior, Codes("heaps", prior.standardised(codes)), config, lambda message, fraction: None)
    else:
        prior.fit([Batch(part[:, None, None]) for part in codes.split(100)])
    return prior.requires_grad_(False)


@pytest.mark.parametrize("kind", ["mixture", "flow"])
def test_heaps_of_codes_are_found_by_the_mixture_and_the_flow(kind: str) -> None:
    codes = two_heaps()
    flow = {"system": "maf", "flows": 3, "widths": [32, 32], "data_std": 1 / REACH, "level": 0.0}
    mixture = load_recipe("latent-prior").model["density"]
    priors = {
        "gaussian": fitted_to(codes, {"system": "gaussian", "floor": FLOOR}),
        kind: fitted_to(codes, mixture) if kind == "mixture" else fitted_to(codes, flow, rounds=400),
    }
    explained, near = {}, {}
    for name, prior in priors.items():
        explained[name] = float(prior.density.log_prob(prior.standardised(codes), Stream(0)).mean())
        away = torch.cdist(drawn(prior, 200), torch.tensor([[-3.0, 3.0], [3.0, -3.0]])).min(1).values
        near[name] = float((away < 1.5).float().mean())
    assert explained[kind] > explained["gaussian"] + 0.5  # nats: two heaps are nothing like one
    assert near[kind] > near["gaussian"] + 0.1


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_is_the_same_in_any_company_and_names_its_prior(run: Path, kind: str) -> None:
    model = load(run).with_prior(kind)
    five = model.sample(5, seed=3, batch=2)
    alone = model.sample(1, seed=6)
    assert five.tensor.shape == (5, 1, 8, 8) and five.tensor.abs().max() <= 1
    assert (five.tensor[3] - alone.tensor[0]).abs().max() < 2e-3
    made = alone.records[0]
    assert {**five.records[3], "drawn": None} == {**made, "drawn": None}
    assert (made["model"], made["system"]) == (str(run / "priors" / kind), "latent-prior")
    assert made["weights_sha256"] == file_hash(run / "priors" / kind / "model.safetensors")


def test_codes_that_are_not_finite_are_refused() -> None:
    codes = two_heaps(8)
    codes[3, 1] = torch.nan
    with pytest.raises(WeightsError, match="not finite"):
        fitted_to(codes, {"system": "gaussian"})


# -- a system of two systems --------------------------------------------------------------------------


def test_a_prior_holds_the_autoencoder_by_name_and_the_density_whole(run: Path, tmp_path: Path) -> None:
    first = load(run).sample(3, prior="gaussian").tensor
    folder = run / "priors" / "gaussian"
    assert set(load_file(folder / "model.safetensors")) == {"mean", "scale", "density.mean", "density.packed"}
    config = json.loads((folder / "model.json").read_text())["config"]
    assert config["autoencoder"]["given"]["sha256"] == load(run).weights_sha256
    run.rename(tmp_path / "elsewhere")
    assert torch.equal(load(tmp_path / "elsewhere" / "priors" / "gaussian").sample(3).tensor, first)


def test_a_recipe_names_the_autoencoder_and_describes_the_density(run: Path, tmp_path: Path) -> None:
    small = ('data="digits"', "size=8", f'model.autoencoder="{run}"')
    closed = train(load_recipe("latent-prior", (*small, "model.density.components=2")), out=tmp_path / "closed")
    system, card = load_system(closed.folder)
    assert system.density.card.id == "mixture" and len(system.density.weights) == 2
    assert card["built_upon"]["autoencoder"]["sha256"] == load(run).weights_sha256
    widths = ("model.density.widths=[16]", "train.iterations=3", 'train.precision="bfloat16"')
    played = train(load_recipe("latent-prior-flow", (*small, *widths)), out=tmp_path / "played")
    system, _ = load_system(played.folder)
    codes = system.encode(next(pictures(open_source("digits", 8), 256, CPU)).image)
    inside = system.standardised(codes).flatten(1)
    assert (inside.std(0) * REACH - 1).abs().max() < 0.3 and inside.mean(0).abs().max() < 0.05
    assert load(played.folder).sample(2).tensor.shape == (2, 1, 8, 8)
    again, _ = load_system(run)
    assert all(torch.equal(a, b) for a, b in zip(system.autoencoder.parameters(), again.parameters(), strict=True))


def test_a_prior_that_starts_from_another_keeps_its_measure_of_codes(run: Path, tmp_path: Path) -> None:
    small = ('data="digits"', "size=8", f'model.autoencoder="{run}"', "model.density.widths=[16]", "train.ema=0")
    one = train(load_recipe("latent-prior-flow", (*small, "train.iterations=2")), out=tmp_path / "one").folder
    more = (*small, "train.iterations=1", "train.seed=7", "train.batch=16", f'train.start="{one}"')
    other = train(load_recipe("latent-prior-flow", more), out=tmp_path / "other").folder
    (before, _), (after, _) = load_system(one), load_system(other)
    assert torch.equal(before.scale, after.scale) and torch.equal(before.mean, after.mean)


def test_a_prior_over_a_prior_s_codes_comes_back(run: Path) -> None:
    model = load(run).with_prior("normal").with_prior("gaussian")
    assert isinstance(of(model).autoencoder, LatentPrior)
    again = load(run / "priors" / "normal" / "priors" / "gaussian")
    assert torch.equal(again.sample(2).tensor, load(run).sample(2, prior="gaussian").tensor)


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ("model.density=3", r"model\.density is a trained model"),
        ("model.density={components=3}", "describes a system without its name"),
        ("model.density.flows=3", "key of .model. for 'mixture'"),
        ('model.autoencoder="vqgan"', "not as a vector"),
        ("size=16", r"was trained on pictures of \(1, 8, 8\), not \(1, 16, 16\)"),
        ('model.autoencoder="autoencoder"', "train it .zeuxis train autoencoder."),
    ],
)
def test_what_a_prior_cannot_be_built_from_is_refused(
    run: Path, change: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run)  # where "autoencoder" is the name of a recipe alone
    recipe = load_recipe("latent-prior", ('data="digits"', "size=8", f'model.autoencoder="{run}"', change))
    with pytest.raises(UsageError, match=wrong):
        train(recipe, out=run.parent / "run")


def test_without_an_autoencoder_nothing_is_built() -> None:
    with pytest.raises(UsageError, match=r"give model\.autoencoder"):
        build("latent-prior", DataSpec(Shape(1, 8, 8)), {"density": {"system": "gaussian"}})
    pair = {"autoencoder": Vectors(Shape(1, 1, 2)), "density": build("gaussian", DataSpec(Shape(3, 1, 1)), {})}
    with pytest.raises(UsageError, match=r"is of \(3, 1, 1\), codes are \(2, 1, 1\)"):
        build("latent-prior", DataSpec(Shape(1, 1, 2)), pair)


# -- what is kept -------------------------------------------------------------------------------------


def test_a_prior_is_fitted_once_and_needs_no_data_after_that(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(run).sample(2, prior="gaussian").tensor
    monkeypatch.setattr(module, "open_source", lambda *args: pytest.fail("fitted again"))
    assert torch.equal(load(run).sample(2, prior="gaussian").tensor, first)
    assert torch.equal(load(run / "model").sample(2, prior="gaussian").tensor, first)
    assert torch.equal(load(run / "priors" / "gaussian").sample(2).tensor, first)


@pytest.mark.parametrize("change", ["weights", "plan", "damage", "data", "former"])
def test_a_prior_that_does_not_fit_any_more_is_fitted_again(
    run: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load(run).with_prior("gaussian")
    folder, data = run / "priors" / "gaussian", None
    card = folder / "model.json"
    if change == "weights":
        card.write_text(card.read_text().replace(load(run).weights_sha256, "0" * 64))
    elif change == "plan":
        monkeypatch.setattr(module, "CODES", 500)
    elif change == "damage":
        (folder / "model.safetensors").write_bytes(b"nothing")
    elif change == "data":
        data = str(pictures_of_digits(run.parent / "mine"))
    else:
        as_0_1_0(folder)
    fits = []
    monkeypatch.setattr(module, "_fit", lambda *args, work=module._fit: (fits.append(args), work(*args)))
    after = load(run).with_prior("gaussian", data)
    assert len(fits) == 1
    same = change in ("weights", "damage", "former")
    assert (after.weights_sha256 == before.weights_sha256) == same  # the same codes, the same prior
    assert after.card["data"] == (data or "digits")


def test_a_folder_whose_pictures_were_replaced_is_fitted_again(run: Path) -> None:
    mine = pictures_of_digits(run.parent / "mine")
    before = load(run).with_prior("gaussian", str(mine)).weights_sha256
    assert load(run).with_prior("gaussian", str(mine)).weights_sha256 == before
    for file in mine.iterdir():
        Image.new("L", (8, 8), 10 * int(file.stem)).save(file)
    assert load(run).with_prior("gaussian", str(mine)).weights_sha256 != before


def as_0_1_0(folder: Path) -> str:
    """Turn the prior in ``folder`` into what 0.1.0 kept there, the density alone; returns its hash."""
    tensors, card = load_file(folder / "model.safetensors"), json.loads((folder / "model.json").read_text())
    own = {k.removeprefix("density."): t for k, t in tensors.items() if k.startswith("density.")}
    save_file(own, folder / "model.safetensors")
    former = {"centre": tensors["mean"].tolist(), "spread": tensors["scale"].tolist(), "prior": card["prior"]}
    made = {"system": "gaussian", "config": card["config"]["density"]["config"], "data": card["data"], **former}
    hashed = file_hash(folder / "model.safetensors")
    (folder / "model.json").write_text(json.dumps({**made, "sha256": hashed}))
    return hashed


def pictures_of_digits(folder: Path) -> Path:
    folder.mkdir()
    for k, image in enumerate(Stream(2).uniform(12, 8, 8)):
        Image.fromarray((image * 255).byte().numpy()).save(folder / f"{k}.png")
    return folder


def test_priors_of_shipped_models_are_kept_in_the_cache() -> None:
    assert module._place("vqgan", "ab" * 32) == cache_dir() / "priors" / ("ab" * 8)


@pytest.mark.usefixtures("quick")
def test_the_same_codes_give_the_same_flow(run: Path) -> None:
    first = load(run).with_prior("flow").weights_sha256
    shutil.rmtree(run / "priors")
    assert load(run).with_prior("flow").weights_sha256 == first


def test_a_picture_is_drawn_again_with_its_prior(run: Path, tmp_path: Path) -> None:
    path = load(run).sample(2, seed=5, prior="mixture", temperature=0.8).save(tmp_path / "two")[1]
    again, differs = replay(read_record(path))
    again.save(tmp_path / "again.png")
    assert differs == [] and (tmp_path / "again.png").read_bytes() == path.read_bytes()


def test_records_of_0_1_0_name_the_autoencoder_and_its_prior(run: Path, tmp_path: Path) -> None:
    """Their hash is that of the density's own file."""
    now = load(run).sample(2, seed=5, prior="gaussian")
    made = {
        **now.records[1],
        "format": 1,
        "model": str(run),
        "system": "autoencoder",
        "weights_sha256": load(run).weights_sha256,
        "prior": {"kind": "gaussian", "sha256": as_0_1_0(run / "priors" / "gaussian"), "data": "digits"},
    }
    with pytest.raises(UsageError, match=r"is not kept here .* --prior gaussian --prior-data digits -n 1, then replay"):
        replay(made)  # what 0.1.0 kept is none of ours
    load(run).with_prior("gaussian", "digits")
    again, differs = replay(made)
    assert differs == [] and torch.allclose(again.tensor[0], now.tensor[1], atol=1e-5)
    normal = {**made, "prior": {"kind": "normal", "sha256": None, "data": None}}
    assert replay(normal)[1] == []
    assert replay({**made, "prior": {**made["prior"], "sha256": "0"}})[1] == [
        "the prior 'gaussian' over its codes is not the one that drew it"
    ]
    for wrong in ("mixture", {}, {"kind": 3, "data": None}):
        with pytest.raises(DataError, match="damaged"):
            replay({**made, "prior": wrong})


@pytest.mark.usefixtures("quick")
def test_a_fit_that_is_interrupted_keeps_nothing(run: Path) -> None:
    def stop(message: str, fraction: float | None) -> None:
        if fraction is not None:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        load(run).with_prior("flow", report=stop)
    assert not (run / "priors").exists()


# -- what is refused ----------------------------------------------------------------------------------


def test_what_has_no_vector_of_numbers_for_a_code_has_no_prior(run: Path) -> None:
    with pytest.raises(Unsupported, match="8x8 places of one of 256 values each, not as a vector"):
        load("vqgan").with_prior("mixture")
    with pytest.raises(Unsupported, match="'flow-matching' does not code pictures"):
        load("scenes").sample(1, caption="a circle", prior="mixture")
    with pytest.raises(UnknownName, match="did you mean mixture"):
        load(run).with_prior("mixtur")
    assert code_width(load(run).system) == 6

    class Steered(PCA):
        conditions = frozenset({"label"})

    with pytest.raises(Unsupported, match="conditioned on label"):
        code_width(Steered(Shape(1, 8, 8), components=4))


def test_an_autoencoder_without_a_prior_says_what_it_lacks(run: Path) -> None:
    with pytest.raises(Unsupported, match=r"cannot sample.*--prior normal\|gaussian\|mixture\|flow"):
        load(run).sample(1)
    with pytest.raises(Unsupported, match=r"cannot sample; it can: decode, encode$"):
        load("vqgan").sample(1)
    with pytest.raises(Unsupported, match="no knob 'steps'; it has: temperature"):
        load(run).sample(1, steps=3, prior="normal")


def test_data_that_has_gone_or_does_not_fit_is_refused(run: Path, tmp_path: Path) -> None:
    model = load(run)
    gone = Model(model.name, model.system, {**model.card, "data": str(tmp_path / "gone")})
    with pytest.raises(UsageError, match=r"need its data, .*gone'.*give --prior-data"):
        gone.with_prior("gaussian")
    assert "sample" in gone.with_prior("gaussian", "digits").verbs
    unnamed = Model(model.name, model.system, {k: v for k, v in model.card.items() if k != "data"})
    with pytest.raises(UsageError, match="does not say what data"):
        unnamed.with_prior("mixture")
    with pytest.raises(UsageError, match="give other --prior-data"):
        model.with_prior("gaussian", "scenes")


# -- commands -----------------------------------------------------------------------------------------


def test_the_command_line_draws_replays_and_measures(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def command(*args: object) -> tuple[int, str, str]:
        code = main([str(a) for a in args])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    code, out, err = command("sample", run, "--prior", "mixture", "-n", 3, "--out", "made", "--json")
    found = json.loads(out)
    assert code == 0 and "coding pictures of digits for a prior" in err
    assert [r["recipe"] for r in found["records"]] == ["latent-prior"] * 3
    code, out, err = command("sample", "--replay", "made/0001.png", "--json")
    assert code == 0 and json.loads(out)["identical"]
    code, out, _ = command("sample", run, "--prior", "gaussian", "--prior-data", "digits", "-n", 1, "--out", "a.png")
    assert code == 0 and read_record(Path("a.png"))["data"] == "digits"
    line = ("--metric", "frechet", "--samples", 64, "--features", "pixels-8", "--json")
    figures = {kind: command("evaluate", run, "--prior", kind, *line) for kind in ("normal", "mixture")}
    values = {kind: json.loads(out)[0]["value"] for kind, (_, out, _) in figures.items()}
    assert values["mixture"] < values["normal"]  # an autoencoder's codes lie anywhere
    for args, says in (
        (("sample", run, "--prior-data", "digits"), "for which prior?"),
        (("evaluate", run, "--prior", "gausian"), "did you mean gaussian"),
        (("sample", "vqgan", "--prior", "flow"), "a prior is for systems that do"),
    ):
        code, out, err = command(*args)
        assert (code, out) == (2, "") and says in err and err.count("\n") == 1


def test_a_prior_is_measured_like_any_model(trained: dict[str, Path], run: Path, tmp_path: Path) -> None:
    model = load(shutil.copytree(trained["pca"], tmp_path / "pca"))
    chosen = model.with_prior("normal")
    assert "bits-per-dim" in default_metrics(model) and "bits-per-dim" not in default_metrics(chosen)
    assert "frechet" in default_metrics(load(run).with_prior("normal"))
    with pytest.raises(Unsupported, match="needs a model with a likelihood"):
        evaluate(chosen, metrics=("bits-per-dim",), samples=8)
