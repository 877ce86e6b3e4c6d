"""What to tell a user whose backbone's weights cannot be fetched."""

from __future__ import annotations

from sbka_milvus.encoders.spec import BackboneSpec
from sbka_milvus.errors import BackboneError, HubUnavailable

_NETWORK_WORDS = (
    "connect", "connection", "resolve", "offline", "download", "timed out", "timeout", "proxy", "network", "ssl",
    "max retries", "localentrynotfound", "cannot find the requested files", "hub",
)  # fmt: skip


def explain_hub_failure(spec: BackboneSpec, error: Exception) -> BackboneError:
    """The typed error for a failure while a backbone was built with weights from a hub.

    Returns:
        HubUnavailable where the failure reads like one of the network, else BackboneError with the library's own words.
    """
    chain: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(chain) < 8:
        chain.append(f"{type(cause).__name__}: {cause}")
        cause = cause.__cause__ or cause.__context__
    text = " ".join(chain).lower()
    if any(word in text for word in _NETWORK_WORDS) or isinstance(error, OSError):
        return HubUnavailable(
            f"The weights of {spec} could not be fetched from their hub.",
            "Either connect this machine to the network and run again, or fetch the file elsewhere and pass it: "
            f"sbka model import --backbone {spec.library}:{spec.model} --weights FILE -o model/",
        )
    first_line = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
    return BackboneError(
        f"{spec} cannot be built: {first_line}.", "Check its name and options, or pass a file of weights."
    )
