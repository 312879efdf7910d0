"""Priors over the codes of an autoencoder: fitted once, kept, drawn from, and told of in the picture's record."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest
import torch
from PIL import Image

from zeuxis.api import prior as module
from zeuxis.api.evaluate import default_metrics, evaluate
from zeuxis.api.latents import Codes, code_width, codes_of
from zeuxis.api.model import Model, load, replay
from zeuxis.api.prior import FLOOR, PLANS, REACH, Fitted, Plan
from zeuxis.api.runs import train
from zeuxis.batch import Shape
from zeuxis.cli import main
from zeuxis.data.cache import cache_dir
from zeuxis.errors import DataError, UnknownName, Unsupported, UsageError
from zeuxis.knobs import Sampling
from zeuxis.provenance.record import read_record
from zeuxis.recipe import load_recipe
from zeuxis.rng import ImageRng, Stream
from zeuxis.systems.density.pca import PCA

CPU = torch.device("cpu")


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
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zeuxis.training.log.find_spec", lambda name: None)  # importing TensorBoard takes seconds
        return {name: train(load_recipe(name, more), out=root / name).folder for name, more in changes.items()}


@pytest.fixture
def run(trained: dict[str, Path], tmp_path: Path) -> Path:
    """The autoencoder in a folder of the test's own, without priors."""
    return Path(shutil.copytree(trained["autoencoder"], tmp_path / "autoencoder"))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("zeuxis.training.log.find_spec", lambda name: None)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flow that a test can wait for."""
    plan = Plan("maf", {"flows": 2, "widths": [32], "data_std": 1 / REACH, "level": 0.0}, rounds=5)
    monkeypatch.setitem(PLANS, "flow", plan)


def fitted(model: Model) -> Fitted:
    assert isinstance(model.prior, Fitted)
    return model.prior


# -- what is drawn ------------------------------------------------------------------------------------


def test_the_normal_prior_is_the_vae_s_own(trained: dict[str, Path]) -> None:
    model = load(trained["vae"])
    how = {"seed": 3, "temperature": 0.7}
    assert torch.equal(model.sample(4, **how).tensor, model.sample(4, **how, prior="normal").tensor)
    assert not (trained["vae"] / "priors").exists()


def test_the_gaussian_prior_has_the_codes_mean_and_covariance(run: Path) -> None:
    model = load(run).with_prior("gaussian")
    prior = fitted(model)
    source = module.open_source("digits", 8)
    codes = codes_of(model.system, source, 10_000).double()
    assert codes.shape == (len(source), 6)
    scale = prior.density.factor() * prior.spread.double()[:, None]  # of z = centre + spread * (mu + L e)
    floor = FLOOR * prior.spread.double().square().diag()
    assert torch.allclose(prior.centre.double(), codes.mean(0), atol=1e-5)
    assert torch.allclose(scale @ scale.T, codes.T.cov(correction=0) + floor, rtol=1e-3, atol=1e-4)
    drawn = prior.draw(ImageRng.counting(0, 4000), Sampling(), CPU).double()
    spread = codes.std(0)
    assert ((drawn.mean(0) - codes.mean(0)) / spread).abs().max() < 0.1
    assert (drawn.std(0) / spread - 1).abs().max() < 0.1
    cold = prior.draw(ImageRng.counting(0, 3), Sampling(temperature=0.0), CPU)
    assert torch.allclose(cold.double(), codes.mean(0).expand(3, 6), atol=1e-4)


def two_heaps(n: int = 600) -> torch.Tensor:
    """Codes ``(n, 2)`` around (-3, 3) and (3, -3)."""
    draws = Stream(4)
    side = (draws.uniform(n, 1) < 0.5).float() * 2 - 1
    return 0.3 * draws.normal(n, 2) + 3 * side * torch.tensor([1.0, -1.0])


@pytest.mark.parametrize("kind", ["mixture", "flow"])
def test_heaps_of_codes_are_found_by_the_mixture_and_the_flow(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = {
        "mixture": PLANS["mixture"],
        "flow": Plan("maf", {"flows": 3, "widths": [32, 32], "data_std": 1 / REACH, "level": 0.0}, rounds=400),
    }[kind]
    codes = two_heaps()
    monkeypatch.setattr(module, "codes_of", lambda system, source, n: codes)
    explained, near = {}, {}
    for name, how in (("gaussian", PLANS["gaussian"]), (kind, plan)):
        module._fit(None, Codes("heaps", codes), how, tmp_path / name, {}, lambda message, fraction: None)
        density, card = module.load_system(tmp_path / name)
        prior = Fitted(name, 2, density, torch.tensor(card["centre"]), torch.tensor(card["spread"]), "", "")
        z = (codes - prior.centre) / prior.spread
        explained[name] = float(density.log_prob(z[:, :, None, None], Stream(0)).mean())
        drawn = prior.draw(ImageRng.counting(0, 200), Sampling(), CPU)
        away = torch.cdist(drawn, torch.tensor([[-3.0, 3.0], [3.0, -3.0]])).min(1).values
        near[name] = float((away < 1.5).float().mean())
    assert explained[kind] > explained["gaussian"] + 0.5  # nats: two heaps are nothing like one
    assert near[kind] > near["gaussian"] + 0.1


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kind", ["normal", *PLANS])
def test_a_picture_is_the_same_in_any_company_and_tells_its_prior(run: Path, kind: str) -> None:
    model = load(run).with_prior(kind)
    five = model.sample(5, seed=3, batch=2)
    alone = model.sample(1, seed=6)
    assert five.tensor.shape == (5, 1, 8, 8) and five.tensor.abs().max() <= 1
    assert (five.tensor[3] - alone.tensor[0]).abs().max() < 2e-3
    assert five.records[3] == alone.records[0]
    said = alone.records[0]["prior"]
    assert said["kind"] == kind and (said["sha256"] is None) == (kind == "normal")
    assert "prior" not in load(run).record(0, load(run).condition(1), Sampling())


# -- what is kept -------------------------------------------------------------------------------------


def test_a_prior_is_fitted_once_and_needs_no_data_after_that(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(run).sample(2, prior="gaussian").tensor
    card = json.loads((run / "priors" / "gaussian" / "model.json").read_text())
    assert (card["prior_of"], card["data"]) == (load(run).weights_sha256, "digits")
    with monkeypatch.context() as patch:
        patch.setattr(module, "open_source", lambda *args: pytest.fail("fitted again"))
        assert torch.equal(load(run).sample(2, prior="gaussian").tensor, first)
        assert torch.equal(load(run / "model").sample(2, prior="gaussian").tensor, first)


@pytest.mark.parametrize("change", ["weights", "plan", "damage", "data"])
def test_a_prior_that_does_not_fit_any_more_is_fitted_again(
    run: Path, trained: dict[str, Path], change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fitted(load(run).with_prior("gaussian"))
    folder, data = run / "priors" / "gaussian", None
    card = folder / "model.json"
    if change == "weights":
        card.write_text(card.read_text().replace(load(run).weights_sha256, "0" * 64))
    elif change == "plan":
        monkeypatch.setitem(PLANS, "gaussian", Plan("gaussian", {"floor": 1e-3}))
    elif change == "damage":
        (folder / "model.safetensors").write_bytes(b"nothing")
    else:
        data = str(pictures_of_digits(run.parent / "mine"))
    fits = []
    monkeypatch.setattr(module, "_fit", lambda *args, work=module._fit: (fits.append(args), work(*args)))
    after = fitted(load(run).with_prior("gaussian", data))
    assert len(fits) == 1
    assert (after.sha256 == before.sha256) == (change in ("weights", "damage"))  # the same codes, the same prior
    assert after.data == (data or "digits")


def pictures_of_digits(folder: Path) -> Path:
    folder.mkdir()
    for k, image in enumerate(Stream(2).uniform(12, 8, 8)):
        Image.fromarray((image * 255).byte().numpy()).save(folder / f"{k}.png")
    return folder


def test_priors_of_shipped_models_are_kept_in_the_cache() -> None:
    assert module._place("vqgan", "ab" * 32) == cache_dir() / "priors" / ("ab" * 8)


@pytest.mark.usefixtures("quick")
def test_the_same_codes_give_the_same_flow(run: Path) -> None:
    first = fitted(load(run).with_prior("flow")).sha256
    shutil.rmtree(run / "priors")
    assert fitted(load(run).with_prior("flow")).sha256 == first


def test_a_picture_is_drawn_again_with_its_prior(run: Path, tmp_path: Path) -> None:
    path = load(run).sample(2, seed=5, prior="mixture", temperature=0.8).save(tmp_path / "two")[1]
    made = read_record(path)
    for _ in range(2):
        again, differs = replay(made)
        again.save(tmp_path / "again.png")
        assert differs == [] and (tmp_path / "again.png").read_bytes() == path.read_bytes()
        shutil.rmtree(run / "priors")  # the second time it is fitted again
    assert replay({**made, "prior": {**made["prior"], "sha256": "0"}})[1] == [
        "the prior 'mixture' over its codes is not the one that drew it"
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

    with pytest.raises(Unsupported, match="steered by label"):
        code_width(Steered(Shape(1, 8, 8), components=4))


def test_an_autoencoder_without_a_prior_says_what_it_lacks(run: Path) -> None:
    with pytest.raises(Unsupported, match=r"cannot sample.*--prior normal\|gaussian\|mixture\|flow"):
        load(run).sample(1)
    with pytest.raises(Unsupported, match=r"cannot sample; it can: decode, encode$"):
        load("vqgan").sample(1)
    with pytest.raises(Unsupported, match="no knob 'steps'; it has: temperature"):
        load(run).sample(1, steps=3, prior="normal")


def test_data_that_has_gone_or_does_not_fit_is_said(run: Path, tmp_path: Path) -> None:
    model = load(run)
    gone = Model(model.name, model.system, {**model.card, "data": str(tmp_path / "gone")})
    with pytest.raises(UsageError, match=r"need its data, .*gone'.*give --prior-data"):
        gone.with_prior("gaussian")
    assert gone.with_prior("gaussian", "digits").prior is not None
    untold = Model(model.name, model.system, {k: v for k, v in model.card.items() if k != "data"})
    with pytest.raises(UsageError, match="does not say what data"):
        untold.with_prior("mixture")
    with pytest.raises(UsageError, match="give other --prior-data"):
        model.with_prior("gaussian", "scenes")


# -- commands -----------------------------------------------------------------------------------------


def test_the_command_line_draws_replays_and_measures(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def command(*args: object) -> tuple[int, str, str]:
        code = main([str(a) for a in args])
        said = capsys.readouterr()
        return code, said.out, said.err

    code, out, err = command("sample", run, "--prior", "mixture", "-n", 3, "--out", "made", "--json")
    found = json.loads(out)
    assert code == 0 and "fitting a prior to 1439 codes: mixture" in err
    assert [r["prior"]["kind"] for r in found["records"]] == ["mixture"] * 3
    code, out, err = command("sample", "--replay", "made/0001.png", "--json")
    assert code == 0 and json.loads(out)["identical"]
    code, out, _ = command("sample", run, "--prior", "gaussian", "--prior-data", "digits", "-n", 1, "--out", "a.png")
    assert code == 0 and read_record(Path("a.png"))["prior"]["data"] == "digits"
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


def test_a_prior_is_measured_by_its_pictures_alone(trained: dict[str, Path]) -> None:
    model = load(trained["pca"])
    chosen = model.with_prior("normal")
    assert "bits-per-dim" in default_metrics(model) and "bits-per-dim" not in default_metrics(chosen)
    assert "frechet" in default_metrics(load(trained["autoencoder"]).with_prior("normal"))
    with pytest.raises(Unsupported, match="under its own prior"):
        evaluate(chosen, metrics=("bits-per-dim",), samples=8)
