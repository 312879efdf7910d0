"""Content credentials (C2PA): a signed note in the file of how a picture came to be, which other programs read.

The Coalition for Content Provenance and Authenticity, Technical Specification 2: the claim holds one assertion,
``c2pa.actions``, that the picture was created by this program, with IPTC's digital source type. It is signed with the
certificate of :mod:`zeuxis.provenance.certificate`, which no list of trusted signers holds: readers find the signature
whole, the pixels unchanged since, and the signer unknown. The reading and the signing are those of ``c2pa-python``,
kept from the network: no certificate is looked up, no remote credentials are fetched, nobody is asked for the time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

from zeuxis.errors import UsageError, ZeuxisError
from zeuxis.files import open_regular
from zeuxis.provenance.certificate import read_certificate, require
from zeuxis.version import __version__

LIBRARY = "c2pa"
ALONE = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    "builder": {"thumbnail": {"enabled": False}},
}
KINDS = {".png": "image/png", ".webp": "image/webp", ".gif": "image/gif", ".mp4": "video/mp4", ".jpg": "image/jpeg",
         ".jpeg": "image/jpeg"}  # fmt: skip
NOTHING = "ManifestNotFound"  # how the library begins to say that a file has no credentials
UNKNOWN_SIGNER = "signingCredential.untrusted"


@dataclass(frozen=True)
class Credentials:
    """What a file's credentials say, and whether they hold.

    ``sound`` is whether the signature is whole and the file unchanged; ``problems`` are the codes of what is not so;
    ``trusted`` whether the signer is on a list of trusted ones, which a certificate of one's own is not.
    """

    made_by: str
    source_type: str | None
    signer: str
    sound: bool
    trusted: bool
    problems: tuple[str, ...]

    def __str__(self) -> str:
        whole = "signature whole, picture unchanged" if self.sound else f"NOT VALID: {', '.join(self.problems)}"
        kind = "no source type" if self.source_type is None else self.source_type.rpartition("/")[2]
        return f"{kind} by {self.made_by}; {whole}; signer {self.signer}{'' if self.trusted else ' (known to nobody)'}"


def ready() -> None:
    """Raise UsageError where nothing can be signed: without the library, or without a certificate."""
    require(LIBRARY)
    read_certificate()


def signed(content: bytes, suffix: str, source_type: str) -> bytes:
    """The file ``content`` of the kind that ``suffix`` says with credentials in it, that it is of ``source_type``.

    Raises UsageError as :func:`ready`, ZeuxisError where the library refuses.
    """
    ready()
    c2pa, certificate = import_module(LIBRARY), read_certificate()
    claim = {
        "claim_generator_info": [{"name": "Zeuxis", "version": __version__}],
        "assertions": [
            {
                "label": "c2pa.actions.v2",
                "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": source_type}]},
            }
        ],
    }
    made = BytesIO()
    try:
        with c2pa.Context(c2pa.Settings.from_dict(ALONE)) as context:
            info = c2pa.C2paSignerInfo(b"es256", certificate.chain.encode(), certificate.key.encode(), None)
            with c2pa.Signer.from_info(info) as signer, c2pa.Builder(json.dumps(claim), context) as builder:
                builder.sign(signer, KINDS[suffix], BytesIO(content), made)
    except c2pa.C2paError as error:
        raise ZeuxisError(f"content credentials could not be made: {error}; zeuxis credentials --new") from None
    return made.getvalue()


def holds_credentials(path: Path) -> bool:
    """Whether a file seems to hold credentials: looked for by their label alone, so that no library is needed."""
    with open_regular(path) as file:
        before = b""
        while part := file.read(1 << 20):
            if b"c2pa.claim" in before + part:
                return True
            before = part[-16:]
    return False


def read_credentials(path: Path) -> Credentials | None:
    """What the credentials of a file say; None where it has none.

    Raises UsageError where it has and the library is not installed, or the file is of a kind that has none.
    """
    if not holds_credentials(path):
        return None
    require(LIBRARY)
    if path.suffix.lower() not in KINDS:
        raise UsageError(f"{path}: credentials are read of {', '.join(KINDS)}: this file is of another kind")
    c2pa = import_module(LIBRARY)
    try:
        with (
            c2pa.Context(c2pa.Settings.from_dict(ALONE)) as context,
            open_regular(path) as file,
            c2pa.Reader(KINDS[path.suffix.lower()], file, context=context) as reader,
        ):
            return told(json.loads(reader.json()))
    except c2pa.C2paError as error:
        if str(error).startswith(NOTHING):
            return None
        return Credentials("nobody known", None, "unknown", False, False, (" ".join(str(error).split()),))


def told(found: dict[str, Any]) -> Credentials:
    """What the library's report says of the newest credentials, which anyone may have written."""
    try:
        return _told(found)
    except (KeyError, TypeError, AttributeError):
        return Credentials("nobody known", None, "unknown", False, False, ("the report is of an unknown form",))


def _told(found: dict[str, Any]) -> Credentials:
    manifest = found["manifests"][found["active_manifest"]]
    actions = [
        action
        for each in manifest.get("assertions", ())
        if each["label"].startswith("c2pa.actions")
        for action in each["data"]["actions"]
    ]
    kinds = [action["digitalSourceType"] for action in actions if "digitalSourceType" in action]
    makers = [f"{each['name']} {each.get('version', '')}".strip() for each in manifest.get("claim_generator_info", ())]
    signature = manifest.get("signature_info", {})
    codes = [status["code"] for status in found.get("validation_status", ())]
    problems = tuple(code for code in codes if code != UNKNOWN_SIGNER)
    signer = str(signature.get("common_name") or signature.get("issuer") or "unknown")
    trusted = found.get("validation_state") == "Trusted"
    return Credentials(", ".join(makers), kinds[0] if kinds else None, signer, not problems, trusted, problems)
