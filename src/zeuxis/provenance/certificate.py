"""A certificate of one's own, made on this machine, for content credentials: nobody vouches for it.

C2PA asks that the one who signs is not the one who vouches: an authority is made, signs one certificate, and its key is
thrown away. Neither names a person or a machine, unless a name is given.
"""

from __future__ import annotations

import datetime
import os
import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from zeuxis.errors import UsageError, ZeuxisError, mend_of
from zeuxis.files import BINARY, at_home, draft_beside, read_bytes

MEND = "pip install c2pa-python cryptography"
VARIABLE = "ZEUXIS_CREDENTIALS"
CERTIFICATE, KEY_FILE = "certificate.pem", "key.pem"
NAME = "Zeuxis, self-made certificate"
YEARS = 10
MOST = 1 << 16  # bytes of either file


@dataclass(frozen=True)
class Certificate:
    """What signs: the chain of certificates and the private key, as PEM text."""

    chain: str
    key: str

    def facts(self) -> dict[str, str]:
        """Whose it is, its SHA-256, and the day after which it says nothing."""
        require("cryptography")
        x509, hashes = (import_module(f"cryptography.{name}") for name in ("x509", "hazmat.primitives.hashes"))
        found = x509.load_pem_x509_certificates(self.chain.encode())[0]
        return {
            "name": str(found.subject.rfc4514_string()),
            "sha256": found.fingerprint(hashes.SHA256()).hex(),
            "until": found.not_valid_after_utc.date().isoformat(),
        }


def require(module: str) -> None:
    """Raise UsageError where ``module`` is not installed."""
    if find_spec(module) is None:
        raise UsageError(f"content credentials need {module}, which is not installed: {MEND}")


def folder() -> Path:
    """Where the certificate and its key lie: ``$ZEUXIS_CREDENTIALS``, or the platform's folder for settings."""
    if chosen := os.environ.get(VARIABLE):
        return at_home(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA", Path.home() / "AppData" / "Roaming")) / "zeuxis"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "zeuxis"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "zeuxis"


def read_certificate() -> Certificate:
    """The certificate that is there.

    Raises UsageError where there is none.
    """
    try:
        chain, key = (read_bytes(folder() / name, MOST).decode("ascii") for name in (CERTIFICATE, KEY_FILE))
    except (OSError, ValueError):
        raise UsageError(f"there is no certificate in {folder()}: make one with zeuxis credentials") from None
    return Certificate(chain, key)


def is_there() -> bool:
    """Whether a certificate was made, or part of one."""
    return any((folder() / name).exists() for name in (CERTIFICATE, KEY_FILE))


def make_certificate(name: str = NAME) -> Certificate:
    """Make a certificate for ``name`` and write it, the key so that its owner alone may read it.

    Raises UsageError without ``cryptography``, ZeuxisError where it cannot be written.
    """
    require("cryptography")
    made = _issued(name)
    try:
        folder().mkdir(parents=True, exist_ok=True)
        for file, text, permissions in ((KEY_FILE, made.key, 0o600), (CERTIFICATE, made.chain, 0o666)):
            draft = draft_beside(folder() / file)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY, permissions), "wb") as out:
                out.write(text.encode("ascii"))
            draft.replace(folder() / file)
    except OSError as error:
        raise ZeuxisError(f"cannot write {folder()}: {error.strerror}; {mend_of(error, f'set {VARIABLE}')}") from None
    return made


def _issued(name: str) -> Certificate:
    """A certificate for ``name`` of an authority that is made for it and forgotten."""
    x509, oid = import_module("cryptography.x509"), import_module("cryptography.x509.oid")
    ec = import_module("cryptography.hazmat.primitives.asymmetric.ec")
    hashes = import_module("cryptography.hazmat.primitives.hashes")
    texts = import_module("cryptography.hazmat.primitives.serialization")
    begin = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)  # of clocks that are not quite right

    def signed(subject: str, public: Any, issuer: str, key: Any, authority: bool) -> Any:
        names = [x509.Name([x509.NameAttribute(oid.NameOID.COMMON_NAME, each)]) for each in (subject, issuer)]
        made = x509.CertificateBuilder().subject_name(names[0]).issuer_name(names[1]).public_key(public)
        made = made.serial_number(x509.random_serial_number()).not_valid_before(begin)
        made = made.not_valid_after(begin + datetime.timedelta(days=365 * YEARS))
        made = made.add_extension(x509.BasicConstraints(ca=authority, path_length=0 if authority else None), True)
        uses = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
             "decipher_only"), False,
        )  # fmt: skip
        uses |= {"digital_signature": not authority, "key_cert_sign": authority, "crl_sign": authority}
        made = made.add_extension(x509.KeyUsage(**uses), True)
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
        made = made.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False)
        if not authority:  # the use that C2PA asks for
            made = made.add_extension(x509.ExtendedKeyUsage([oid.ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        return made.sign(key, hashes.SHA256())

    root, own = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer = "Zeuxis, authority of one certificate"  # another name than its own, or readers take it for an authority
    try:
        chain = [
            signed(name, own.public_key(), issuer, root, False),
            signed(issuer, root.public_key(), issuer, root, True),
        ]
    except ValueError as error:
        raise UsageError(f"'{name}' cannot be the name in a certificate: {error}; give another") from None
    key = own.private_bytes(texts.Encoding.PEM, texts.PrivateFormat.PKCS8, texts.NoEncryption())
    return Certificate("".join(one.public_bytes(texts.Encoding.PEM).decode() for one in chain), key.decode())
