"""Log a study's runs to MLflow: an optional extra, `clinadapt[mlflow]`.

Settings, scores, costs and training history are logged; note texts, paths on this machine and the
user's name are not.
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
from clinadapt.core.output_guard import Output, check_outputs, sqlite_tables
from clinadapt.core.permissions import OWNER_ONLY
from clinadapt.features.encoders.catalog import is_offline
from clinadapt.study import result_files
from clinadapt.study.energy import in_words
from clinadapt.study.refits import SUBSTUDIES

LOCAL = "local"
DATABASE = "mlflow.db"
# No artifact is logged; the default location would be a path on this machine.
ARTIFACTS = "mlflow-artifacts:/"
AT_ONCE = 1000  # most metrics in one request
LONGEST = 5000  # most characters in a tag
STATUS = {"done": "FINISHED", "failed": "FAILED", "skipped": "FAILED"}
ABSOLUTE = re.compile(r"(?<![\w:/.~-])(?:~|[A-Za-z]:)?[/\\][^\s'\"(),;]+")


class Experiment:
    """An experiment in an MLflow store; each run's result is logged once.

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
            SqlAlchemyStore(uri, ARTIFACTS)  # else its default experiment would hold a path
        self._client = MlflowClient(uri)
        known = self._client.get_experiment_by_name(name)
        self._id = (
            self._client.create_experiment(name, ARTIFACTS if local else None)
            if known is None
            else known.experiment_id
        )
        self._runs = self._known()

    def _known(self) -> dict[str, Any]:
        """Return the experiment's MLflow runs, by the id of the study's run."""
        logged: list[Any] = []
        token: str | None = ""
        while token is not None:
            page = self._client.search_runs(
                [self._id], max_results=AT_ONCE, page_token=token or None
            )
            logged += page
            token = page.token or None
        # Version 0.1 named the tag "cell".
        ids = ((run.data.tags.get("run") or run.data.tags.get("cell"), run) for run in logged)
        return {run_id: run for run_id, run in ids if run_id is not None}

    def log(self, result: Mapping[str, Any]) -> None:
        """Log the result of a run, unless the store already has it."""
        from mlflow.entities import Metric, Param, RunTag

        start = datetime.fromisoformat(result["environment"]["started"])
        seconds = (result.get("cost") or {}).get("seconds", 0.0)
        # Times come from the result: logging again after an interruption writes equal values.
        started, ended = (int(1000 * (start.timestamp() + extra)) for extra in (0, seconds))
        tags = _tags(result)
        run = self._runs.get(result["id"])
        if run is None:
            title = f"{tags['configuration']} · seed {result['seed']}"
            run = self._client.create_run(self._id, started, {"run": result["id"]}, title)
        elif run.info.status != "RUNNING":
            if run.data.tags.get("status") == result["status"]:
                return
            self._client.update_run(run.info.run_id, status="RUNNING")  # until everything is logged
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
    """Log every run of a study's folder that is not in the store yet.

    The experiment is named after the study and the fingerprint of its notes and split.

    Parameters
    ----------
    folder : path
        The study's folder.
    store : str
        See `store_uri`.

    Returns
    -------
    int
        Number of runs in the folder.

    Raises
    ------
    InputError
        The folder holds no study, or the store cannot be used; see also `store_uri`.
    MissingExtraError
        MLflow is not installed.
    """
    about = result_files.read_result_file(folder / "study.json")
    if about is None:
        raise InputError(f"{folder} holds no study (no study.json)")
    uri = store_uri(store, folder)
    # MLflow reads these on import and at each call.
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
    """Return the results of a study's runs and of its refits, by the id of the run."""
    results = {}
    for root in (folder, *(one for kind in SUBSTUDIES for one in sorted(folder.glob(f"{kind}/*")))):
        for path in sorted(root.glob(f"{result_files.RUNS}/*/{result_files.RESULT}")):
            result = result_files.read_result_file(path)
            if result is not None:
                results[result["id"]] = result
    return results


def store_uri(store: str, out: Path) -> str:
    """Return the MLflow tracking URI of a store.

    Parameters
    ----------
    store : str
        "local" for the file ``mlflow.db`` in the study's folder, ``sqlite:///FILE``, or the http
        address of a server.
    out : path
        The study's folder.

    Raises
    ------
    InputError
        The store is none of these, or is a server in offline mode.
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
            "offline mode does not allow logging to an MLflow server: use local or "
            "sqlite:///FILE, or turn offline mode off"
        )
    return store


def _check_file(path: Path) -> None:
    """Check that a database is MLflow's, or new, and can be written.

    MLflow would retry for minutes before failing, and add its tables to any other database.
    """
    try:
        check_outputs([Output(path, "--store", lambda path: "experiments" in sqlite_tables(path))])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(OWNER_ONLY)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("BEGIN IMMEDIATE")
    except (OSError, sqlite3.Error) as error:
        raise InputError(f"MLflow: {path} cannot be written as a database: {error}") from None


def _params(result: Mapping[str, Any]) -> dict[str, str]:
    return {name: _portable(str(leaf), result) for name, leaf in _leaves(result["settings"])}


def _tags(result: Mapping[str, Any]) -> dict[str, str]:
    cost = result.get("cost") or {}
    tags = {
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
        for name, value in tags.items()
        if value is not None
    }


def _metrics(result: Mapping[str, Any]) -> Iterator[tuple[str, float, int]]:
    """Yield names, values and steps; undefined values are left out."""
    for part, key in (("test", "metrics"), ("validation", "validation_metrics")):
        for name, score in (result.get(key) or {}).items():
            for end, suffix in (("value", ""), ("low", "_low"), ("high", "_high")):
                if _is_number(score.get(end)):
                    yield f"{part}/{name}{suffix}", score[end], 0
    if "labelled" in result["data"]:
        yield "data/labelled", result["data"]["labelled"], 0
    cost = dict(result.get("cost") or {})
    energy = cost.pop("energy", None)
    if energy is not None:  # the name shows whether it is measured or estimated
        cost[f"energy {energy['kind']}"] = energy
    for name, value in _leaves(cost, "cost/"):
        if _is_number(value):
            yield name, value, 0
    for epoch in result.get("training") or ():
        for name, value in _leaves(epoch, "training/"):
            if _is_number(value) and name != "training/epoch":
                yield name, value, epoch["epoch"]


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the scalar values of nested mappings and lists, names joined by slashes."""
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
    """Return a text with each path on this machine replaced by its last part."""
    for name in ("encoder", "vectors"):
        folder = str(result["settings"].get(name) or "")
        if PurePath(folder).is_absolute():
            text = text.replace(folder, PurePath(folder).name)
    if Path.home().name:  # a home of "/" would match every path
        text = text.replace(str(Path.home()), "~")
    return ABSOLUTE.sub(lambda path: PurePath(path.group()).name, text)
