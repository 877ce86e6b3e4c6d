"""Several processes that train one model together, started by torchrun: gloo on CPUs, NCCL on CUDA.

Batch sizes are those of a step over all processes (raised to the next multiple of their number), so the number of
devices changes how long a training takes and not what it learns from. Each process works on its share; after each step
gradients and the statistics of normalisation layers are averaged, so all processes hold the same model at every step.
Where a layer normalises over the batch, it does so over the share.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed

from sbka_milvus.errors import SettingsError, TrainingError

_PATIENCE = timedelta(hours=6)
"""The others wait while the first validates and writes; torchrun ends them at once where a process dies."""


@dataclass(frozen=True, slots=True)
class Team:
    """This process among those that train together.

    Attributes:
        device: where this process computes.
        rank: from 0; 0 leads: it validates, keeps checkpoints, writes the model and shows progress.
        size: number of processes.
    """

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes and shows."""
        return self.rank == 0

    @property
    def share(self) -> slice:
        """Which items of a whole batch are this process's."""
        return slice(self.rank, None, self.size)

    def whole(self, count: int) -> int:
        """``count`` raised to a multiple of the processes, so that all shares are of one size.

        >>> Team(torch.device("cpu"), rank=1, size=4).whole(70)
        72
        """
        return -(-count // self.size) * self.size

    def seed_step(self, seed: int, epoch: int, step: int) -> None:
        """Gives each process its own noise in each step, which a checkpoint of the first alone can then repeat."""
        if self.size > 1:
            digest = hashlib.blake2b(f"{seed} {epoch} {step} {self.rank}".encode(), digest_size=7).digest()
            torch.manual_seed(int.from_bytes(digest, "big"))

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """The mean over all processes of each value; one that is not finite anywhere is not finite everywhere.

        Raises:
            TrainingError: Another process is gone.
        """
        if self.size == 1:
            return values
        figures = torch.tensor(list(values.values()), dtype=torch.float64, device=self.device)
        with _together():
            distributed.all_reduce(figures)
        return dict(zip(values, (figures / self.size).tolist(), strict=True))

    def average(self, tensors: Iterable[torch.Tensor]) -> None:
        """Replaces floating tensors by their mean over all processes, in one exchange.

        Raises:
            TrainingError: Another process is gone.
        """
        if self.size == 1:
            return
        chosen = [tensor for tensor in tensors if tensor.is_floating_point()]
        flat = torch.cat([tensor.detach().reshape(-1).float() for tensor in chosen])
        with _together():
            distributed.all_reduce(flat)
        for tensor, mean in zip(chosen, torch.split(flat / self.size, [one.numel() for one in chosen]), strict=True):
            tensor.detach().copy_(mean.view(tensor.shape))

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        """The rows of all processes, in their order; gradients reach those of this process alone.

        A loss over them all must go through :meth:`of_all` to have, after :meth:`average`, the gradient that one
        process with the whole batch would have.

        Args:
            rows: shape (B, ...), of one shape and type everywhere.

        Returns:
            shape (size * B, ...).

        Raises:
            TrainingError: Another process is gone.
        """
        if self.size == 1:
            return rows
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(self.size)]
        with _together():
            distributed.all_gather(parts, rows.detach().contiguous())
        parts[self.rank] = rows
        return torch.cat(parts)

    def of_all(self, loss: torch.Tensor) -> torch.Tensor:
        """A loss over gathered rows with its gradient times the number of processes.

        Each process has the gradient of its own rows, where a mean over the processes expects that of its own loss.
        """
        return loss if self.size == 1 else loss.detach() + self.size * (loss - loss.detach())

    def of_leader(self, text: str) -> str:
        """The text that the first process has; all wait for it.

        Raises:
            TrainingError: Another process is gone.
        """
        if self.size == 1:
            return text
        box: list[str] = [text]
        with _together():
            distributed.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def require_same(self, texts: Sequence[str], what: str) -> None:
        """Refuses to go on where the processes differ.

        Args:
            texts: of this process.
            what: they say, in the plural, for the message.

        Raises:
            TrainingError: Another process has other texts, or is gone.
        """
        mine = "\n".join(texts)
        others: list[str | None] = [mine] * self.size
        if self.size > 1:
            with _together():
                distributed.all_gather_object(others, mine)
        if any(other != mine for other in others):
            raise TrainingError(
                f"The processes of this training have different {what}.",
                "Give all of them the same command, data and folders.",
            )


@contextmanager
def joined(device: torch.device) -> Iterator[Team]:
    """The team of this process: that of torchrun's environment, or itself alone.

    Args:
        device: the kind of device; on CUDA each process takes the one of its ``LOCAL_RANK``.

    Raises:
        SettingsError: The environment is not as torchrun makes it, or there are fewer devices than processes.
        TrainingError: The processes cannot meet.
    """
    size, rank, local = (
        _number(name, default) for name, default in (("WORLD_SIZE", 1), ("RANK", 0), ("LOCAL_RANK", 0))
    )
    if size <= 1:
        yield Team(device)
        return
    if device.type == "cuda":
        if local >= torch.cuda.device_count():
            raise SettingsError(
                f"This machine has {torch.cuda.device_count()} CUDA devices, too few for process {local + 1}.",
                "Start as many processes as there are devices: --nproc-per-node.",
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    if distributed.is_initialized():
        yield Team(device, rank, size)  # the caller's group, which is the caller's to end
        return
    with _together():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    done = False
    try:
        yield Team(device, rank, size)
        done = True
    finally:
        # After an error the others may be in the middle of an exchange, and NCCL would wait for them. Gloo does not,
        # and its threads, left running while the interpreter ends, can abort it: the exit code would not be ours.
        if done or device.type != "cuda":
            distributed.destroy_process_group()


def leads() -> bool:
    """Whether this process shows and writes, before it has joined the others."""
    return _number("WORLD_SIZE", 1) <= 1 or _number("RANK", 0) == 0


def _number(name: str, default: int) -> int:
    text = os.environ.get(name) or str(default)
    if not text.isdecimal():
        raise SettingsError(f"{name} cannot be {text!r}.", "Start the training with torchrun, or unset it.")
    return int(text)


@contextmanager
def _together() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise TrainingError(
            f"The processes of this training cannot work together: {str(error).splitlines()[0].rstrip('.')}.",
            "Where one of them ended, its own message says why; the same command goes on from the checkpoint.",
        ) from error
