"""Write and read tables of predictions, with one line per note."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs
import pyarrow.parquet as pq
from numpy.typing import NDArray

from clinadapt.core.atomic_files import atomic_path
from clinadapt.core.errors import InputError
from clinadapt.data.labels import Labels, Task, decode
from clinadapt.data.text_store import Texts

PREDICTIONS = "predictions.parquet"
NOTES_AT_ONCE = 2**16


def prediction_frames(
    ids: Texts,
    part: str,
    labels: Labels,
    probabilities: NDArray[np.float64],
    predicted: NDArray[np.bool_],
) -> Iterator[pl.DataFrame]:
    """Yield predictions of a part in blocks of notes: id, part, label, prediction, prob_<class>.

    Labels are text, or lists of text in a multi-label task.
    """
    for start in range(0, len(ids), NOTES_AT_ONCE):
        block = slice(start, start + NOTES_AT_ONCE)
        named = list(ids[block])
        yield pl.DataFrame(
            {
                "id": pl.Series(named, dtype=pl.String),
                "part": [part] * len(named),
                "label": decode_text(labels.task, labels.classes, labels.matrix[block]),
                "prediction": decode_text(labels.task, labels.classes, predicted[block]),
                **probability_columns(labels.classes, probabilities[block]),
            }
        )


def decode_text(task: Task, classes: NDArray[Any], matrix: NDArray[np.bool_]) -> pl.Series:
    """Return the class of each note as text, or its classes as a list of text if multi-label."""
    decoded = decode(task, classes, matrix)
    if task == "multilabel":
        return pl.Series([[str(name) for name in row] for row in decoded], dtype=pl.List(pl.String))
    return pl.Series([str(name) for name in decoded.tolist()], dtype=pl.String)


_escaped = (
    pl.element()
    .str.replace_all("\\", r"\\", literal=True)
    .str.replace_all("|", r"\|", literal=True)
)
JOINED = cs.by_dtype(pl.List(pl.String)).list.eval(_escaped).list.join("|")


def joined(names: Iterable[str]) -> str:
    r"""Return the classes of a note as ``a|b``; a ``|`` or ``\`` in a name follows a ``\``."""
    return "|".join(name.replace("\\", r"\\").replace("|", r"\|") for name in names)


def probability_columns(
    classes: NDArray[Any], probabilities: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Return one column of probabilities per class, named ``prob_<class>``."""
    return {f"prob_{name}": probabilities[:, column] for column, name in enumerate(classes)}


def write_predictions(frames: Iterable[pl.DataFrame], path: Path, about: Mapping[str, str]) -> None:
    """Write predictions frame by frame, atomically, to a file that only its owner can read.

    Parameters
    ----------
    frames : iterable of polars.DataFrame
        At least one frame, all with the same columns.
    path : Path
        File with the suffix ``.csv``, or else Parquet, where each frame becomes a row group. In CSV
        the labels of a multi-label note are written by `joined`.
    about : mapping of str to str
        Key-value metadata of a Parquet file; ignored for CSV.
    """
    write = _write_csv if path.suffix == ".csv" else _write_parquet
    with atomic_path(path) as partial:  # predictions are patient data
        write(frames, partial, about)


def _write_csv(frames: Iterable[pl.DataFrame], path: Path, about: Mapping[str, str]) -> None:
    with path.open("wb") as file:
        for number, frame in enumerate(frames):
            flat = frame.with_columns(JOINED)
            flat.write_csv(file, include_header=number == 0)


def _write_parquet(frames: Iterable[pl.DataFrame], path: Path, about: Mapping[str, str]) -> None:
    writer = None
    try:
        for frame in frames:
            table = frame.to_arrow()
            if writer is None:
                extra = {key.encode(): value.encode() for key, value in about.items()}
                known = table.schema.metadata or {}
                writer = pq.ParquetWriter(path, table.schema.with_metadata({**known, **extra}))
            writer.write_table(table.replace_schema_metadata(writer.schema.metadata))
    finally:
        if writer is not None:
            writer.close()


def read_run(folder: Path) -> pl.DataFrame:
    """Return all predictions in a run's folder.

    Raises
    ------
    InputError
        The file is missing or damaged.
    """
    file = folder / PREDICTIONS
    try:
        return pl.read_parquet(file, glob=False)  # the folder's name may look like a pattern
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(
            f"{file} is missing or damaged: give the command of the study again to make it anew"
        ) from error


def read_predictions(
    folder: Path, part: str, labels: Labels
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the probabilities and predictions of a part in a run's folder, both [note, class]."""
    frame = read_run(folder).filter(pl.col("part") == part)
    names = [str(name) for name in labels.classes]
    predicted = frame["prediction"]
    if labels.task == "multilabel":
        columns = [predicted.list.contains(name) for name in names]
    else:
        columns = [predicted == name for name in names]
    probabilities = frame.select([f"prob_{name}" for name in names]).to_numpy()
    return probabilities, np.column_stack([column.to_numpy() for column in columns])
