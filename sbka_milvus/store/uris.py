"""URIs as Milvus can keep them: text in UTF-8.

A file name on Linux is bytes, and Python shows bytes that are not UTF-8 as lone surrogates, which no VARCHAR
holds. Such a URI is kept as a prefix and its bytes, percent-encoded (RFC 3986). All others are kept as they are,
so that other readers of the collection see the plain path.
"""

from __future__ import annotations

from urllib.parse import quote_from_bytes, unquote_to_bytes

from sbka_milvus.errors import InvalidValue

BYTES_PREFIX = "sbka-bytes:"

# Printable ASCII but for the percent sign: only what must be escaped is.
_PLAIN = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


def encode_uri(uri: str) -> str:
    """A URI as text in UTF-8; :func:`decode_uri` gives it back.

    Raises:
        InvalidValue: It has surrogates that stand for no byte of a file name.

    >>> encode_uri("cats/1.jpg"), encode_uri("caf\\udce9.jpg")
    ('cats/1.jpg', 'sbka-bytes:caf%E9.jpg')
    """
    if not uri.startswith(BYTES_PREFIX) and _is_text(uri):
        return uri
    try:
        raw = uri.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raw = b""
    # Escaped bytes that together are valid UTF-8 would come back as other characters; os.fsdecode never makes them.
    if raw.decode("utf-8", "surrogateescape") != uri:
        raise InvalidValue(f"{uri!r} is not how Python shows a file name: its surrogates are wrong.", "Rename it.")
    return BYTES_PREFIX + quote_from_bytes(raw, safe=_PLAIN)


def decode_uri(stored: str) -> str:
    """The URI that was encoded.

    >>> decode_uri("sbka-bytes:caf%E9.jpg") == "caf\\udce9.jpg"
    True
    """
    if not stored.startswith(BYTES_PREFIX):
        return stored
    return unquote_to_bytes(stored.removeprefix(BYTES_PREFIX)).decode("utf-8", "surrogateescape")


def _is_text(uri: str) -> bool:
    try:
        uri.encode()
    except UnicodeEncodeError:
        return False
    return True
