"""Commands of the server: ``serve``, and ``token`` for access tokens."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.markup import escape

from clinadapt.cli.abstaining import AbstainOptions, promise_of
from clinadapt.cli.console import say
from clinadapt.cli.options import LIMITS, ScaleOption, ThresholdOption
from clinadapt.cli.shared import go_offline, refuse_early
from clinadapt.core.errors import InputError, MissingExtraError
from clinadapt.core.messages import Message

if TYPE_CHECKING:
    from clinadapt.evaluation.calibration_maps import Scale

token = typer.Typer(help="Manage the access tokens of a server.", no_args_is_help=True)


@token.callback()
def _tokens() -> None:
    """Manage the access tokens of a server."""


@token.command()
def new(
    file: Annotated[Path, typer.Argument(help="File of tokens; created if absent.")],
    name: Annotated[str, typer.Option(help="Owner of the token.")],
    days: Annotated[
        float, typer.Option(min=0, max=36_500, help="Days until the token expires.")
    ] = 90,
) -> None:
    """Create a token and print it once; the file stores only its salted hash."""
    from clinadapt.deployment.server.api_tokens import ApiTokens

    tokens = ApiTokens.read(file) if file.exists() else ApiTokens([])
    created = tokens.add(name, days)
    tokens.write(file)
    print(created)
    expires = tokens.entries[-1].expires
    typer.echo(f"Token for {name}, valid until {expires}. It cannot be shown again.", err=True)


def serve(
    bundles: Annotated[
        list[str], typer.Argument(help="Bundles, such as OUT/recommended, or NAME=FOLDER.")
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0: any free one.")] = 8000,
    tokens: Annotated[
        Path | None,
        typer.Option(help="File of tokens; required if other machines can reach the server."),
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(help="PEM file of the TLS certificate.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="PEM file of the TLS key.")] = None,
    probabilities: ScaleOption = None,
    threshold: ThresholdOption = None,
    batch_notes: Annotated[
        int, typer.Option(help="Most notes classified in one pass.", rich_help_panel=LIMITS)
    ] = 32,
    batch_milliseconds: Annotated[
        int,
        typer.Option(
            help="Longest wait for further requests to fill a batch.", rich_help_panel=LIMITS
        ),
    ] = 5,
    queue_notes: Annotated[
        int, typer.Option(help="Most notes waiting in the queue.", rich_help_panel=LIMITS)
    ] = 512,
    seconds: Annotated[
        float, typer.Option(help="Time limit of one request.", rich_help_panel=LIMITS)
    ] = 30,
    notes: Annotated[
        int, typer.Option(help="Most notes per request.", rich_help_panel=LIMITS)
    ] = 64,
    characters: Annotated[
        int, typer.Option(help="Most characters per note.", rich_help_panel=LIMITS)
    ] = 50_000,
    body_bytes: Annotated[
        int, typer.Option(help="Most bytes per request.", rich_help_panel=LIMITS)
    ] = 2_000_000,
    per_minute: Annotated[
        int,
        typer.Option(
            help="Most requests per minute and token; 0: no limit.", rich_help_panel=LIMITS
        ),
    ] = 600,
    connections: Annotated[
        int, typer.Option(help="Most open connections.", rich_help_panel=LIMITS)
    ] = 512,
    *,
    abstaining: AbstainOptions,
) -> None:
    """Serve bundles over HTTP, with a page to try them. Notes are neither stored nor logged."""
    from clinadapt.models.bundle.decision_rule import named_thresholds, rules_of
    from clinadapt.models.bundle.record import named_bundles, read_record

    named = named_bundles(bundles)
    refuse_early(bundles=named.values())
    scale = cast("Scale | None", probabilities)
    thresholds = named_thresholds(threshold or (), list(named))
    records = {name: read_record(folder) for name, folder in named.items()}
    rules_of(named, records, scale, thresholds)  # refuses what the bundles have not
    try:
        from clinadapt.deployment.server.api_tokens import ApiTokens
        from clinadapt.deployment.server.app import make_app
        from clinadapt.deployment.server.limits import Limits
        from clinadapt.deployment.server.models import Models
        from clinadapt.deployment.server.uvicorn_server import Address, make_server, run_server
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("fastapi", "uvicorn", "prometheus_client"):
            raise
        raise MissingExtraError(
            "serving needs FastAPI, uvicorn and prometheus-client: pip install 'clinadapt[serve]'"
        ) from None

    with ExitStack() as stack:
        go_offline(stack, True)
        address = Address(host, port, certificate, key)
        if tokens is None and not address.ip.is_loopback:
            raise InputError(
                f"other machines can reach --host {host}: give --tokens FILE (`clinadapt token new "
                "FILE --name NAME` creates one), or omit --host to serve this machine only"
            )
        limits = Limits(
            body_bytes=body_bytes,
            notes=notes,
            characters=characters,
            per_minute=per_minute,
            batch_notes=batch_notes,
            batch_milliseconds=batch_milliseconds,
            queue_notes=queue_notes,
            seconds=seconds,
            connections=connections,
        )
        known = None if tokens is None else ApiTokens.read(tokens)
        models = Models(named, scale, thresholds, promise_of(abstaining))
        listener = stack.enter_context(address.open(limits.connections))
        served = ", ".join(task.name for task in models.tasks)
        if certificate is None and not address.ip.is_loopback:
            say(
                Message(
                    "[bold]Without TLS[/], notes and tokens cross the network unencrypted: give "
                    "--certificate and --key, or use a proxy with TLS in front."
                )
            )
        say(
            Message(
                "Serving {tasks} at {url}. Press Ctrl+C to stop.",
                tasks=escape(served),
                url=address.url(listener),
            )
        )
        app = make_app(models, limits, known)
        try:
            run_server(make_server(app, address, listener), listener)
        finally:
            say(Message("Stopped: {n} requests were answered.", n=int(app.state.metrics.answered)))
