"""What all routes share: requests checked and queued, jobs waited for. Imports no torch."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Request

from zeuxis.errors import UnknownName, Unsupported, UsageError
from zeuxis.provenance.record import RESTORER
from zeuxis.spec import parse_size
from zeuxis.studio.checks import check_condition, check_pictures, checked_knobs, chosen_seed
from zeuxis.studio.folders import Folders
from zeuxis.studio.latent_checks import check_latents
from zeuxis.studio.limits import check_knobs, check_size
from zeuxis.studio.models import KnownModel, model_called, model_recorded, restorer_called
from zeuxis.studio.queue import Job, JobQueue, Lane
from zeuxis.studio.recoding import cleaned
from zeuxis.studio.requests import (
    BreedJob,
    DescribeJob,
    DiagnoseJob,
    DirectionsJob,
    EditJob,
    EncodeJob,
    EvaluateJob,
    ExampleJob,
    JobRequest,
    LookJob,
    MixJob,
    MoveJob,
    PaintJob,
    PrepareJob,
    ProjectJob,
    ReplayJob,
    RestoreJob,
    SampleJob,
    TrainJob,
    TranslateJob,
    WalkJob,
)
from zeuxis.studio.training_requests import check_diagnosis, check_evaluation, check_training

QUICK, SLOW = 0.01, 0.05  # seconds between two looks at a job that is waited for: in the first second, and later
LISTENED = 0.25  # seconds between two looks at whether the client is still there


class ClientGone(Exception):
    """The client that waited for a job has left."""


class ServiceEnding(Exception):
    """The service ends while a client waits for a job, which goes on with the next start."""


class Service:
    """The folders, the queue, and ``wake``, which tells the workers that there is work.

    ``root`` is the path below which a proxy has it ("/lab/zeuxis"); addresses in answers begin with it.
    ``is_ending`` is whether the server is to end: then nobody is kept waiting.
    """

    def __init__(self, folders: Folders, queue: JobQueue, wake: Callable[[], None], root: str = "") -> None:
        self.folders, self.queue, self.wake, self.root = folders, queue, wake, root
        self.is_ending: Callable[[], bool] = lambda: False

    @property
    def runs(self) -> Path:
        """The folder of the trained models."""
        return self.folders.runs

    def submit(self, asked: JobRequest) -> Job:
        """Queue what is asked for; raises :class:`zeuxis.errors.ZeuxisError` for what cannot be done."""
        request = asked.model_dump(mode="json")
        pictures, batch_key = 1, None
        lane: Lane = "drawing"
        match asked:
            case SampleJob():
                request["seed"] = chosen_seed() if asked.seed is None else asked.seed
                pictures, batch_key = asked.n, self._check_sample(asked, request)
            case RestoreJob():
                request["path"] = restorer_called(asked.model, self.runs)
                check_pictures([*request["pictures"], *([request["mask"]] if asked.mask else [])], self.folders)
                check_knobs(asked.knobs)
                if (asked.task == "inpaint") != (asked.mask is not None):
                    raise UsageError("a mask and the task inpaint go together: give both")
                pictures = len(asked.pictures)
            case TranslateJob():
                checked_knobs(self._named(request), asked.knobs)
                check_pictures(request["pictures"], self.folders)
                if asked.size is not None and asked.size != "own":
                    check_size(parse_size(asked.size), len(asked.pictures))
                pictures = len(asked.pictures)
            case EncodeJob() | PrepareJob():
                self._named(request)
                check_pictures([request["picture"]], self.folders)
            case ReplayJob():
                self._check_replay(request)
            case DescribeJob() | ExampleJob():
                self._named(request)
            case PaintJob():
                request["knobs"] = checked_knobs(self._named(request), asked.knobs)
                check_pictures([request["layout"], *([request["style"]] if asked.style else [])], self.folders)
                pictures = asked.n
            case EditJob():
                request["knobs"] = checked_knobs(self._named(request), asked.knobs)
                check_condition(request["condition"], asked.n, self.folders)
                check_pictures([request["picture"], *([request["mask"]] if asked.mask else [])], self.folders)
                if given := sorted({"source", "mask"} & asked.condition.keys()):
                    raise UsageError(f"condition: give the {given[0]} beside it, as picture or mask")
                pictures = asked.n
            case LookJob():
                check_pictures([request["picture"]], self.folders)
            case WalkJob() | MixJob() | DirectionsJob() | MoveJob() | BreedJob() | ProjectJob():
                pictures = check_latents(asked, request, self.folders, self.job)
            case TrainJob():
                check_training(asked, request, self.folders, self.queue)
                lane = "training"
            case EvaluateJob():
                check_evaluation(asked, request, self.folders)
                lane = "training"
            case DiagnoseJob():
                check_diagnosis(asked, request, self.folders)
        job = self.queue.add(asked.kind, request, pictures, batch_key, lane)
        self.wake()
        return job

    async def changes(self, name: str) -> AsyncIterator[Job | None]:
        """The job as it stands, and again after every change until it has ended or was forgotten, or the service ends.

        None at every look at which nothing had changed, so that who follows it can see to other things.
        """
        begun, version = time.monotonic(), None
        while not self.is_ending():
            if (now := self.queue.version) == version:
                yield None
            else:
                version, found = now, self.queue.get(name)
                if found is None:
                    return
                yield found
                if found.has_ended:
                    return
            await asyncio.sleep(QUICK if time.monotonic() - begun < 1 else SLOW)

    async def ended(self, name: str, is_gone: Callable[[], Awaitable[bool]]) -> Job:
        """The job once it has ended.

        Cancels it and raises :class:`ClientGone` where the client leaves meanwhile; raises :class:`UnknownName` where
        the job was forgotten, :class:`ServiceEnding` where the service ends first.
        """
        listened = time.monotonic()
        async for job in self.changes(name):
            if job is not None and job.has_ended:
                return job
            if time.monotonic() - listened > LISTENED:
                listened = time.monotonic()
                if await is_gone():
                    self.queue.cancel(name)
                    raise ClientGone
        self.job(name)
        raise ServiceEnding

    def resume(self, name: str) -> Job:
        """Queue a training again that was stopped or has failed: it goes on from its checkpoint."""
        found = self.job(name)
        if found.lane != "training":
            raise UsageError(f"job {name} is no training, and begins anew each time: submit it again")
        if not self.queue.resume(name):
            raise UsageError(f"job {name} is {self.job(name).state}: only one that was stopped or has failed goes on")
        self.wake()
        return self.job(name)

    def job(self, name: str) -> Job:
        """The job of that id; raises :class:`UnknownName`."""
        found = self.queue.get(name)
        if found is None:
            raise UnknownName("job", name, (), all_known="GET /api/jobs lists those that are there")
        return found

    def take(self, content: bytes) -> str:
        """Keep the picture in ``content``, coded again; its name. Raises :class:`UsageError` for what is none."""
        return self.folders.keep(cleaned(content))

    def picture(self, job: Job, k: int) -> bytes:
        """The PNG of picture ``k`` of a job that is done."""
        return self.folders.file(job.id, f"{k:04d}.png").read_bytes()

    # -- what is asked for ------------------------------------------------------------------------

    def _named(self, request: dict[str, Any]) -> KnownModel:
        """The model that a request names; its path goes into the request."""
        known = model_called(request["model"], self.runs)
        request["path"] = known.path
        return known

    def _check_sample(self, asked: SampleJob, request: dict[str, Any]) -> str:
        """Check a drawing; returns what jobs share that may be drawn together."""
        known = self._named(request)
        if "sample" not in known.system.card.verbs:
            can = ", ".join(sorted(known.system.card.verbs))
            raise Unsupported(f"'{asked.model}' draws no pictures; it can: {can}")
        request["knobs"] = checked_knobs(known, asked.knobs)
        check_size(parse_size(asked.size), asked.n)
        check_condition(request["condition"], asked.n, self.folders)
        shared = {key: request[key] for key in ("path", "size", "knobs")}
        told = sorted(request["condition"]), asked.prompt is None
        return json.dumps([shared, told], sort_keys=True)

    def _check_replay(self, request: dict[str, Any]) -> None:
        ref = request["picture"]
        if ref["upload"] is not None:
            record = self.folders.record_of(ref["upload"])
        else:
            job = self.job(ref["job"])
            pictures = (job.result or {}).get("pictures", [])
            if ref["picture"] >= len(pictures):
                raise UsageError(f"job {job.id} has no picture {ref['picture']}")
            record = pictures[ref["picture"]]["record"]
        if record.get("prior") is not None or record["system"] == RESTORER:
            raise Unsupported(
                "a picture of a prior over codes, or a restored one, is not replayed here: use zeuxis sample --replay, "
                "or zeuxis restore"
            )
        request["record"], request["path"] = record, model_recorded(record, self.runs).path
        check_knobs(record["sampling"])
        check_condition(request["condition"], 1, self.folders)
        check_pictures([ref], self.folders)


async def service_of(request: Request) -> Service:
    """The service of the app that a request came to; async, for what is not is called in a thread, which takes as long
    as many an answer."""
    found: Service = request.app.state.service
    return found


TheService = Annotated[Service, Depends(service_of)]
