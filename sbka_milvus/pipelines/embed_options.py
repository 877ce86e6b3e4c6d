"""How photos are embedded."""

from __future__ import annotations

from dataclasses import dataclass

from sbka_milvus.images import DecodeLimits


@dataclass(frozen=True, slots=True)
class EmbedOptions:
    """How to embed; see :class:`~sbka_milvus.settings.IngestSettings`."""

    batch_size: int = 32
    decode_processes: int = 2
    shard_size: int = 4096
    max_pixels: int = 178_956_970
    decode_size: int = 224
    ahead: int = 4
    """Batches that may wait decoded: decoding stays ahead of the encoder, and memory stays bounded."""
    decode_seconds: float = 30.0
    decode_memory_mb: int = 2048
    max_bytes: int = 512 * 2**20
    ahead_bytes: int = 256 * 2**20
    """Bytes of pixels that may wait decoded: a few pictures of absurd proportions cannot be made small."""

    @property
    def limits(self) -> DecodeLimits:
        """What one photo may cost."""
        return DecodeLimits(
            self.decode_seconds, self.decode_memory_mb, self.max_bytes, self.max_pixels, self.decode_size
        )
