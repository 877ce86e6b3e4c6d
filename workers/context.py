"""What a worker process keeps open: one model, one connection to Milvus. Made after the fork, never before it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sbka_milvus.embeddings import Gallery
from sbka_milvus.errors import StoreUnavailable
from sbka_milvus.factory import open_encoder, open_store
from sbka_milvus.places import milvus_address, milvus_place
from sbka_milvus.settings import Settings, load_settings

if TYPE_CHECKING:
    from sbka_milvus.encoders.encoder import BundleEncoder
    from sbka_milvus.store import MilvusGalleryStore

_ENCODERS = 2
"""The gate of an upgrade needs the old model and the new one."""


class Context:
    """The parts that tasks of one process share. Tasks run one at a time.

    Args:
        settings: of the process.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.workspace = settings.workspace.resolve()
        self._encoders: dict[str, BundleEncoder] = {}
        self._store: tuple[str, MilvusGalleryStore] | None = None

    def encoder(self, gallery: Gallery) -> BundleEncoder:
        """The encoder of a gallery's model, loaded once.

        Raises:
            BundleError: The gallery does not hold it.
        """
        # One fingerprint makes the same vectors, whichever gallery the bundle lies in.
        model = gallery.fingerprint
        if model not in self._encoders:
            limit_threads(self.settings.worker.threads)
            while len(self._encoders) >= _ENCODERS:
                self._encoders.pop(next(iter(self._encoders)))
            self._encoders[model] = open_encoder(gallery.model_folder, self.settings)
        return self._encoders[model]

    @contextmanager
    def store(self, gallery: Gallery) -> Iterator[MilvusGalleryStore]:
        """Milvus, kept open between tasks; one that is embedded in the gallery is given back, so that others get in.

        Raises:
            StoreUnavailable: It cannot be reached now; the next task connects anew.
        """
        address = milvus_address(self.settings, gallery)
        if self._store is None or self._store[0] != address:
            self.close_store()
            self._store = (address, open_store(gallery, self.settings))
        try:
            yield self._store[1]
        except StoreUnavailable:
            self.close_store()
            raise
        finally:
            if not address.lower().startswith(("http://", "https://")):
                self.close_store()

    @property
    def place(self) -> str:
        """Where indexes go, for the gallery's record of it."""
        return milvus_place(self.settings)

    def close_store(self) -> None:
        """Gives the connection back."""
        store, self._store = self._store, None
        if store is not None:
            store[1].close()


_contexts: dict[int, Context] = {}


def current_context() -> Context:
    """The context of this process; a forked child gets one of its own.

    Raises:
        SettingsError: A setting cannot be used.
    """
    own = os.getpid()
    if own not in _contexts:
        _contexts.clear()
        _contexts[own] = Context(load_settings())
    return _contexts[own]


def limit_threads(threads: int) -> None:
    """Keeps networks to so many threads, so that processes do not fight for cores; 0: all of them."""
    if threads:
        import torch

        torch.set_num_threads(threads)
