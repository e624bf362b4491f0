"""Runs of a study as runs of MLflow: an optional extra, `clinadapt[mlflow]`.

Settings, scores, costs and training history are logged; no note, no text of one, no path of this
machine and no name of its user.
"""

import math
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import urlsplit

from clinadapt.core.errors import InputError, MissingExtraError
from clinadapt.features.encoders.catalog import is_offline
from clinadapt.study import result_files
from clinadapt.study.energy import in_words
from clinadapt.study.refits import SUBSTUDIES

LOCAL = "local"
DATABASE = "mlflow.db"
# No artifact is logged. The default would be a path of this machine.
ARTIFACTS = "mlflow-artifacts:/"
AT_ONCE = 1000  # metrics that a request may hold
LONGEST = 5000  # letters that a tag may hold
STATUS = {"done": "FINISHED", "failed": "FAILED", "skipped": "FAILED"}
ABSOLUTE = re.compile(r"(?<![\w:/.~-])(?:~|[A-Za-z]:)?[/\\][^\s'\"(),;]+")


class Experiment:
    """An experiment in a store, which takes the result of each run once.

    Parameters
    ----------
    uri : str
        See `store_uri`.
    name : str
    """

    def __init__(self, uri: str, name: str) -> None:
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
        from mlflow.tracking import MlflowClient

        local = uri.startswith("sqlite:")
        if local:
            _check_file(Path(uri.removeprefix("sqlite:///")))
            SqlAlchemyStore(uri, ARTIFACTS)  # or a new file's first experiment were at a path
        self._client = MlflowClient(uri)
        known = self._client.get_experiment_by_name(name)
        self._id = (
            self._client.create_experiment(name, ARTIFACTS if local else None)
            if known is None
            else known.experiment_id
        )
        self._runs = self._known()

    def _known(self) -> dict[str, Any]:
        """Runs of the experiment, by the id of their run."""
        found, page = [], None
        while page is None or page.token:
            page = self._client.search_runs(
                [self._id], max_results=AT_ONCE, page_token=page and page.token
            )
            found += page
        return {run.data.tags["run"]: run for run in found if "run" in run.data.tags}

    def log(self, result: Mapping[str, Any]) -> None:
        """Log the result of a run, unless the store has it."""
        from mlflow.entities import Metric, Param, RunTag

        start = datetime.fromisoformat(result["environment"]["started"])
        seconds = (result.get("cost") or {}).get("seconds", 0.0)
        # All from the result: what is logged again after a kill is equal, and so kept once.
        started, ended = (int(1000 * (start.timestamp() + extra)) for extra in (0, seconds))
        tags = _tags(result)
        run = self._runs.get(result["id"])
        if run is None:
            title = f"{tags['configuration']} · seed {result['seed']}"
            run = {"run": result["id"]}
            run = self._client.create_run(self._id, started, run, title)
        elif run.info.status != "RUNNING":
            if run.data.tags.get("status") == result["status"]:
                return
            self._client.update_run(run.info.run_id, status="RUNNING")  # until all is told anew
        if "reason" in run.data.tags and "reason" not in tags:
            self._client.delete_tag(run.info.run_id, "reason")
        params = [Param(key, value) for key, value in _params(result).items()]
        labels = [RunTag(key, value) for key, value in tags.items()]
        self._client.log_batch(run.info.run_id, params=params, tags=labels)
        points = [Metric(key, value, started, step) for key, value, step in _metrics(result)]
        for first in range(0, len(points), AT_ONCE):
            self._client.log_batch(run.info.run_id, metrics=points[first : first + AT_ONCE])
        self._client.set_terminated(run.info.run_id, STATUS[result["status"]], ended)


def track(folder: Path, store: str) -> int:
    """Log every run of a study's folder that the store has not got yet.

    Its experiment has the name of the study and of its notes and split.

    Parameters
    ----------
    folder : path
    store : str
        See `store_uri`.

    Returns
    -------
    int
        How many runs the folder holds.

    Raises
    ------
    InputError
        The folder holds no study, or the store does not answer; or see `store_uri`.
    MissingExtraError
        MLflow is not installed.
    """
    about = result_files.read_result_file(folder / "study.json")
    if about is None:
        raise InputError(f"{folder} holds no study (no study.json)")
    uri = store_uri(store, folder)
    # Read when MLflow is imported, and at every call after that.
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    try:
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise MissingExtraError(
            "logging to MLflow needs its library: pip install 'clinadapt[mlflow]'"
        ) from None
    results = _results(folder)
    try:
        experiment = Experiment(uri, f"{about['name']} {about['data']['fingerprint'][:8]}")
        for result in results.values():
            experiment.log(result)
    except MlflowException as error:
        raise InputError(f"MLflow: {error}") from None
    return len(results)


def _results(folder: Path) -> dict[str, dict[str, Any]]:
    """Results of the study's runs and of those on some of its notes, by the id of the run."""
    results = {}
    for root in (folder, *(one for kind in SUBSTUDIES for one in sorted(folder.glob(f"{kind}/*")))):
        for path in sorted(root.glob(f"{result_files.RUNS}/*/{result_files.RESULT}")):
            result = result_files.read_result_file(path)
            if result is not None:
                results[result["id"]] = result
    return results


def store_uri(store: str, out: Path) -> str:
    """Where runs are logged, as MLflow spells it.

    Parameters
    ----------
    store : str
        "local", a file ``mlflow.db`` in the study's folder; ``sqlite:///FILE``; or a server's
        http address.
    out : path
        The study's folder.

    Raises
    ------
    InputError
        It is none of these, or a server in offline mode.
    """
    if store == LOCAL:
        return f"sqlite:///{(out / DATABASE).resolve().as_posix()}"
    scheme = urlsplit(store).scheme
    if scheme == "sqlite":
        return store
    if scheme not in ("http", "https"):
        raise InputError(
            f"no MLflow store {store!r}: expected local, sqlite:///FILE or a server's http address"
        )
    if is_offline():
        raise InputError(
            "offline mode: an MLflow server may not be reached; use local or sqlite:///FILE, or "
            "give this command where that is allowed"
        )
    return store


def _check_file(path: Path) -> None:
    """Say at once what is wrong with a database; MLflow would try ten times, for minutes."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("BEGIN IMMEDIATE")
    except (OSError, sqlite3.Error) as error:
        raise InputError(f"MLflow: {path} cannot be written as a database: {error}") from None


def _params(result: Mapping[str, Any]) -> dict[str, str]:
    return {name: _portable(str(leaf), result) for name, leaf in _leaves(result["settings"])}


def _tags(result: Mapping[str, Any]) -> dict[str, str]:
    cost = result.get("cost") or {}
    said = {
        "configuration": result["configuration"],
        "configuration_id": result["configuration_id"],
        "run": result["id"],
        "status": result["status"],
        "reason": result["reason"],
        "notes": result["data"]["notes"],
        "synthetic": result["data"]["synthetic"],
        "data_fingerprint": result["data"]["fingerprint"],
        "encoder_sha256": result.get("encoder_sha256"),
        "vectors_sha256": result.get("vectors_sha256"),
        "memory_savings": "; ".join(cost.get("memory_savings") or ()) or None,
        "energy": in_words(cost["energy"]) if cost.get("energy") else None,
        "clinadapt": result["environment"]["versions"]["clinadapt"],
    }
    return {
        name: _portable(str(value), result)[:LONGEST]
        for name, value in said.items()
        if value is not None
    }


def _metrics(result: Mapping[str, Any]) -> Iterator[tuple[str, float, int]]:
    """Names, values and steps; what is undefined is left out."""
    for part, key in (("test", "metrics"), ("validation", "validation_metrics")):
        for name, score in (result.get(key) or {}).items():
            for end, suffix in (("value", ""), ("low", "_low"), ("high", "_high")):
                if _is_number(score.get(end)):
                    yield f"{part}/{name}{suffix}", score[end], 0
    if "labelled" in result["data"]:
        yield "data/labelled", result["data"]["labelled"], 0
    cost = dict(result.get("cost") or {})
    energy = cost.pop("energy", None)
    if energy is not None:  # an estimate is called one
        cost[f"energy {energy['kind']}"] = energy
    for name, value in _leaves(cost, "cost/"):
        if _is_number(value):
            yield name, value, 0
    for epoch in result.get("training") or ():
        for name, value in _leaves(epoch, "training/"):
            if _is_number(value) and name != "training/epoch":
                yield name, value, epoch["epoch"]


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Values that are no mapping and no list, with their names joined by slashes."""
    if isinstance(value, Mapping | list):
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        inner = f"{name}/" if name and not name.endswith("/") else name
        for key, item in pairs:
            yield from _leaves(item, f"{inner}{key}")
    else:
        yield name, value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _portable(text: str, result: Mapping[str, Any]) -> str:
    """A text without paths of this machine: of each the last part is left."""
    for name in ("encoder", "vectors"):
        folder = str(result["settings"].get(name) or "")
        if PurePath(folder).is_absolute():
            text = text.replace(folder, PurePath(folder).name)
    if Path.home().name:  # not the root of all paths
        text = text.replace(str(Path.home()), "~")
    return ABSOLUTE.sub(lambda found: PurePath(found.group()).name, text)
