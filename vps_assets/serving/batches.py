"""One thread that answers: it takes what has piled up while it answered the last batch."""

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter

from vps_assets.errors import Failure, UserError
from vps_assets.serving.offers import Offer
from vps_assets.serving.snapshot import Clock, Snapshot, Suggested

MOST_WAITING = 64
MOST_AT_ONCE = 16
DECODERS = 2
log = logging.getLogger("vps")


@dataclass(frozen=True)
class Answered:
    """An answer, and what it took."""

    result: Suggested | UserError
    snapshot: Snapshot
    seconds: dict[str, float]
    """By stage: `wait` in the queue, and those of its batch, of which it was a part."""
    batch: int
    """How many were answered together."""


@dataclass
class Waiting:
    """An offer in the queue."""

    offer: Offer
    future: "Future[Answered]" = field(default_factory=Future)
    since: float = field(default_factory=perf_counter)


class QueueFull(Failure):
    """So many offers wait that another would not be answered in time."""


class Batcher:
    """Answers offers one batch after the other; no timer: whoever comes alone does not wait for others.

    Args:
        snapshot: what to answer from; asked once for each batch.
    """

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self.snapshot = snapshot
        self.waiting: queue.Queue[Waiting | None] = queue.Queue(MOST_WAITING)
        self.decoders = ThreadPoolExecutor(DECODERS, "decoder")
        self.thread = threading.Thread(target=self.run, name="suggestions", daemon=True)
        self.thread.start()

    def full(self) -> bool:
        """Whether another offer would be refused."""
        return self.waiting.full()

    def submit(self, offer: Offer) -> "Future[Answered]":
        """Put an offer in the queue; one that is cancelled before its turn is left out.

        Raises:
            QueueFull: `MOST_WAITING` wait already.
        """
        one = Waiting(offer)
        try:
            self.waiting.put_nowait(one)
        except queue.Full:
            raise QueueFull from None
        return one.future

    def close(self) -> None:
        """Answer what waits, then end."""
        while self.thread.is_alive():
            with suppress(queue.Full):
                self.waiting.put(None, timeout=1)
                self.thread.join()
        self.decoders.shutdown()

    def run(self) -> None:
        """Answer until the end comes."""
        going_on = True
        while going_on:
            taken = [self.waiting.get()]
            while len(taken) < MOST_AT_ONCE and taken[-1] is not None:
                try:
                    taken.append(self.waiting.get_nowait())
                except queue.Empty:
                    break
            going_on = taken[-1] is not None
            batch = [one for one in taken if one is not None and one.future.set_running_or_notify_cancel()]
            if batch:
                self.answer(batch)

    def answer(self, batch: Sequence[Waiting]) -> None:
        """Answer a batch; where it fails as a whole, each offer alone, so that one cannot spoil the others' answers."""
        began, clock = perf_counter(), Clock()
        try:
            snapshot = self.snapshot()
            results = snapshot.suggestions([one.offer for one in batch], self.decoders.map, clock)
        except BaseException as error:  # a library's panic is no Exception, and this thread must live
            if len(batch) == 1:
                batch[0].future.set_exception(error)
                return
            log.warning("a batch of %d failed (%s): each is answered alone", len(batch), type(error).__name__)
            for one in batch:
                self.answer([one])
            return
        for one, result in zip(batch, results, strict=True):
            seconds = {"wait": began - one.since, **clock.stages}
            one.future.set_result(Answered(result, snapshot, seconds, len(batch)))
