"""Bearer tokens: 256 random bits each, of which the file keeps a salted hash.

A slow hash such as scrypt is for secrets that can be guessed. Nobody guesses 256 random bits, and
a slow hash at every request would let anyone keep the server busy with wrong tokens.
"""

import hashlib
import hmac
import json
import os
import secrets
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from clinadapt.core.atomic_files import atomic_path
from clinadapt.core.errors import InputError
from clinadapt.core.permissions import OWNER_ONLY

PREFIX = "clinadapt_"  # lets a scanner for secrets find one that was left in a file


@dataclass(frozen=True)
class Entry:
    """A token as the file keeps it.

    Attributes
    ----------
    name : str
        Whose it is.
    salt, sha256 : str
        In hexadecimal; the hash is of salt and token.
    expires : str
        Time in ISO 8601, with its zone.
    """

    name: str
    salt: str
    sha256: str
    expires: str

    def __post_init__(self) -> None:
        bytes.fromhex(self.salt)
        if len(bytes.fromhex(self.sha256)) != hashlib.sha256().digest_size:
            raise ValueError("sha256 is no such hash")
        if datetime.fromisoformat(self.expires).tzinfo is None:
            raise ValueError("expires has no time zone")


class Tokens:
    """Those who may ask.

    Parameters
    ----------
    entries : list of Entry
    """

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries

    @classmethod
    def read(cls, file: Path) -> "Tokens":
        """Read a file of tokens.

        Raises
        ------
        InputError
            There is none, it is not one, or others than its owner can read it.
        """
        if not file.is_file():
            raise InputError(
                f"no file {file}: `clinadapt token new {file} --name NAME` makes a token"
            )
        if os.name == "posix" and file.stat().st_mode & 0o077:
            raise InputError(f"others can read {file}: chmod 600 {file}")
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            return cls([Entry(**entry) for entry in content["tokens"]])
        except (ValueError, KeyError, TypeError):
            raise InputError(
                f'{file} is not a file of tokens; expected {{"tokens": [{{"name": …, "salt": …, '
                '"sha256": …, "expires": …}]}'
            ) from None

    def write(self, file: Path) -> None:
        """Write the file, for its owner only; it is there whole or not at all."""
        content = {"tokens": [asdict(entry) for entry in self.entries]}
        with atomic_path(file, OWNER_ONLY) as partial:
            partial.write_text(json.dumps(content, indent=2), encoding="utf-8")

    def add(self, name: str, days: float) -> str:
        """Make a token; it is told this once and kept nowhere.

        Raises
        ------
        InputError
            The name is taken.
        """
        if any(entry.name == name for entry in self.entries):
            raise InputError(f"there is a token called {name!r}: choose another name, or delete it")
        token, salt = PREFIX + secrets.token_urlsafe(32), secrets.token_bytes(16)
        expires = datetime.now(UTC) + timedelta(days=days)
        told = expires.isoformat(timespec="seconds")
        self.entries.append(Entry(name, salt.hex(), _hash(salt, token), told))
        return token

    def find(self, token: str) -> Entry | None:
        """The entry of a token, expired or not.

        Every entry is compared, and each in constant time: how long it takes tells nothing.
        """
        found = None
        for entry in self.entries:
            if hmac.compare_digest(_hash(bytes.fromhex(entry.salt), token), entry.sha256):
                found = entry
        return found


def expired(entry: Entry) -> bool:
    """Whether a token's time is over."""
    return datetime.now(UTC) >= datetime.fromisoformat(entry.expires)


def _hash(salt: bytes, token: str) -> str:
    return hashlib.sha256(salt + token.encode("utf-8", "surrogateescape")).hexdigest()
