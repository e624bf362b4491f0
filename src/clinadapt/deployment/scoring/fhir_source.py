"""Reads notes from FHIR ``DocumentReference`` and ``DiagnosticReport`` resources.

`fhir_files` finds the resources in NDJSON, JSON and Bundles, `fhir_documents` the text of each.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from clinadapt.data.tables.table import ROWS_AT_ONCE
from clinadapt.deployment.scoring import fhir_files
from clinadapt.deployment.scoring.fhir_documents import ACCEPTED, NotScorableError, text_of
from clinadapt.deployment.scoring.fhir_files import NOT_JSON, Binaries, Found, clean, neighbours
from clinadapt.deployment.scoring.file_source import contents_of, names_of
from clinadapt.deployment.scoring.interfaces import NAMELESS, NoteBatch, Position
from clinadapt.deployment.scoring.markup_to_text import check_converters

SUFFIXES = fhir_files.SUFFIXES
INVALID = "not valid JSON"
NOT_DOCUMENT = "not a DocumentReference or DiagnosticReport"
SCHEMA = dict.fromkeys(("id", "place", "text", "reason", "subject", "time"), pl.String)


class FhirNotes:
    """Source: FHIR resources; the id of a note is that of its resource.

    ``Binary`` resources are no notes: they are read as attachments of others.

    Parameters
    ----------
    files : sequence of Path
        NDJSON or JSON, or either compressed by gzip.
    convert : bool
        Whether to turn HTML and RTF into text where there is no plain text.

    Raises
    ------
    MissingExtraError
        The libraries that turn HTML and RTF into text are not installed.
    """

    integer_ids = False
    ids_repeat = True

    def __init__(self, files: Sequence[Path], convert: bool = False) -> None:
        if convert:
            check_converters()
        self.files, self.names, self.convert = files, names_of(files), convert
        read = [*files, *neighbours(files)]
        self.identity: dict[str, Any] = {"files": contents_of(read), "format": "fhir"}
        if convert:
            self.identity["convert"] = True

    @cached_property
    def binaries(self) -> Binaries:
        """Attachments that are resources of their own."""
        return Binaries(self.files)

    def count(self) -> int:
        """Return the number of resources that are no ``Binary``."""
        return self.binaries.others

    def read(self, after: Position | None) -> Iterator[NoteBatch]:
        """Yield the documents after a position: the numbers of file, line and entry."""
        first, skipped = 0, (0, 0.0)
        if after:  # version 0.1 knew no entries
            first, skipped = after["file"], (after["line"], after.get("entry", float("inf")))
        for number in range(first, len(self.files)):
            resources = (
                found
                for found in fhir_files.read_resources(self.files[number], skipped)
                if not fhir_files.is_binary(found.resource)
            )
            # Decoded one by one: a resource may also hold megabytes of PDF.
            while some := [
                (found.line, found.entry, self._note(found, self.names[number]))
                for found in islice(resources, ROWS_AT_ONCE)
            ]:
                notes = pl.DataFrame([row for *_, row in some], schema=SCHEMA, orient="row")
                line, entry, _ = some[-1]
                yield NoteBatch(notes, {"file": number, "line": line, "entry": entry})
            skipped = (0, 0.0)

    def _note(self, found: Found, name: str) -> tuple[str | None, ...]:
        """Return id, place, text, reason, subject and time of a resource."""
        resource = found.resource
        place = f"{name}:{found.line}" + (f", entry {found.entry}" if found.entry else "")
        if resource is NOT_JSON:
            return None, place, None, INVALID, None, None
        if not isinstance(resource, dict) or resource.get("resourceType") not in tuple(ACCEPTED):
            return None, place, None, NOT_DOCUMENT, None, None
        subject = resource.get("subject")
        time = resource.get("date") or resource.get("effectiveDateTime")
        reference = subject.get("reference") if isinstance(subject, dict) else None
        person = reference.rpartition("/")[2] if isinstance(reference, str) else None
        id, text, reason = resource.get("id"), None, None
        try:
            text = text_of(resource, self.binaries.get, self.convert)
        except NotScorableError as error:
            reason = str(error)
        if not isinstance(id, str) or not id.strip():
            id, reason = None, NAMELESS
        known = (id, person, time)
        id, person, time = (clean(value) if isinstance(value, str) else None for value in known)
        return id, place, None if text is None else clean(text), reason, person, time
