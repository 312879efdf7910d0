"""Trainings as jobs: in a lane of their own, stopped and gone on with bit for bit, and nothing named that is a path."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from serving import Served, png

from zeuxis.api.functions import train
from zeuxis.studio.queue import JobQueue
from zeuxis.studio.supervisor import Supervisor
from zeuxis.studio.training_tasks import time_left
from zeuxis.training.run_lock import run_lock

TINY: dict[str, Any] = {"kind": "train", "recipe": "gan-ring", "iterations": 6, "batch": 8}
CHANGES = {"train.ema": 0.5, "players.generator.lr": 0.01}


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return Served(tmp_path / "runs")


def weights(run: Path) -> dict[str, Any]:
    return load_file(run / "model" / "model.safetensors")


def test_a_training_is_what_the_command_trains(served: Served, tmp_path: Path) -> None:
    job = served.done(**TINY, seed=3, set=CHANGES)
    assert job["state"] == "done" and job["lane"] == "training", job["error"]
    facts, command = job["result"]["facts"], job["result"]["command"]
    assert facts["run"] == "00000-gan-ring-ring" and facts["iterations"] == 6
    assert "--iterations 6 --batch 8 --seed 3" in command and "--set players.generator.lr=0.01" in command
    assert served.file(job).is_file() and job["message"].startswith("iteration ")
    train("gan-ring", iterations=6, batch=8, seed=3, settings=CHANGES, out=tmp_path / "own", quiet=True)
    made, own = weights(served.runs / facts["run"]), weights(tmp_path / "own")
    assert made.keys() == own.keys() and all(made[name].equal(own[name]) for name in own)
    assert served.submit(**TINY)["request"]["folder"] == "00001-gan-ring-ring"
    model = served.client.get(f"/api/models/{facts['run']}").json()
    assert model["origin"] == "run" and model["system"] == "gan"


def test_one_that_is_stopped_is_saved_and_goes_on_to_the_same_weights(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = served.submit(**TINY, name="mine")["id"]
    tell = JobQueue.tell

    def cancel(self: JobQueue, names: list[str], fraction: float, message: str) -> None:
        tell(self, names, fraction, message)
        if message == "starting":
            served.client.post(f"/api/jobs/{name}/cancel")

    with monkeypatch.context() as patch:
        patch.setattr(JobQueue, "tell", cancel)
        assert served.trainings.work()
    assert served.client.get(f"/api/jobs/{name}").json()["state"] == "cancelled"
    run = served.client.get("/api/runs/mine").json()
    assert 0 < run["done"] < 6 and not run["finished"] and any((served.runs / "mine" / "checkpoints").iterdir())
    assert served.client.post(f"/api/jobs/{name}/resume").json()["state"] == "queued"
    assert served.client.post(f"/api/jobs/{name}/resume").status_code == 400
    assert served.trainings.work()
    job = served.client.get(f"/api/jobs/{name}").json()
    assert job["state"] == "done" and served.client.get("/api/runs/mine").json()["finished"]
    train("gan-ring", iterations=6, batch=8, out=tmp_path / "own", quiet=True)
    made, own = weights(served.runs / "mine"), weights(tmp_path / "own")
    assert all(made[key].equal(own[key]) for key in own)
    longer = served.done(kind="train", run="mine", iterations=9)
    assert longer["result"]["facts"] == {**longer["result"]["facts"], "run": "mine", "iterations": 9}


def test_a_model_that_a_recipe_builds_upon_is_looked_up_by_name(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    upon = {"kind": "train", "recipe": "latent-prior", "iterations": 1, "data": "digits", "batch": 4}
    for value, said in (("here", "unknown model"), ("perlin", "no weights")):
        found = served.done(**upon, set={"model.autoencoder": value})
        assert found["state"] == "failed" and said in found["error"]
    found = served.done(**TINY, set={"players.generator.optimiser": "here"})
    assert found["state"] == "failed" and "paths are not taken" in found["error"]


def test_a_training_may_be_of_a_part_of_the_pictures(served: Served) -> None:
    names = [key["name"] for key in served.client.get("/api/recipes/gan-ring/keys").json()]
    assert {"fit", "subset"} <= set(names) and "augment" not in names, "lists are for the command line"
    assert served.submit(**TINY, set={"subset": 40})["state"] == "queued"


def test_a_drawing_does_not_wait_for_a_training(served: Served) -> None:
    training = served.submit(**TINY)
    drawing = served.submit(kind="sample", model="perlin")
    assert drawing["ahead"] == 0 and served.submit(**TINY)["ahead"] == 1
    assert served.worker.work() and not served.worker.work()
    states = [served.client.get(f"/api/jobs/{job['id']}").json()["state"] for job in (training, drawing)]
    assert states == ["queued", "done"]
    assert [job["id"] for job in served.client.get("/api/jobs?kind=train").json()][-1] == training["id"]
    assert served.client.post(f"/api/jobs/{drawing['id']}/resume").status_code == 400


def test_what_cannot_be_trained_is_refused_with_words_before_it_waits(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEUXIS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ZEUXIS_DATA", raising=False)
    (served.runs / "taken").mkdir()
    for more, said in (
        ({"recipe": "gan-rign"}, "gan-ring"),
        ({"recipe": "../recipes/gan-ring"}, "unknown recipe"),
        ({"recipe": str(served.runs / "taken")}, "unknown recipe"),
        ({"data": "/etc"}, "unknown data"),
        ({"data": "ring | noise:0.1"}, "unknown data"),
        ({"data": "fashion-mnist"}, "zeuxis data fashion-mnist gets it"),
        ({"recipe": "pix2pix", "data": "maps"}, "zeuxis data maps --fetch gets it"),
        ({"data": "ring", "dataset": "0" * 16}, "either"),
        ({"dataset": "0" * 16}, "no data set"),
        ({"start": "../../x"}, "unknown model"),
        ({"start": "perlin"}, "no weights"),
        ({"name": "../x"}, "a name"),
        ({"name": "studio"}, "choose another"),
        ({"name": "taken"}, "choose another"),
        ({"run": "taken", "recipe": None}, "unknown run"),
        ({"run": "taken"}, "either"),
        ({"set": {"train.start": "x"}}, "give it as start"),
        ({"set": {"train.iterations": 5}}, "give it as iterations"),
        ({"set": {"data": "/etc"}}, "what can be replaced"),
        ({"set": {"subset": 0}}, "give 1 or more"),
        ({"set": {"model.latent": "/etc/passwd"}}, "a name of letters"),
        ({"set": {"model.latent": ".."}}, "a name of letters"),
        ({"set": {"model.latnet": 3}}, "unknown key of [model]"),
        ({"set": {"train.emma": 0.9}}, "train.ema"),
        ({"set": {"train.ema": 2}}, "train.ema"),
        ({"set": {"train.ema.x": 1}}, "train.ema"),
        ({"set": {f"train.k{k}": 1 for k in range(21)}}, "20"),
        ({"measure": True}, "claims no figure"),
        ({"iterations": 0}, "iterations"),
        ({"batch": 10**9}, "batch"),
    ):
        answer = served.client.post("/api/jobs", json={**TINY, **more})
        assert answer.status_code in (400, 404, 422) and said in answer.json()["error"]["message"], (more, answer.text)
    for body in ({"kind": "evaluate", "run": "none"}, {"kind": "diagnose", "run": "../x"}):
        assert served.client.post("/api/jobs", json=body).status_code == 404
    assert served.service.queue.counts() == {}


def test_a_training_that_fails_says_why_and_may_be_tried_again(served: Served) -> None:
    name = served.submit(**TINY, name="one")["id"]
    (served.runs / "one").mkdir()
    with run_lock(served.runs / "one"):
        served.trainings.work()
    job = served.client.get(f"/api/jobs/{name}").json()
    assert job["state"] == "failed" and "is being trained by" in job["error"]
    served.client.post(f"/api/jobs/{name}/resume")
    served.trainings.work()
    assert served.client.get(f"/api/jobs/{name}").json()["state"] == "done"


def test_a_training_on_pictures_that_were_given(served: Served) -> None:
    client = served.client
    made = client.post("/api/datasets", json={"title": "my shapes"}).json()
    url = f"/api/datasets/{made['name']}/pictures"
    empty = client.post("/api/jobs", json={**TINY, "dataset": made["name"]})
    assert empty.status_code == 400 and "no pictures" in empty.json()["error"]["message"]
    for label, mode in (("light", "L"), ("dark", "RGB")):
        files = [("pictures", (f"../{k}.png", png(8 + k, 9, mode))) for k in range(12)]
        answer = client.post(url, files=[*files, ("pictures", ("x.txt", b"text"))], data={"label": label})
        assert answer.status_code == 201 and list(answer.json()["refused"]) == ["12"], answer.text
    found = client.get(f"/api/datasets/{made['name']}").json()
    assert found["pictures"] == 24 and found["labels"] == {"dark": 12, "light": 12} and found["bytes"] > 0
    job = served.done(
        kind="train",
        recipe="vae",
        dataset=made["name"],
        size=8,
        iterations=2,
        batch=4,
        set={"train.precision": "float32"},
    )
    assert job["state"] == "done", job["error"]
    assert job["result"]["facts"]["run"] == "00000-vae-my-shapes"
    assert client.get("/api/runs/00000-vae-my-shapes").json()["data"] == "my shapes"
    assert client.delete(f"/api/datasets/{made['name']}").status_code == 204
    assert client.get("/api/datasets").json() == []


def test_a_data_set_takes_nothing_that_is_a_path_or_too_much(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    client = served.client
    for title in ("../x", "a/b", "", "x" * 101, "con"):
        assert client.post("/api/datasets", json={"title": title}).status_code in (400, 422), title
    name = client.post("/api/datasets", json={"title": "ok"}).json()["name"]
    url = f"/api/datasets/{name}/pictures"
    one = [("pictures", ("a.png", png()))]
    for label in ("../x", "a/b", "..", "x" * 61, "gt", "Masks", "con", "a\\b", "\x01"):
        assert client.post(url, files=one, data={"label": label}).status_code in (400, 422), label
    assert client.post(url, files=one * 65).status_code == 400
    assert client.post("/api/datasets/ffffffffffffffff/pictures", files=one).status_code == 400
    monkeypatch.setattr("zeuxis.studio.datasets.MOST_SET_PICTURES", 2)
    assert client.post(url, files=one * 3).status_code == 400
    assert client.post(url, files=one * 2).status_code == 201
    monkeypatch.setattr("zeuxis.studio.datasets.MOST_SETS", 1)
    assert client.post("/api/datasets", json={"title": "two"}).status_code == 400
    assert sorted(path.name for path in (served.runs / "studio" / "datasets" / name / "pictures").iterdir()) == [
        "000000.png",
        "000001.png",
    ]


def until(true: Callable[[], bool]) -> None:
    """Wait for what happens in the other process; the suite's timeout ends what never does."""
    while not true():
        time.sleep(0.02)  # between two looks


def test_a_training_outlives_the_kill_of_its_process_and_the_end_of_the_service(served: Served) -> None:
    queue = served.service.queue
    name = served.submit(kind="train", recipe="gan-ring", iterations=10**7, batch=8, name="long")["id"]

    def job() -> dict[str, Any]:
        found: dict[str, Any] = served.client.get(f"/api/jobs/{name}").json()
        return found

    supervisor = Supervisor(served.runs, queue, lane="training")
    supervisor.start()
    try:
        until(lambda: supervisor.process is not None)
        first = supervisor.process
        assert first is not None
        os.kill(first, signal.SIGKILL)  # before it has begun, which is soonest done; another is started
        until(lambda: "iteration" in job()["message"])
        assert supervisor.process not in (None, first) and served.client.get("/api/runs/long").json()["training"]
    finally:
        supervisor.stop()
    assert supervisor.process is None and job()["state"] == "queued"
    run = served.client.get("/api/runs/long").json()
    assert run["done"] > 0 and not run["training"] and any((served.runs / "long" / "checkpoints").iterdir())
    assert run["events"][-1][1] == "stopped by SIGINT"


def test_a_training_whose_process_was_killed_goes_on_from_its_checkpoint(served: Served) -> None:
    train("gan-ring", iterations=4, batch=8, out=served.runs / "one", quiet=True)
    name = served.submit(kind="train", run="one", iterations=6)["id"]
    assert [job.id for job in served.service.queue.claim(1, "training")] == [name]  # by a process that is no more
    assert served.trainings.work() and not served.trainings.work()
    job = served.client.get(f"/api/jobs/{name}").json()
    assert job["state"] == "done" and job["tries"] == 2, job["error"]
    assert any("goes on" in line and "after iteration 4" in line for line in job["result"]["notes"])


def test_time_left_in_words() -> None:
    assert [time_left(s) for s in (0, 40, 200, 7500)] == ["1 s", "40 s", "3 min", "2 h 5 min"]
