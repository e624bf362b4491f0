"""Bearer tokens of 256 random bits, stored as salted hashes.

A slow hash such as scrypt protects secrets that can be guessed. 256 random bits cannot be, and a
slow hash at every request would let anyone overload the server with wrong tokens.
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

PREFIX = "clinadapt_"  # lets secret scanners find a leaked token


@dataclass(frozen=True)
class StoredToken:
    """A stored token.

    Attributes
    ----------
    name : str
        Name of its holder.
    salt, sha256 : str
        Salt, and hash of salt and token; hexadecimal.
    expires : str
        Time of expiry, ISO 8601 with time zone.
    """

    name: str
    salt: str
    sha256: str
    expires: str

    def __post_init__(self) -> None:
        bytes.fromhex(self.salt)
        if len(bytes.fromhex(self.sha256)) != hashlib.sha256().digest_size:
            raise ValueError("sha256 does not have the length of a SHA-256 hash")
        if datetime.fromisoformat(self.expires).tzinfo is None:
            raise ValueError("expires has no time zone")


class ApiTokens:
    """The tokens that a server accepts.

    Parameters
    ----------
    entries : list of StoredToken
    """

    def __init__(self, entries: list[StoredToken]) -> None:
        self.entries = entries

    @classmethod
    def read(cls, file: Path) -> "ApiTokens":
        """Read a file of tokens.

        Raises
        ------
        InputError
            If the file does not exist, is not a token file, or is readable by other users.
        """
        if not file.is_file():
            raise InputError(
                f"no such file: {file}; `clinadapt token new {file} --name NAME` creates a token"
            )
        if os.name == "posix" and file.stat().st_mode & 0o077:
            raise InputError(f"other users can read {file}: run chmod 600 {file}")
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            return cls([StoredToken(**entry) for entry in content["tokens"]])
        except (ValueError, KeyError, TypeError):
            raise InputError(
                f'{file} is not a token file; expected {{"tokens": [{{"name": …, "salt": …, '
                '"sha256": …, "expires": …}]}'
            ) from None

    def write(self, file: Path) -> None:
        """Write the file atomically, readable by its owner only."""
        content = {"tokens": [asdict(entry) for entry in self.entries]}
        with atomic_path(file) as partial:
            partial.write_text(json.dumps(content, indent=2), encoding="utf-8")

    def add(self, name: str, days: float) -> str:
        """Add a new token and return it; only its hash is stored.

        Parameters
        ----------
        name : str
        days : float
            Days until it expires.

        Raises
        ------
        InputError
            If there is a token with this name.
        """
        if any(entry.name == name for entry in self.entries):
            raise InputError(
                f"there is already a token called {name!r}: choose another name, or delete it"
            )
        token, salt = PREFIX + secrets.token_urlsafe(32), secrets.token_bytes(16)
        expires = datetime.now(UTC) + timedelta(days=days)
        entry = StoredToken(
            name, salt.hex(), _hash(salt, token), expires.isoformat(timespec="seconds")
        )
        self.entries.append(entry)
        return token

    def find(self, token: str) -> StoredToken | None:
        """Return the entry of a token, expired or not; None if there is none.

        Every entry is compared, and in constant time, so the duration reveals nothing.
        """
        match = None
        for entry in self.entries:
            if hmac.compare_digest(_hash(bytes.fromhex(entry.salt), token), entry.sha256):
                match = entry
        return match


def expired(entry: StoredToken) -> bool:
    """Return whether a token has expired."""
    return datetime.now(UTC) >= datetime.fromisoformat(entry.expires)


def _hash(salt: bytes, token: str) -> str:
    return hashlib.sha256(salt + token.encode("utf-8", "surrogateescape")).hexdigest()
