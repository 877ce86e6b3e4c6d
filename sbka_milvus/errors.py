"""The error tree. Every failure a user can cause or mend is one of these.

SbkaError
├── InvalidValue         an array or value object whose shape, dtype or content is wrong
├── SettingsError        a setting or command-line value that cannot be used
├── ImageError           a photo or sketch that cannot be read
│   ├── EmptySketch      a sketch with no ink on it
│   └── SourceError      an archive, a manifest or an address that photos cannot be taken from
├── DecoderError         processes that decode photos cannot be started
├── DatasetError         a data set folder or split file that does not fit
├── BackboneError        a backbone that is unknown or cannot be built
│   └── HubUnavailable   its weights are on a hub that cannot be reached
├── BundleError          a model bundle that is missing, damaged or of another form
├── OutputError          a file that cannot be written: a full disk, a read-only folder
├── TrainingError        training that cannot start or go on
├── GalleryError         a gallery workspace that is missing, damaged or empty
│   ├── GalleryBusy      another process is indexing it: worth retrying
│   ├── PruneRefused     so much of a source is gone that it may only be away
│   └── MatchingError    what a version is matched by is missing or damaged
├── JobError             a background job that is unknown, refused or failed
│   ├── JobCancelled     it was cancelled
│   └── LeaseLost        another process has taken over this one's part of it
├── BrokerUnavailable    Redis, through which work is handed out, cannot be reached now: worth retrying
├── FilterError          a filter of a search that cannot be understood, or that names an unknown column
├── RerankerError        a re-ranker of the user's that failed, or that gave no scores
├── EncoderMismatch      a query encoder that is not the gallery's
└── StoreError           the vector store refused
    ├── CollectionMissing  no such gallery or version in the store
    └── StoreUnavailable   the store cannot be reached now: worth retrying
"""

from __future__ import annotations


class SbkaError(Exception):
    """Base of all errors: what is wrong, and what to do about it.

    Args:
        problem: One sentence that names the file or value at fault.
        remedy: One sentence that says what to do next; may be empty.
    """

    retryable = False

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem} {self.remedy}".strip()


class InvalidValue(SbkaError, ValueError):
    """An array or value object whose shape, dtype or content is not what it must be."""


class SettingsError(SbkaError):
    """A setting or command-line value that cannot be used."""


class ImageError(SbkaError):
    """A photo or sketch that cannot be read."""


class EmptySketch(ImageError):
    """A sketch with no ink on it."""


class SourceError(ImageError):
    """An archive, a manifest or an address that photos cannot be taken from."""


class DecoderError(SbkaError):
    """Processes that decode photos cannot be started, or were stopped: no fault of a photo."""


class DatasetError(SbkaError):
    """A data set folder or split file that does not fit."""


class BackboneError(SbkaError):
    """A backbone that is unknown or cannot be built."""


class HubUnavailable(BackboneError):
    """A backbone whose weights are on a hub that cannot be reached."""


class BundleError(SbkaError):
    """A model bundle that is missing, damaged or of another form."""


class OutputError(SbkaError):
    """A file that cannot be written: a full disk, a read-only folder."""


class TrainingError(SbkaError):
    """Training that cannot start or cannot go on."""


class GalleryError(SbkaError):
    """A gallery workspace that is missing, damaged or empty."""


class GalleryBusy(GalleryError):
    """Another process is indexing the gallery now. Worth retrying."""

    retryable = True


class PruneRefused(GalleryError):
    """More than half of what a gallery holds of a source is not there: a drive may not be mounted."""


class MatchingError(GalleryError):
    """What a version of a gallery is matched by, a file beside its record, is missing or damaged."""


class JobError(SbkaError):
    """A background job that is unknown, refused or failed."""


class JobCancelled(JobError):
    """The job was cancelled."""


class LeaseLost(JobError):
    """Another process has taken over this one's part of a job: nothing may be written any more."""


class BrokerUnavailable(SbkaError):
    """Redis, through which work is handed out, cannot be reached now. Worth retrying."""

    retryable = True


class FilterError(SbkaError):
    """A filter of a search that cannot be understood, or that names an unknown column."""


class RerankerError(SbkaError):
    """A re-ranker that failed, or that gave something else than a number for each candidate."""


class EncoderMismatch(SbkaError):
    """A query encoder that is not the one the gallery was embedded with."""


class StoreError(SbkaError):
    """The vector store refused an operation."""


class CollectionMissing(StoreError):
    """The store has no such gallery or version."""


class StoreUnavailable(StoreError):
    """The store cannot be reached now. Worth retrying."""

    retryable = True
