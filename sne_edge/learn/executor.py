"""Where independent jobs run: in this process, in parallel ones, or on a Ray cluster; the outcome is the same.

In: a function and its jobs, both of which pickle. Out: the results, in the jobs' order. Every job computes with one
thread, since sums in floating point depend on how they are divided.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from multiprocessing.managers import SyncManager
from typing import Any, TypeVar

import torch

from ..errors import SneError, shortened
from .fit import Progress, quiet

Job = TypeVar("Job")
Result = TypeVar("Result")
Work = Callable[[Job, Progress], Result]
HINT = "an executor is one of: inline, processes, processes:N, ray, ray://ADDRESS"


def run_jobs(
    work: Work[Job, Result],
    jobs: Sequence[Job],
    executor: str = "inline",
    progress: Progress = quiet,
    *,
    stage: str = "students",
    retries: int = 0,
    ended: Callable[[Job, Result], None] | None = None,
    lost: Callable[[Job], Result] | None = None,
) -> list[Result]:
    """`work(job, progress)` for every job; `stage`: what jobs are, for progress on Ray, which tells how many are done.

    A job whose process or machine is lost runs again, up to `retries` times, where others are left; then it ends all,
    or, with `lost`, has what that makes of it for a result. What a job raises ends all. `ended` is told of each job and
    its result, here, as soon as it is done, in whatever order that is and perhaps in another thread.

    `executor`: inline, processes[:N] (default: as many as cores), ray (a cluster on this machine) or ray://ADDRESS,
    whose machines must have sne-edge installed and see the same files.

    Raises `SneError` for an unknown executor or one that is not installed, and whatever a job raises.
    """
    check_executor(executor)
    kind = executor.partition(":")[0]
    if kind == "inline":
        return [_told(job, _alone(work, job, progress), ended) for job in jobs]
    if kind == "processes":
        return _processes(work, jobs, worker_count(executor), progress, retries, ended, lost)
    with connected(executor):
        return _ray(work, jobs, progress, stage, retries, ended, lost)


def _told(job: Job, result: Result, ended: Callable[[Job, Result], None] | None) -> Result:
    if ended is not None:
        ended(job, result)
    return result


def check_executor(executor: str) -> None:
    """Raise `SneError` for an unknown executor, or one that is not installed."""
    if re.fullmatch(r"inline|processes(:0*[1-9][0-9]{0,3})?|ray(://.+)?", executor, flags=re.ASCII) is None:
        raise SneError(f"there is no executor {shortened(executor)!r}", HINT)
    if executor.startswith("ray") and find_spec("ray") is None:
        raise SneError("the package ray is not installed", "pip install 'sne-edge[ray]', or use --executor processes")


def worker_count(executor: str) -> int:
    """How many jobs of an executor run at once: on this machine, or on the Ray cluster that it is connected to."""
    kind, _, count = executor.partition(":")
    if kind == "inline":
        return 1
    ray: Any = sys.modules.get("ray")
    if kind == "ray" and ray is not None and ray.is_initialized():
        return max(1, int(ray.cluster_resources().get("CPU", 1)))
    return int(count) if count.isdecimal() else os.cpu_count() or 1


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _alone(work: Work[Job, Result], job: Job, progress: Progress) -> Result:
    with _one_thread():
        return work(job, progress)


def _processes(
    work: Work[Job, Result],
    jobs: Sequence[Job],
    count: int,
    progress: Progress,
    retries: int,
    ended: Callable[[Job, Result], None] | None,
    lost: Callable[[Job], Result] | None,
) -> list[Result]:
    done: dict[int, Result] = {}
    with _manager() as manager:
        queue = manager.Queue()

        def relay() -> None:
            while (item := queue.get()) is not None:
                progress(*item)

        def left() -> dict[int, Job]:
            return {number: job for number, job in enumerate(jobs) if number not in done}

        thread = threading.Thread(target=relay, daemon=True)
        thread.start()
        try:
            for _ in range(retries + 1):
                done |= _pooled(work, left(), count, queue, ended)
                if len(done) == len(jobs):
                    break
            else:
                if lost is None:
                    raise SneError(
                        "a process of the training was killed",
                        "was it short of memory? give --executor processes:1; the same command goes on from there",
                    )
                for number, job in left().items():  # alone, it ends itself and no other
                    found = _pooled(work, {number: job}, 1, queue, ended)
                    done[number] = found[number] if found else lost(job)
            return [done[number] for number in range(len(jobs))]
        finally:
            queue.put(None)
            thread.join()


def _manager() -> SyncManager:
    """The process through which others tell how it goes. A new process imports the script that was started, which must
    not start what it is asked for once more."""
    try:
        return get_context("spawn").Manager()
    except EOFError:
        raise SneError(
            "processes cannot start from this script: each of them runs it again",
            'put what it does below `if __name__ == "__main__":`, or use the executor inline',
        ) from None


def _pooled(
    work: Work[Job, Result],
    jobs: dict[int, Job],
    count: int,
    queue: Any,
    ended: Callable[[Job, Result], None] | None,
) -> dict[int, Result]:
    """Results by number; where a process was killed, and the others ended with it, of those that were done by then."""

    def tell(job: Job, future: Future[Result]) -> None:
        if not future.cancelled() and future.exception() is None:
            _told(job, future.result(), ended)

    with ProcessPoolExecutor(min(count, max(1, len(jobs))), mp_context=get_context("spawn")) as pool:
        futures = {number: pool.submit(_reporting, work, job, queue) for number, job in jobs.items()}
        try:
            for number, future in futures.items():
                future.add_done_callback(partial(tell, jobs[number]))
            return {number: future.result() for number, future in futures.items()}
        except BrokenProcessPool:
            finished = (n for n, f in futures.items() if f.done() and not f.exception())
            return {number: futures[number].result() for number in finished}
        finally:
            for future in futures.values():
                future.cancel()


def _reporting(work: Work[Job, Result], job: Job, queue: Any) -> Result:
    return _alone(work, job, lambda *news: queue.put(news))


@contextmanager
def connected(executor: str) -> Iterator[None]:
    """What an executor on Ray runs in: the cluster, which several calls of `run_jobs` then share; others need nothing.

    Raises `SneError` where there is no such cluster.
    """
    if not executor.startswith("ray"):
        yield
        return
    check_executor(executor)
    import ray

    address = executor if ":" in executor else None
    started = not ray.is_initialized()
    if started:
        try:
            ray.init(address=address, log_to_driver=False, include_dashboard=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise SneError(f"no Ray cluster at {address or 'this machine'}: {error}", HINT) from None
    try:
        yield
    finally:
        if started:
            ray.shutdown()


def _ray(
    work: Work[Job, Result],
    jobs: Sequence[Job],
    progress: Progress,
    stage: str,
    retries: int,
    ended: Callable[[Job, Result], None] | None,
    lost: Callable[[Job], Result] | None,
) -> list[Result]:
    import ray

    remote: Any = ray.remote(num_cpus=1, max_retries=retries)(_alone)
    pending = {remote.remote(work, job, quiet): job for job in jobs}
    left = list(pending)

    def result(ref: Any, job: Job) -> Result:
        try:
            found: Result = ray.get(ref)
            return found
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.RayError as error:
            if lost is not None:
                return lost(job)
            raise SneError(
                f"a machine of the Ray cluster was lost: {str(error).splitlines()[0]}",
                "the same command goes on from there",
            ) from None

    while left:
        ready, left = ray.wait(left)
        progress(stage, len(jobs) - len(left), len(jobs), "on Ray")
        for ref in ready if ended is not None else ():
            with suppress(ray.exceptions.RayError):  # which is raised below, once the others are done
                _told(pending[ref], ray.get(ref), ended)
    return [result(ref, job) for ref, job in pending.items()]
