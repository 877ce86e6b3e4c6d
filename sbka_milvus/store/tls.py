"""Encrypted connections to a Milvus server: whom to trust, and who one is."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sbka_milvus.errors import InvalidValue

_SECURE = "https://"


@dataclass(frozen=True, slots=True)
class Tls:
    """What an ``https://`` address of a server needs beside itself; nothing where its certificate is a public one.

    Attributes:
        ca_file: PEM file of the authority that signed the server's certificate; empty: those that gRPC trusts.
        server_name: the name that the certificate is made out to; empty: that of the address.
        client_cert_file: PEM file of a certificate that the server asks for; with ``client_key_file`` and ``ca_file``.
        client_key_file: PEM file of its private key.

    Raises:
        InvalidValue: A certificate without its key, a key without its certificate, or either without the authority.
    """

    ca_file: str = ""
    server_name: str = ""
    client_cert_file: str = ""
    client_key_file: str = ""

    def __post_init__(self) -> None:
        if bool(self.client_cert_file) != bool(self.client_key_file):
            raise InvalidValue(
                "A client's certificate and its private key must be named together, and only one of them is.",
                "Set SBKA_MILVUS__CLIENT_CERT_FILE and SBKA_MILVUS__CLIENT_KEY_FILE.",
            )
        if self.client_cert_file and not self.ca_file:
            raise InvalidValue(
                "A client's certificate is named, and no authority of the server's certificate.",
                "Name its file in SBKA_MILVUS__CA_FILE.",
            )

    def options(self, uri: str) -> dict[str, Any]:
        """What pymilvus is told to open an address.

        Raises:
            InvalidValue: The address is not an encrypted one, or a file is not there.
        """
        if not any(getattr(self, field.name) for field in fields(self)):
            return {}
        if not uri.lower().startswith(_SECURE):
            raise InvalidValue(
                "Certificates are named for a Milvus whose address does not begin with https://, so nothing would be "
                "encrypted.",
                "Change SBKA_MILVUS__URI to https://, or leave the certificates out.",
            )
        for name in (self.ca_file, self.client_cert_file, self.client_key_file):
            if name and not Path(name).expanduser().is_file():
                raise InvalidValue(f"There is no file {name}.", "Correct the setting that names the certificate.")
        # pymilvus reads a client's certificate only where the authority stands under a name of its own.
        told = {
            "server_name": self.server_name,
            "ca_pem_path" if self.client_cert_file else "server_pem_path": self.ca_file,
            "client_pem_path": self.client_cert_file,
            "client_key_path": self.client_key_file,
        }
        return {
            key: value if key == "server_name" else str(Path(value).expanduser())
            for key, value in told.items()
            if value
        }


NO_TLS = Tls()
