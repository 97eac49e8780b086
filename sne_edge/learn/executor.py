"""Where independent jobs run: in this process, in parallel ones, or on a Ray cluster; the outcome is the same.

In: a function and its jobs, both of which pickle. Out: the results, in the jobs' order. Every job computes with one
thread, since sums in floating point depend on how they are divided.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from importlib.util import find_spec
from multiprocessing import get_context
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
) -> list[Result]:
    """`work(job, progress)` for every job; `stage`: what jobs are, for progress on Ray, which tells how many are done.

    A job whose process or machine is lost runs again, up to `retries` times, where others are left; what a job raises
    ends all.

    `executor`: inline, processes[:N] (default: as many as cores), ray (a cluster on this machine) or ray://ADDRESS,
    whose machines must have sne-edge installed and see the same files.

    Raises `SneError` for an unknown executor or one that is not installed, and whatever a job raises.
    """
    check_executor(executor)
    kind, _, rest = executor.partition(":")
    if kind == "inline":
        return [_alone(work, job, progress) for job in jobs]
    if kind == "processes":
        return _processes(work, jobs, worker_count(executor), progress, retries)
    return _ray(work, jobs, executor if rest else None, progress, stage, retries)


def check_executor(executor: str) -> None:
    """Raise `SneError` for an unknown executor, or one that is not installed."""
    if re.fullmatch(r"inline|processes(:0*[1-9][0-9]{0,3})?|ray(://.+)?", executor, flags=re.ASCII) is None:
        raise SneError(f"there is no executor {shortened(executor)!r}", HINT)
    if executor.startswith("ray") and find_spec("ray") is None:
        raise SneError("the package ray is not installed", "pip install 'sne-edge[ray]', or use --executor processes")


def worker_count(executor: str) -> int:
    """How many jobs of an executor run at once on this machine."""
    kind, _, count = executor.partition(":")
    if kind == "inline":
        return 1
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
    work: Work[Job, Result], jobs: Sequence[Job], count: int, progress: Progress, retries: int
) -> list[Result]:
    context = get_context("spawn")
    done: dict[int, Result] = {}
    with context.Manager() as manager:
        queue = manager.Queue()

        def relay() -> None:
            while (item := queue.get()) is not None:
                progress(*item)

        thread = threading.Thread(target=relay, daemon=True)
        thread.start()
        try:
            for _ in range(retries + 1):
                left = {number: job for number, job in enumerate(jobs) if number not in done}
                with ProcessPoolExecutor(min(count, max(1, len(left))), mp_context=context) as pool:
                    futures = {number: pool.submit(_reporting, work, job, queue) for number, job in left.items()}
                    try:
                        for number, future in futures.items():
                            done[number] = future.result()
                    except BrokenProcessPool:  # one was killed, and the others ended with it
                        finished = (n for n, f in futures.items() if f.done() and not f.exception())
                        done |= {number: futures[number].result() for number in finished}
                    finally:
                        for future in futures.values():
                            future.cancel()
                if len(done) == len(jobs):
                    return [done[number] for number in range(len(jobs))]
            raise SneError(
                "a process of the training was killed",
                "was it short of memory? give --executor processes:1; the same command goes on from there",
            )
        finally:
            queue.put(None)
            thread.join()


def _reporting(work: Work[Job, Result], job: Job, queue: Any) -> Result:
    return _alone(work, job, lambda *news: queue.put(news))


def _ray(
    work: Work[Job, Result], jobs: Sequence[Job], address: str | None, progress: Progress, stage: str, retries: int
) -> list[Result]:
    try:
        import ray
    except ImportError:
        raise SneError(
            "the package ray is not installed", "pip install 'sne-edge[ray]', or use --executor processes"
        ) from None
    started = not ray.is_initialized()
    if started:
        try:
            ray.init(address=address, log_to_driver=False, include_dashboard=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise SneError(f"no Ray cluster at {address or 'this machine'}: {error}", HINT) from None
    try:
        remote: Any = ray.remote(num_cpus=1, max_retries=retries)(_alone)
        pending = [remote.remote(work, job, quiet) for job in jobs]
        left = list(pending)
        while left:
            _, left = ray.wait(left)
            progress(stage, len(jobs) - len(left), len(jobs), "on Ray")
        results: list[Result] = ray.get(pending)
        return results
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise SneError(
            f"a machine of the Ray cluster was lost: {str(error).splitlines()[0]}",
            "the same command goes on from there",
        ) from None
    finally:
        if started:
            ray.shutdown()
