"""One training in several processes of a host, an accelerator each: every batch is shared out, gradients are averaged.

PyTorch's DistributedDataParallel, with NCCL between accelerators and gloo between processes without. What is learnt
is what one process learns, up to rounding: each process draws the same random numbers for whole batches and takes its
share, a share's loss counts by its photos, and batch norm normalises over all shares (docs/adr/0028).

Axes: B batch, C channel, Y X pixels.
"""

import ctypes
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.multiprocessing as processes
from jaxtyping import Float
from torch import Tensor, distributed, nn
from torch.multiprocessing.spawn import ProcessException
from torch.nn.parallel import DistributedDataParallel

Log = Callable[[str], None]
LOOKS_EVERY_S = 0.2
ENDS_WITHIN_S = 10.0
PARENTS_DEATH_SIGNAL = 1
"""prctl(2)'s PR_SET_PDEATHSIG."""
LINE, ERROR, RESULT = "line", "error", "result"


@dataclass(frozen=True)
class Rank:
    """Which of how many processes of a training this is; rank 0 alone writes."""

    number: int = 0
    of: int = 1

    @property
    def writes(self) -> bool:
        return self.number == 0

    def share(self, count: int) -> slice:
        """The part of `count` rows that is this rank's; parts differ by one row at most."""
        return slice(count * self.number // self.of, count * (self.number + 1) // self.of)

    def weighted(self, loss: Tensor, count: int) -> Tensor:
        """The mean loss of this rank's share of `count` rows, so that the ranks' mean is that of all rows."""
        share = self.share(count)
        return loss * ((share.stop - share.start) * self.of / count)

    def mean(self, value: Tensor) -> Tensor:
        """The mean over all ranks, the same for each of them."""
        if self.of == 1:
            return value
        value = value.detach().clone()
        distributed.all_reduce(value)
        return value / self.of

    def shared(self, network: nn.Module) -> nn.Module:
        """The network, whose gradients are the mean over all ranks; its weights stay those of `network`."""
        if self.of == 1:
            return network
        return DistributedDataParallel(network, forward_sync_buffers=False)


ALONE = Rank()


class RankLost(RuntimeError):
    """A process of a training was killed."""


class SynchronisedBatchNorm(nn.BatchNorm2d):
    """Batch norm over the shares of all ranks, without an accelerator: PyTorch's own SyncBatchNorm needs one."""

    def forward(self, photos: Float[Tensor, "B C Y X"]) -> Float[Tensor, "B C Y X"]:
        if not self.training:
            return super().forward(photos)
        count = SumOfRanks.apply(photos.new_tensor([photos.numel() / photos.shape[1]]))
        mean = SumOfRanks.apply(photos.sum((0, 2, 3))) / count
        centred = photos - mean.view(1, -1, 1, 1)
        variance = SumOfRanks.apply(centred.square().sum((0, 2, 3))) / count
        self.note(mean.detach(), variance.detach() * count / (count - 1))
        scale = self.weight / (variance + self.eps).sqrt()
        return centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)

    @torch.no_grad()
    def note(self, mean: Tensor, variance: Tensor) -> None:
        """Take this batch into the running mean and variance."""
        assert self.momentum is not None and self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        self.num_batches_tracked += 1


class SumOfRanks(torch.autograd.Function):
    """The sum over all ranks; each rank's value has a part in the loss of every rank."""

    @staticmethod
    def forward(context: Any, value: Tensor) -> Tensor:
        total = value.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        distributed.all_reduce(total)
        return total


def synchronised(network: nn.Module, device: torch.device) -> None:
    """Let the batch norms in this network be over the shares of all ranks; names and values of its state stay."""
    if device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return
    for name, child in network.named_children():
        if type(child) is nn.BatchNorm2d:
            synced = SynchronisedBatchNorm(child.num_features, child.eps, child.momentum)
            synced.load_state_dict(child.state_dict())
            setattr(network, name, synced.to(child.weight.dtype))
        else:
            synchronised(child, device)


def in_ranks(work: Callable[..., Any], arguments: Sequence, count: int, log: Log) -> Any:
    """What `work(rank, log, *arguments)` returns in rank 0 of `count` processes of this host.

    Args:
        work: a function of a module; every rank has to call it to its end, or none.
        arguments: small, as they are pickled for every process.
        count: of processes.
        log: takes the lines of rank 0.

    Raises:
        RankLost: a rank was killed; the others are stopped.
        Exception: what a rank raised first; the others are stopped.
    """
    told = processes.get_context("spawn").SimpleQueue()
    results: list[Any] = []
    with TemporaryDirectory() as folder:
        meeting = (Path(folder) / "meeting").as_uri()
        settings = (count, os.getpid(), meeting, torch.get_default_dtype(), told, work, tuple(arguments))
        ranks = processes.start_processes(one_rank, settings, nprocs=count, join=False, start_method="spawn")
        try:
            ended = False
            while not ended:
                ended = ranks.join(timeout=LOOKS_EVERY_S)
                listen(told, results, log)
        except ProcessException:
            refuse_killed(ranks.processes)
            listen(told, results, log)  # the error itself, rather than its trace as text
            raise
        finally:
            stop(ranks.processes)
    return results[0]


def listen(told: Any, results: list[Any], log: Log) -> None:
    """Take what the ranks have told since.

    Raises:
        Exception: the first error that one of them told.
    """
    while not told.empty():
        kind, what = told.get()
        if kind == ERROR:
            raise what
        if kind == LINE:
            log(what)
        else:
            results.append(what)


def refuse_killed(ranks: Sequence[Any]) -> None:
    """Whoever waits for a killed rank has an error, too, which says nothing.

    Raises:
        RankLost: one of them was killed.
    """
    for number, rank in enumerate(ranks):
        ended_by = -(rank.exitcode or 0)
        if ended_by > 0 and ended_by != SIGTERM:  # by which the others are ended
            signal = Signals(ended_by).name
            raise RankLost(f"process {number + 1} of {len(ranks)} was ended by {signal}: is there too little memory?")


def stop(ranks: Sequence[Any]) -> None:
    """End the processes that are left."""
    for rank in ranks:
        if rank.is_alive():
            rank.kill()
    for rank in ranks:
        rank.join(ENDS_WITHIN_S)


def one_rank(
    number: int,
    count: int,
    parent: int,
    meeting: str,
    precision: torch.dtype,
    told: Any,
    work: Callable[..., Any],
    arguments: tuple,
) -> None:
    """A process of `in_ranks`."""
    end_with(parent)
    torch.set_default_dtype(precision)
    rank = Rank(number, count)

    def tell(line: str) -> None:
        if rank.writes:
            told.put((LINE, line))

    with joined(rank, meeting):
        try:
            result = work(rank, tell, *arguments)
        except Exception as error:
            told.put((ERROR, sendable(error)))  # before the others lose this rank, and have errors, too
            raise
    if rank.writes:
        told.put((RESULT, result))


def end_with(parent: int) -> None:
    """Let the system end this process with its parent: it would go on training, and write checkpoints."""
    with suppress(OSError, AttributeError):  # Linux has it
        ctypes.CDLL(None).prctl(PARENTS_DEATH_SIGNAL, SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it has ended already


def sendable(error: Exception) -> Exception:
    """The error, or one with its message if it cannot be taken apart and put together again."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  (our own)
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


@contextmanager
def joined(rank: Rank, meeting: str) -> Iterator[None]:
    """Until the end of the block this process can sum with the other ranks."""
    on_accelerator = torch.cuda.is_available()
    if on_accelerator:
        torch.cuda.set_device(rank.number)
    else:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // rank.of))
    backend = "nccl" if on_accelerator else "gloo"
    distributed.init_process_group(backend, init_method=meeting, rank=rank.number, world_size=rank.of)
    try:
        yield
    finally:
        distributed.destroy_process_group()
