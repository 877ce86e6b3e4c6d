"""Where the time of an ingest goes, and which stage the others wait for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class StageTimes:
    """Seconds of the stages that photos go through.

    Reading and decoding go on beside the others, in several processes at once: theirs are the sums over these, and
    ``waiting`` is what the others feel of them. The rest follow one another, as seconds of a clock.

    Attributes:
        finding: walking through the sources.
        reading: files, archives and addresses.
        decoding: decoding pictures and scaling them down.
        waiting: for photos to encode; the start of the processes included.
        encoding: pictures to vectors.
        writing: shards.
        indexing: everything after that: clusters, Milvus, the check, the switch.
    """

    finding: float = 0.0
    reading: float = 0.0
    decoding: float = 0.0
    waiting: float = 0.0
    encoding: float = 0.0
    writing: float = 0.0
    indexing: float = 0.0

    def add(self, **seconds: float) -> StageTimes:
        """With so many seconds more."""
        return replace(self, **{name: getattr(self, name) + value for name, value in seconds.items()})


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """The stage that takes the largest part of the time.

    Attributes:
        stage: finding, reading, decoding, encoding, writing or indexing; none of them where nothing took any time.
        share: its part of all seconds of the clock, from 0 to 1.
    """

    stage: str = "nothing"
    share: float = 0.0


def bottleneck(times: StageTimes) -> Bottleneck:
    """What to speed up first. Where it is the photos that are waited for, the busier of reading and decoding.

    >>> bottleneck(StageTimes(reading=1.0, decoding=3.0, waiting=2.0, encoding=6.0))
    Bottleneck(stage='encoding', share=0.75)
    >>> bottleneck(StageTimes(reading=1.0, decoding=3.0, waiting=6.0, encoding=2.0))
    Bottleneck(stage='decoding', share=0.75)
    """
    photos = "reading" if times.reading > times.decoding else "decoding"
    shares = {
        "finding": times.finding,
        photos: times.waiting,
        "encoding": times.encoding,
        "writing": times.writing,
        "indexing": times.indexing,
    }
    total = sum(shares.values())
    if not total:
        return Bottleneck()
    stage = max(shares, key=lambda name: shares[name])
    return Bottleneck(stage, shares[stage] / total)


@dataclass(frozen=True, slots=True)
class EncodeUse:
    """What it took to make vectors of files.

    Attributes:
        stages: seconds of each stage.
        peak_bytes: the most memory that this process and those that decode can have had in RAM together: the sum of
            each one's own peak, this process's since it began. An upper bound.
    """

    stages: StageTimes = field(default_factory=StageTimes)
    peak_bytes: int = 0

    def add(self, **seconds: float) -> EncodeUse:
        """With so many seconds more of some stages."""
        return replace(self, stages=self.stages.add(**seconds))

    @property
    def note(self) -> str:
        """A few words for a progress line."""
        return f"limit: {bottleneck(self.stages).stage}, {self.peak_bytes / 2**20:,.0f} MiB"
