"""Show how far a command is: bars in a terminal, now and then a line with the time elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from clinadapt.cli.console import console, is_plain, say
from clinadapt.cli.display import STATUSES
from clinadapt.core.messages import Message, shown, translate
from clinadapt.core.run_context import Progress as Callback

BESIDES = 50  # characters of a bar's line besides the name of the stage
LINE_SECONDS = 60.0  # between two lines about a stage, where there are no bars


class _Remaining(ProgressColumn):
    """Estimated time that a task still takes, in words."""

    def render(self, task: Task) -> Text:
        left = task.time_remaining
        shown = "" if left is None or task.finished else translate("{time:seconds} left", time=left)
        return Text(shown, style="progress.remaining")


def _bars(target: Console) -> Progress:
    """Return bars with the steps done, the elapsed and the remaining time."""
    out = console()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        _Remaining(),
        console=target,
        transient=True,
        redirect_stdout=out.is_terminal,  # a file gets its lines, whatever the terminal shows
    )


class _Lines:
    """Lines about the current stage, at most one each `LINE_SECONDS`."""

    def __init__(self, target: Console) -> None:
        self.target = target
        self.stage = ""
        self.started = self.last = time.monotonic()

    def show(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if stage != self.stage:
            self.stage, self.started = stage, now
        if now - self.last < LINE_SECONDS or done >= total:
            return
        self.last = now
        elapsed = now - self.started
        said = {"stage": stage, "done": done, "total": total, "elapsed": elapsed}
        text = translate("{stage}: {done:,} of {total:,}, {elapsed:seconds}", **said)
        if done and elapsed:
            text = translate(
                "{stage}: {done:,} of {total:,}, {elapsed:seconds}, about {left:seconds} left",
                **said,
                left=elapsed * (total - done) / done,
            )
        self.target.print(Text(stamped(text)), soft_wrap=True)


def stamped(text: str) -> str:
    """Return a line of a log, with date and time in front."""
    return f"{datetime.now():%Y-%m-%d %H:%M:%S}  {text}"


class StudyProgress:
    """Bars for a study's runs and for the current stage, and a line for each finished run.

    Parameters
    ----------
    runs : int
        Number of runs of the study.

    Attributes
    ----------
    new, reused : int
        Runs that were fitted now, and runs with a result from before.
    reasons : dict of str to str
        Why runs were not done: messages by their English text.
    """

    def __init__(self, runs: int) -> None:
        target, out = console(stderr=True), console()
        self.bars = None if is_plain(target) else _bars(target)
        self.lines = _Lines(target)
        # Bars and lines on one terminal must share a console.
        self.out = target if self.bars is not None and out.is_terminal else out
        self.stamps = is_plain(out)
        self.new = self.reused = 0
        self.reasons: dict[str, str] = {}
        self.width = max(8, min(60, target.width - BESIDES))
        self.stage_name = ""
        if self.bars is not None:
            self.whole = self.bars.add_task(translate("runs").ljust(self.width), total=runs)
            self.stage = self.bars.add_task("", total=None)

    def __enter__(self) -> Self:
        if self.bars is not None:
            self.bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bars is not None:
            self.bars.stop()

    def progress(self, stage: str, done: int, total: int) -> None:
        """Update a bar; a new stage resets its bar and the estimate of the remaining time."""
        if self.bars is None:
            if stage != "runs":
                self.lines.show(stage, done, total)
            return
        if stage == "runs":
            self.bars.update(self.whole, completed=done, total=total)
            return
        if stage != self.stage_name:
            self.stage_name = stage
            # The end of a long stage's name tells what is done now.
            shown = stage if len(stage) <= self.width else "…" + stage[1 - self.width :]
            self.bars.reset(self.stage, description=shown.ljust(self.width), total=total)
        self.bars.update(self.stage, completed=done, total=total)

    def finished(self, result: dict[str, Any]) -> None:
        """Print a line about a finished run."""
        self.reused += result.get("reused", False)
        self.new += not result.get("reused", False)
        if result.get("reason"):
            self.reasons[str(result["reason"])] = result["reason"]
        line = self._about(result)
        self.out.print(stamped(line) if self.stamps else line, soft_wrap=True)

    def _about(self, result: dict[str, Any]) -> str:
        name = translate(
            "{name} [dim]seed {seed}[/]",
            name=escape(result["configuration"]),
            seed=result["seed"],
        )
        if result["status"] != "done":
            reason = escape(shown(result["reason"]))
            return translate(STATUSES[result["status"]], name=name, reason=reason)
        metric = result["threshold"]["metric"]
        said = {
            "name": name,
            "metric": metric,
            "score": result["validation_metrics"][metric]["value"],
        }
        if result.get("reused"):
            return translate(
                "[green]reused[/] {name}: {metric} {score:score} on validation, from before", **said
            )
        seconds = result["cost"]["fit_seconds"] + result["cost"]["encode_seconds_spent_here"]
        return translate(
            "[green]done[/] {name}: {metric} {score:score} on validation, {time:seconds}",
            **said,
            time=seconds,
        )

    def summary(self) -> None:
        """Say how many runs were reused, if any were."""
        if not self.reused:
            return
        said = {"reused": self.reused, "runs": self.reused + self.new}
        if self.new:
            say(Message("{reused} of {runs} runs reused", **said))
        else:
            say(
                Message(
                    "{reused} of {runs} runs reused: the study was finished already, nothing was "
                    "run",
                    **said,
                )
            )


@contextmanager
def progress_bar(starts_with: str = "") -> Iterator[Callback]:
    """Show one stage of work at a time, and yield the callback that updates it.

    Parameters
    ----------
    starts_with : str
        What happens before the first call.
    """
    target = console(stderr=True)
    if is_plain(target):
        yield _Lines(target).show
        return
    with _bars(target) as bars:
        bar = bars.add_task(starts_with, total=None)
        yield lambda stage, done, total: bars.update(
            bar, description=stage, completed=done, total=total
        )
