"""The photo that ends the process: found by taking a chunk's photos one at a time, and put into quarantine.

A decoder that crashes, or a picture that takes all memory, kills the worker without a word. After some deaths over one
chunk its photos are taken singly, each named in a file before it is touched. The one named there when the process dies
twice is the culprit: once may be chance, since a worker can also be stopped from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sbka_milvus.embeddings import QuarantinedFile
from sbka_milvus.images import PhotoFile
from sbka_milvus.pipelines.embed_options import EmbedOptions
from workers.jobs import JobFolder, write_json
from workers.tries import CAREFUL_AFTER, deaths

_KIND = "suspects"


@dataclass(frozen=True, slots=True)
class Careful:
    """How a chunk is taken: at once, or with care.

    Attributes:
        job: whose chunk it is.
        unit: that embeds it.
        needed: whether workers died over it.
        poison: photos over which two workers died.
        suspects: photos over which one died.
        deaths: of workers over the unit so far.
    """

    job: JobFolder
    unit: str
    needed: bool
    poison: tuple[QuarantinedFile, ...]
    suspects: tuple[str, ...]
    deaths: int

    @classmethod
    def of(cls, job: JobFolder, unit: str) -> Careful:
        """Looks at how many workers died over a unit, and with which photo in hand."""
        state = job.read(_KIND, unit) or {}
        poison, suspects = list(state.get("poison", ())), list(state.get("suspects", ()))
        in_hand, died = state.get("in_hand"), deaths(job, unit)
        if in_hand is not None:
            # Without a death since then it was put down again: a full disk or a cancelled job is not its fault.
            if died > state.get("deaths", 0):
                (poison if in_hand in suspects else suspects).append(in_hand)
            job.write(_KIND, unit, {"poison": poison, "suspects": suspects})
        return cls(job, unit, died >= CAREFUL_AFTER, _quarantine(poison), tuple(suspects), died)

    def left(self, files: Sequence[PhotoFile]) -> list[PhotoFile]:
        """The photos without those that ended a worker."""
        bad = {file.uri for file in self.poison}
        return [file for file in files if file.uri not in bad]

    def options(self, options: EmbedOptions) -> EmbedOptions:
        """With care one photo at a time."""
        return replace(options, batch_size=1, decode_processes=1, ahead=1) if self.needed else options

    @property
    def on_file(self) -> Callable[[PhotoFile | None], None] | None:
        """To be called before a photo is touched, and with none when all are done."""
        return self._name if self.needed else None

    def _name(self, file: PhotoFile | None) -> None:
        in_hand = None if file is None else file.uri
        poison = [bad.uri for bad in self.poison]
        state = {"poison": poison, "suspects": list(self.suspects), "in_hand": in_hand, "deaths": self.deaths}
        # Its own process is gone when this is read, not the machine: it need not have reached the disk.
        write_json(self.job.path(_KIND, self.unit), state, durable=False)

    def forget(self) -> None:
        """The chunk is done."""
        self.job.remove(_KIND, self.unit)


def _quarantine(uris: Sequence[str]) -> tuple[QuarantinedFile, ...]:
    return tuple(QuarantinedFile(uri, f"{uri} ended two workers that read it.") for uri in uris)
