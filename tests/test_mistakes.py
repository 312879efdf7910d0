"""What a user may get wrong, by hand: each command ends in one line that says what was wrong and the mend.

A line here is a command, its exit code, and words that its message must hold: of what was wrong, and of the mend. None
prints a result or a traceback, takes itself for a mistake in Zeuxis, or writes anything.
"""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zeuxis.cli import main

TINY = """
system = "dcgan"
about = "a game small enough for a test"
data = "digits"
size = 8
[model]
ngf = 4
ndf = 4
[train]
iterations = 3
batch = 4
"""
MISTAKES = [
    # -- commands and options
    ("trian", 2, "trian", "train"),
    ("train", 2, "RECIPE|RUN", "train --help"),
    ("train tiny.toml --lr 1e-4", 2, "--lr", "--set players.NAME.lr=2e-4"),
    ("train tiny.toml --epochs 3", 2, "--epochs", "--iterations"),
    ("train tiny.toml --resume", 2, "--resume", "zeuxis resume RUN"),
    ("train tiny.toml --batch-size 3", 2, "--batch-size", "--batch here"),
    ("train tiny.toml --gpu", 2, "--gpu", "--device cuda"),
    ("sample g --output x", 2, "--output", "--out here"),
    ("sample g --num 3", 2, "--num", "-n here"),
    ("sample g --cfg 3", 2, "--cfg", "--guidance"),
    ("evaluate g --spacing trailing", 2, "--spacing", "--knob spacing=VALUE"),
    ("sample g --prompt cat", 2, "--prompt", "--caption"),
    ("sample g --seeds 1,4", 2, "--seeds", "--seed N, with -n COUNT"),
    ("sample g --trunc 0.7", 2, "--trunc", "--knob truncation=0.7"),
    ("train tiny.toml --kimg 3", 2, "--kimg", "--iterations"),
    ("train tiny.toml --mirror", 2, "--mirror", "--augment flips here"),
    ("train tiny.toml --batch_size 3", 2, "--batch_size", "--batch here"),
    ("train tiny.toml --n_epochs 3", 2, "--n_epochs", "--iterations"),
    ("restore photo.png --scale 4", 2, "--scale is", "--task enlarge:4 here"),
    ("restore -i photo.png -o made.png", 2, "-i is", "the first argument"),
    ("restore photo.png --mask marks.png", 2, "--mask is", "--task inpaint:MASK here"),
    ("translate g photo.png --direction BtoA", 2, "--direction is", "with the sides exchanged, here"),
    ("list --jsn", 2, "--jsn", "--json"),
    ("list nothing", 2, "nothing", "list --help"),
    ("sample g --threads abc", 2, "--threads abc", "write --threads 2"),
    ("sample g --threads", 2, "lacks its value", "e.g. 2"),
    ("sample g --systems nowhere", 2, "nowhere", "neither a folder nor a .py file"),
    ("train wide.toml", 2, "no text in UTF-8", "save it as UTF-8"),
    ("train tiny.toml --batch 8 --set train.batch=4", 2, "train.batch is given twice", "give it once"),
    ("train tiny.toml --iterations 8 --set train.iterations=4", 2, "by --iterations and by --set", "give it once"),
    ("train tiny.toml --out ''", 2, "--out is empty", "name a file or a folder"),
    ("sample g -n 1 --out=", 2, "--out is empty", "--out ."),
    ("sample dice-plants -n 1 --size 64", 2, "alone: leave --size out", "zeuxis train dice-plants --size 64"),
    ("sample dice-plants -n 1 --size 64x48", 2, "96x96 alone", "leave --size out"),
    ("sample g -n 1 --out -", 2, "--out -", "name a file or a folder"),
    ("sample g -n 1 --out=-", 2, "not to standard output", "name a file or a folder"),
    ("train dcgan train.batch=8", 2, "unexpected argument train.batch=8", "--set train.batch=8"),
    ("train dcgan --data digits --set train.ema=0.9 train.batch=8", 2, "a setting", "--set train.batch=8"),
    ("sample g/model/model.safetensors", 2, "is a part of g/model", "give g/model"),
    ("sample t/checkpoints", 2, "is a part of t", "give t"),
    ("sample t/run.json", 2, "is a part of t", "give t"),
    ("train tiny.toml --from t/model/model.safetensors", 2, "is a part of t/model", "give t/model"),
    # -- devices
    ("train tiny.toml --device gpu", 2, "--device gpu", "give cpu"),
    ("train tiny.toml --device cpu:3", 2, "--device cpu:3", "give cpu"),
    ("train tiny.toml --device CUDA", 2, "--device CUDA", "give cpu"),
    ("train tiny.toml --device cuda:99", 2, "--device cuda:99", "cpu"),
    ("sample g --device gpu", 2, "--device gpu", "give cpu"),
    ("evaluate g --device gpu", 2, "--device gpu", "give cpu"),
    ("encode photo.png --with vqgan --device gpu", 2, "--device gpu", "give cpu"),
    ("reproduce gaussian --device gpu", 2, "--device gpu", "give cpu"),
    ("compare gaussian pca --device gpu", 2, "--device gpu", "give cpu"),
    ("sample g --precision half", 2, "unknown precision 'half'", "float32"),
    # -- values of a recipe
    ("train tiny.toml --set players.generator.lr=banana", 2, "lr is 'banana'", "such as 2e-4"),
    ("train tiny.toml --set players.generator.lr=-1", 2, "lr is -1", "0 or more"),
    ("train tiny.toml --set players.generator.lr=nan", 2, "lr is nan", "0 or more"),
    ("train tiny.toml --set players.generator.lr=inf", 2, "lr is inf", "0 or more"),
    ("train tiny.toml --set players.generator.lr=true", 2, "lr is True", "0 or more"),
    ("train tiny.toml --set players.generator.betas=[0.9]", 2, "betas is [0.9]", "two numbers"),
    ("train tiny.toml --set players.generator.betas=[0.9,1.0]", 2, "betas is [0.9, 1.0]", "below 1"),
    ("train tiny.toml --set players.generator.clip=-1", 2, "clip is -1", "above 0"),
    ("train tiny.toml --set players.generator.bound=0", 2, "bound is 0", "above 0"),
    ("train tiny.toml --set players.generator.bound=nan", 2, "bound is nan", "above 0"),
    ("sweep pixel-cnn --over steps=1", 2, "--over steps=1", "two values or more"),
    ("sweep pixel-cnn --over guidance=1,2", 2, "none of the knobs guidance", "it has"),
    ("train tiny.toml --set players.generator.warmup=1.5", 2, "warmup is 1.5", "whole number"),
    ("train tiny.toml --set players.generator.weight_decay=-1", 2, "weight_decay is -1", "0 or more"),
    ("train tiny.toml --set players.generator.optimiser=adma", 2, "unknown optimiser 'adma'", "adam"),
    ("train tiny.toml --set players.generator.optimiser=3", 2, "optimiser is 3", "such as adam"),
    ("train tiny.toml --set players.generator.decay=cosin", 2, "unknown decay 'cosin'", "cosine"),
    ("train tiny.toml --set players.genrator.lr=1e-4", 2, "genrator", "generator"),
    ("train tiny.toml --set players.generator.rate=1", 2, "'rate'", "lr"),
    ("train tiny.toml --set players.generator=3", 2, "players.generator is 3", "set one of its keys"),
    ("train tiny.toml --set lr=1e-4", 2, "'lr'", "players.NAME.lr"),
    ("train tiny.toml --set batch=8", 2, "'batch'", "it is train.batch"),
    ("train tiny.toml --set train.rounds=8", 2, "train.rounds", "train.iterations"),
    ("train tiny.toml --set trian.batch=3", 2, "'trian'", "train"),
    ("train tiny.toml --set train.bach=3", 2, "train.bach", "train.batch"),
    ("train tiny.toml --set data=2024-01-01", 2, "2024-01-01", "dataset"),
    ("train tiny.toml --set train=3", 2, "train is 3", "set one of its keys"),
    ("train tiny.toml --set train.batch.x=3", 2, "'train.batch.x'", "not a table"),
    ("train tiny.toml --set train.batch=abc", 2, "train.batch is 'abc'", "give a whole number"),
    ("train tiny.toml --set train.batch=0", 2, "train.batch is 0", "give 1 or more"),
    ("train tiny.toml --set train.ema=2", 2, "train.ema is 2", "less than 1"),
    ("train tiny.toml --set train.minutes=soon", 2, "train.minutes is 'soon'", "give a number"),
    ("train tiny.toml --set train.precision=half", 2, "train.precision is 'half'", "'bfloat16'"),
    ("train tiny.toml --set train.compile=maybe", 2, "train.compile is 'maybe'", "true or false"),
    ("train tiny.toml --set model=3", 2, "model is 3", "set one of its keys"),
    ("train tiny.toml --set model.nfg=3", 2, "'nfg'", "ngf"),
    ("train tiny.toml --set model.ngf=abc", 2, "model.ngf is 'abc'", "give a whole number"),
    ("train vae --data photos --set model.widths=8", 2, "model.widths is 8", "whole numbers, such as [8, 16]"),
    ("train vae --data photos --set model.widths=(8,16)", 2, "widths is '(8,16)'", "a list of whole numbers"),
    ("train vae --data photos --set model.widths=[8,1.5]", 2, "widths is [8, 1.5]", "a list of whole numbers"),
    ("train began --data photos --set model.betas=[0.5]", 2, "model.betas is [0.5]", "a list of 2 numbers"),
    ("train tiny.toml --set model.ngf=2.5", 2, "model.ngf is 2.5", "give a whole number"),
    ("train tiny.toml --set model.ngf=-1", 2, "model.ngf = -1", "cannot be built"),
    ("train tiny.toml --set model.ngf=0", 2, "model.ngf = 0", "above 0"),
    ("train tiny.toml --set model.norm_first=maybe", 2, "model.norm_first is 'maybe'", "true or false"),
    ("train tiny.toml --set model.lr=banana", 2, "model.lr is 'banana'", "give a number"),
    ("train tiny.toml --set size=abc", 2, "size is not pixels a side", "such as 32"),
    ("train tiny.toml --set size=2", 2, "size is 2", "from 4 to 4096"),
    ("train tiny.toml --set data=3", 2, "data is 3", "give a text"),
    ("train vae --data digits --size 8 --set model.latent=-3", 2, "model.latent = -3", "cannot be built"),
    (
        "train flow-matching --data digits --set model.network.width=abc",
        2,
        "model.network.width = 'abc'",
        "cannot be built",
    ),
    ("train flow-matching --data digits --set model.network=3", 2, "model.network is a table", "model.network.kind"),
    ("train flow-matching --data digits --set model.predicts=z", 2, "model.predicts is 'z'", "give 'velocity'"),
    ("train flow-matching --data digits --set model.condition=z", 2, "needs z", "a dataset that provides it"),
    ("train tiny.toml --set sample.steps=abc", 2, "'steps'", "temperature"),
    ("train tiny.toml --set sample.temperature=abc", 2, "temperature abc", "a number from 0"),
    ("train flow-matching --data digits --set sample.steps=abc", 2, "steps abc", "a whole number from 1"),
    ("train tiny.toml --set nonsense", 2, "'nonsense'", "a.b=value"),
    ("train typo.toml", 2, "'trian'", "train"),
    ("train torn.toml", 2, "torn.toml", "not valid TOML"),
    ("train bare.toml", 2, "has no system", "add it"),
    ("train tiny.toml --seed abc", 2, "--seed", "valid integer"),
    ("train tiny.toml --batch 0", 2, "--batch", "greater than or equal to 1"),
    ("train tiny.toml --batch 2147483648", 2, "train.batch is 2147483648", "give 1048576 or less"),
    ("train tiny.toml --iterations -3", 2, "--iterations", "greater than or equal to 1"),
    ("train tiny.toml --budget 0m", 2, "--budget 0m", "write 90s, 10m, 2h, 1h30m or 500i"),
    ("train tiny.toml --budget 1m --iterations 3", 2, "--budget 1m and --iterations 3", "give one"),
    # -- recipes, runs and data by name
    ("train vea", 2, "unknown recipe 'vea'", "vae"),
    ("train nowhere.toml", 2, "there is no recipe file nowhere.toml", "check the path"),
    ("train ./nowhere", 2, "there is no recipe file ./nowhere", "check the path"),
    ("train photos", 2, "photos holds no run", "--data photos"),
    ("train empty", 2, "empty holds no run", "--data empty"),
    ("train dcgan --data nowhere", 2, "no folder of that name", "zeuxis data lists them"),
    ("train dcgan --data ./nowhere", 2, "there is no folder ./nowhere", "check the path"),
    ("train dcgan --data ~/nowhere", 2, "there is no folder ~/nowhere", "check the path"),
    ("train dcgan --data nowhere/photos", 2, "there is no folder nowhere/photos", "check the path"),
    ("train dcgan --data dgits", 2, "dgits", "digits"),
    ("train dcgan --data photo.png", 2, "'photo.png' is a file", "a folder of pictures"),
    ("train dcgan --data photos.zip", 2, "'photos.zip' is an archive", "python -m zipfile -e photos.zip photos"),
    ("train dcgan --data empty", 1, "no pictures in", ".png"),
    ("train dcgan --data photos --size 33", 2, "33 x 33", "set size to one"),
    ("train stylegan2 --data photos --size 24x16", 2, "24 x 16", "set size to one"),
    ("train biggan --data photos --size 64", 2, "4 multiples are for squares of 32 pixels", "give 5 multiples"),
    ("train r3gan --data photos --size 48x32", 2, "images of 48 x 32", "squares alone are taken"),
    ("train stylegan2 --data photos --size 8 --set model.gamma=-1", 2, "gamma is -1", "give 0 or more"),
    ("train stylegan2 --data photos --size 8 --set model.mixing=2", 2, "mixing is 2", "a number from 0 to 1"),
    ("train stylegan2-ada --data photos --size 8 --set model.target=2", 2, "target is 2", "a number from -1 to 1"),
    ("train wgan-gp --data photos --size 8 --set model.critic_steps=0", 2, "critic_steps is 0", "give 1 or more"),
    ("train dcgan --data photos --size abc", 2, "--size abc", "32x24"),
    ("train dcgan --data photos --size 100000", 2, "--size 100000", "from 4 to 4096"),
    ("train dcgan --data photos --size 32 --fit circle", 2, "unknown fit 'circle'", "square"),
    ("train cvae --data photos --size 16", 2, "needs label", "a folder of classes"),
    ("train flow-matching --data photos --condition label", 2, "needs label", "a folder of classes"),
    ("train gaussian --data photos --preset paper", 2, "'gaussian' has no presets", "leave it out"),
    ("train tiny.toml --pair blurr", 2, "blurr", "blur"),
    ("train tiny.toml --from nowhere", 2, "no run folder of that name", "give a run folder"),
    ("train tiny.toml --from g", 1, "'g' cannot be started from", "a model of the same recipe"),
    ("train latent-diffusion --data digits --first-stage nowhere", 2, "unknown model 'nowhere'", "run folder"),
    ("train latent-diffusion --data digits --base nowhere", 2, "'base'", "first_stage"),
    ("train t --size 16 --iterations 6", 2, "size was 8 and is 16", "--fresh"),
    ("train t --set model.ngf=8 --iterations 6", 2, "model.ngf was 4 and is 8", "--fresh"),
    ("train t --data photos --iterations 6", 1, "are not those that the run in t", "--fresh"),
    ("train tiny.toml --out g", 2, "g cannot be gone on with", "--fresh"),
    # -- where to write
    ("train tiny.toml --out afile", 2, "afile is a file", "the name of a folder"),
    ("train tiny.toml --out afile/run", 2, "afile is a file", "give another place"),
    ("sample g --out afile", 2, "afile is a file", "give another name"),
    ("sample g --out afile/x", 2, "afile is a file", "give another place"),
    ("sample g --out x.jpg", 2, "x.jpg", "give x.png, or a folder"),
    ("sample g --out x.jpg -n 1", 2, "x.jpg", "give x.png, or a folder"),
    ("sample g --out x.webp -n 3", 2, "x.webp", "give x.png, or a folder"),
    ("encode photo.png --with vqgan --out afile", 2, "afile is a file", "give a folder"),
    ("encode photo.png --with vqgan --out afile/x", 2, "afile is a file", "give another place"),
    ("encode photo.png --with vqgan --out x.png", 2, "x.png is the name of a file", "ends in .safetensors"),
    ("decode x.codes.safetensors --out x.jpg", 2, "x.jpg is the name of a file", "ends in .png"),
    ("decode a.safetensors b.safetensors --out x.png", 2, "x.png is the name of a file", "a folder for 2 files"),
    ("compare gaussian pca --out afile", 2, "afile is a file", "give another name"),
    ("reproduce gaussian --out afile", 2, "afile is a file", "give another name"),
    ("demo --out afile", 2, "afile is a file", "give another name"),
    ("train tiny.toml --track wandbb", 2, "unknown tracker 'wandbb'", "did you mean wandb"),
    ("info t --animation t.gif", 2, "t.gif", "give t.webp"),
    ("info empty --animation g.webp", 2, "no previews", "a run that draws"),
    # -- sampling
    ("sample", 2, "say which model", "zeuxis sample scenes"),
    ("sample vae", 2, "no weights of 'vae' ship", "zeuxis train vae"),
    ("sample nothing", 2, "no run folder of that name", "run folder"),
    ("sample runs/99-dcgan", 2, "there is no run folder runs/99-dcgan", "check the path"),
    ("sample owner/nothing", 2, "there is no run folder owner/nothing", "zeuxis pull owner/nothing"),
    ("sample g --out photo.png -n 1", 2, "photo.png is there already", "give another name"),
    ("sample --replay g.png --out photo.png", 2, "was not made by Zeuxis", "give another name"),
    ("decode x.codes.safetensors --out photo.png", 2, "was not made by Zeuxis", "move it away"),
    ("encode photo.png --with vqgan --out g/model/model.safetensors", 2, "holds no codes", "give another name"),
    ("convert photo.png", 2, "photo.png is a picture", "give a .safetensors"),
    ("evaluate g --metric linear-probe-untrained", 2, "learnt in closed form", "measure another"),
    ("sample g --threads 0", 2, "--threads 0 is not a number", "write --threads 2"),
    ("sample g --threads 99999", 2, "from 1 to 999", "write --threads 2"),
    (f"sample g --threads {'1' * 50}", 2, "from 1 to 999", "write --threads 2"),
    ("sample hollow", 1, "it is a folder, not a file", "cannot read"),
    ("sample empty", 1, "holds no model yet", "train it first"),
    ("sample photo.png", 2, "is a picture, not a model", "a run folder"),
    ("sample photo.jpg", 2, "is a picture, not a model", "a run folder"),
    ("sample tiny.toml", 2, "is a recipe, not a model", "zeuxis train"),
    ("sample cvae --label Boot", 2, "unknown class 'Boot'", "Ankle boot"),
    ("sample cvae --label boots", 2, "unknown class 'boots'", "0 T-shirt/top, 1 Trouser"),
    ("sample cvae --label 99", 2, "label 99", "0 to 9"),
    ("sample cvae --label 3 --label 4 -n 3", 2, "2 values of label for 3 pictures", "one for each"),
    ("sample g --label 3", 2, "not conditioned on a label", "recipes that are"),
    ("sample g --size 16", 2, "8x8", "leave --size out"),
    ("sample g -n 0", 2, "-n", "greater than or equal to 1"),
    ("sample g -n 1000000", 2, "1000000", "1 to 100000"),
    ("sample g --seed -1", 2, "--seed", "greater than or equal to 0"),
    ("sample t --steps 3", 2, "no knob 'steps'", "temperature"),
    ("sample t --temperature abc", 2, "temperature abc", "a number from 0"),
    ("sample t --knob nothing", 2, "--knob nothing", "name=value"),
    ("sample g --prior nothing", 2, "unknown prior 'nothing'", "gaussian"),
    ("sample g --prior-data digits", 2, "for which prior", "--prior"),
    ("sample g --lora x", 2, "'g' is none", "omit them"),
    ("sample --replay photo.png", 2, "carries no record", "not made by Zeuxis"),
    ("sample --replay photo.jpg", 2, "is not a PNG", "only PNG"),
    ("sample --replay nowhere.png", 2, "nowhere.png", "there is no picture"),
    # -- codes, and what is known of things
    ("encode photos --with vqgan", 2, "photos is a folder", "photos/*"),
    ("encode nowhere.png --with vqgan", 2, "there is no picture nowhere.png", "no picture"),
    ("encode tiny.toml --with vqgan", 1, "it is no picture of a usual format", "PNG"),
    ("encode photo.png", 2, "--with", "encode --help"),
    ("encode photo.png --with g --size 30", 2, "--size 30", "leave it out"),
    ("encode photo.png --with vqgan --size 30", 2, "--size 30", "for instance 28"),
    ("encode photo.png photo.jpg --with vqgan", 2, "two of these files", "rename one"),
    ("encode photo.png --with t", 2, "does not code pictures", "vqgan"),
    ("decode nowhere.codes.safetensors", 2, "there is no file", "nowhere"),
    ("decode photo.png", 1, "photo.png", "encode the picture again"),
    ("info photo.jpg", 2, "photo.jpg", "only PNG files carry a record"),
    ("info photo.png", 2, "carries no record", "not made by Zeuxis"),
    ("info dcgna", 2, "dcgna", "dcgan"),
    ("info ./nowhere", 2, "there is no file or folder ./nowhere", "check the path"),
    ("info g --set a=b", 2, "'g' is none", "leave it out"),
    ("classify g photo.png", 2, "names no pictures", "a classifier"),
    ("average nowhere --length 0.1", 2, "there is no run folder nowhere", "zeuxis train"),
    ("average t --length 0.1", 2, "no snapshots", "train.posthoc=16"),
    ("convert nowhere.pt", 2, "there is no file nowhere.pt", ".safetensors"),
    ("data --check photo.png", 1, "is no folder", "give a folder"),
    ("data photos --check --split val -n 9", 2, "every split as it is", "leave them out"),
    ("data photos --check --out x.png", 2, "--out", "leave it out"),
    ("data --split train", 2, "--split: of which pictures?", "Name a dataset"),
    ("data --size 8 -n 4 --out x.png", 2, "--size and -n and --out", "Name a dataset"),
    ("sample --replay g.png -n 3 --temperature 0.5", 2, "-n and --temperature", "leave them out"),
    ("sample nowhere --replay g.png", 2, "unknown model 'nowhere'", "zeuxis sample FOLDER --replay"),
    ("info t --animation t.webp --set a=b", 2, "--set", "leave it out"),
    ("data ./nowhere", 2, "there is no folder ./nowhere", "check the path"),
    ("convert https://a.b/net.pkl", 2, "https://a.b/net.pkl is an address", "give its path"),
    # -- measuring
    ("evaluate nothing", 2, "unknown model 'nothing'", "run folder"),
    ("evaluate g --samples 1", 2, "--samples", "greater than or equal to 2"),
    ("evaluate g --metric frechett", 2, "frechett", "frechet"),
    ("evaluate g --features nothing", 2, "unknown model 'nothing'", "run folder"),
    ("evaluate g --data photos", 2, "'photos' holds (3, 8, 8)", "other --data"),
    ("evaluate gp --metric frechet --features features-digits", 2, "1 channels", "--features pixels-8"),
    ("evaluate gp --metric two-sample", 2, "too few for two-sample", "another --metric"),
    ("evaluate gp --metric accuracy", 2, "no shipped model judges 'photos'", "measure another"),
    ("evaluate gp --metric perplexity", 2, "'photos' has none", "other --data"),
    ("evaluate t --metric psnr", 2, "'t' does not", "it can"),
    ("evaluate t --metric bits-per-dim", 2, "'t' has none", "it can"),
    ("evaluate g --knob stesp=2", 2, "no knob 'stesp'", "it has"),
    ("compare gaussian", 2, "two different recipes", "zeuxis compare"),
    ("compare t gaussian", 2, "t is a run, which was trained by a recipe", "zeuxis evaluate t"),
    ("compare gaussian nothing", 2, "unknown recipe 'nothing'", ".toml"),
    ("compare gaussian pca --budget soon", 2, "--budget soon", "write 90s"),
    ("reproduce tiny.toml", 2, "makes no claim", "[claim]"),
    ("reproduce gaussian --seeds 1,a", 2, "1,a", "write 0,1,2"),
    ("test-system nothing", 2, "unknown system 'nothing'", "--systems FOLDER"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with pictures, recipes and tiny trained models, made once."""
    folder, before, cache = tmp_path_factory.mktemp("user"), Path.cwd(), os.environ.get("ZEUXIS_CACHE")
    os.environ["ZEUXIS_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.chdir(folder)
    try:
        Path("tiny.toml").write_text(TINY)
        Path("typo.toml").write_text(TINY.replace("[train]", "[trian]"))
        Path("torn.toml").write_text(TINY.replace('"digits"', '"digits'))
        Path("wide.toml").write_text(TINY, encoding="utf-16")
        Path("bare.toml").write_text(TINY.replace('system = "dcgan"', ""))
        Path("afile").write_text("not a folder")
        Path("empty").mkdir()
        Path("photos.zip").write_bytes(b"PK")
        Path("photos").mkdir()
        draw = np.random.default_rng(0)
        for k in range(31):
            Image.fromarray(draw.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(f"photos/{k:02d}.png")
        for name in ("photo.png", "photo.jpg"):
            Image.fromarray(draw.integers(0, 255, (40, 30, 3), dtype=np.uint8)).save(name)
        for line in (
            "gaussian --data digits --size 8 --out g",
            "gaussian --data photos --size 8 --out gp",
            "tiny.toml --out t",
        ):
            assert main(["train", *line.split(), "--track", "none"]) == 0
        assert main(["sample", "g", "-n", "1", "--out", "g.png"]) == 0
        shutil.copytree("g", "hollow")
        Path("hollow/model/model.safetensors").unlink()
        Path("hollow/model/model.safetensors").mkdir()
        yield folder
    finally:
        os.chdir(before)
        if cache is None:
            del os.environ["ZEUXIS_CACHE"]
        else:
            os.environ["ZEUXIS_CACHE"] = cache


@pytest.mark.parametrize(("line", "code", "what", "mend"), MISTAKES, ids=[line for line, *_ in MISTAKES])
def test_a_mistake_is_one_line_with_its_mend(place, capsys, line, code, what, mend):
    before = sorted(place.rglob("*"))
    done = main(shlex.split(line))
    out, err = capsys.readouterr()
    *rest, last = err.splitlines()
    assert last.startswith("zeuxis: ") and not any(other.startswith("zeuxis: ") for other in rest)
    assert what in last and mend in last
    assert (done, out) == (code, "")
    assert "Traceback" not in err and "a mistake in Zeuxis" not in err
    assert not rest or all(other.startswith("note: ") for other in rest), "it was found out before anything was done"
    assert sorted(place.rglob("*")) == before, "it wrote something"


def test_there_are_about_as_many_as_people_make():
    assert len(MISTAKES) >= 150 and len({line for line, *_ in MISTAKES}) == len(MISTAKES)
