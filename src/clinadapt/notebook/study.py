"""A study as Python programs and notebooks run it."""

from clinadapt.core.run_context import Finished, Progress
from clinadapt.notebook.finished_study import FinishedStudy
from clinadapt.notebook.progress_display import in_notebook, progress_display
from clinadapt.study.runner import StudyRunner


class Study(StudyRunner):
    """A study of a table of notes: a design, a folder of results, and `run`.

    The parameters are those of `StudySetup`.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from clinadapt import Columns, Study, read_notes
    >>> from clinadapt.data.synthetic.generator import generate
    >>> notes = read_notes(generate(240, 80, 96), Columns(id="id", group="patient"))
    >>> design = {"name": "one", "configurations": [{"model": "tfidf-logistic"}]}
    >>> with TemporaryDirectory() as folder:
    ...     leaderboard = Study(notes, design, f"{folder}/out").run().leaderboard
    >>> leaderboard["status"].to_list()
    ['done']
    """

    def run(
        self,
        progress: bool | Progress | None = None,
        finished: Finished = lambda result: None,
        retry: bool = False,
    ) -> FinishedStudy:
        """Fit every run that has no result yet, rank the configurations, and keep the best model.

        Parameters
        ----------
        progress : bool or callable, optional
            Whether to show a progress bar; by default in notebooks only. Or a function that is
            called with a stage's name, the steps done and the total; the stage "runs" counts the
            study's runs.
        finished : callable
            Called with the result of every run; ``reused`` is true in one from before.
        retry : bool
            Whether to fit again the runs that failed before.

        Returns
        -------
        FinishedStudy

        Raises
        ------
        InputError, MachineError
            See `StudyRunner.complete`.
        """
        if callable(progress):
            self.complete(progress, finished, retry)
        elif in_notebook() if progress is None else progress:
            with progress_display() as show:
                self.complete(show, finished, retry)
        else:
            self.complete(finished=finished, retry=retry)
        return FinishedStudy(self.out)
