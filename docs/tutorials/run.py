"""Run the tutorials anew and keep their outputs: `python docs/tutorials/run.py`."""

import os
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

NOTEBOOKS = sorted(Path(__file__).parent.glob("*.ipynb"))


def executed(file: Path, folder: Path) -> NotebookNode:
    """Return a notebook with the outputs of its cells, which are run in a folder."""
    # tqdm, which other libraries use, asks for widgets that no tutorial needs.
    os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"
    notebook = nbformat.read(file, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=120,
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
        kernel_name="python3",
    )
    client.execute()
    notebook.metadata.language_info = {"name": "python"}
    return notebook


if __name__ == "__main__":
    for file in NOTEBOOKS:
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(executed(file, Path(folder)), file)
