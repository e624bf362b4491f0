"""Commands of the server: ``serve``, and ``token`` for those who may ask it."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from clinadapt.cli.shared import go_offline, say
from clinadapt.core.errors import InputError, MissingExtraError

token = typer.Typer(help="Tokens of those who may ask a server.", no_args_is_help=True)


@token.callback()
def _tokens() -> None:
    """Tokens of those who may ask a server."""


@token.command()
def new(
    file: Annotated[Path, typer.Argument(help="File of tokens; made if it is not there.")],
    name: Annotated[str, typer.Option(help="Whose it is.")],
    days: Annotated[float, typer.Option(min=0, max=36_500, help="Until it expires.")] = 90,
) -> None:
    """Make a token and print it, once: the file keeps a salted hash of it."""
    from clinadapt.deployment.server.api_tokens import Tokens

    tokens = Tokens.read(file) if file.exists() else Tokens([])
    made = tokens.add(name, days)
    tokens.write(file)
    print(made)
    expires = tokens.entries[-1].expires
    typer.echo(f"For {name}, until {expires}. It is shown only now.", err=True)


def serve(
    bundles: Annotated[
        list[str], typer.Argument(help="Bundles, such as OUT/recommended, or NAME=FOLDER.")
    ],
    host: Annotated[str, typer.Option(help="Address of this machine to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 for any that is free.")] = 8000,
    tokens: Annotated[
        Path | None, typer.Option(help="File of tokens; needed beyond this machine.")
    ] = None,
    certificate: Annotated[Path | None, typer.Option(help="For TLS: PEM file.")] = None,
    key: Annotated[Path | None, typer.Option(help="For TLS: PEM file.")] = None,
    batch_notes: Annotated[int, typer.Option(help="Most notes of requests in one pass.")] = 32,
    batch_milliseconds: Annotated[int, typer.Option(help="To wait for company.")] = 5,
    queue_notes: Annotated[int, typer.Option(help="Most notes that wait.")] = 512,
    seconds: Annotated[float, typer.Option(help="To an answer.")] = 30,
    notes: Annotated[int, typer.Option(help="Most notes of one request.")] = 64,
    characters: Annotated[int, typer.Option(help="Most characters of one note.")] = 50_000,
    body_bytes: Annotated[int, typer.Option(help="Most bytes of one request.")] = 2_000_000,
    per_minute: Annotated[int, typer.Option(help="Requests with one token; 0: no limit.")] = 600,
) -> None:
    """Answer for bundles over HTTP, with a page to try them. Keeps and logs no text."""
    try:
        from clinadapt.deployment.server.api_tokens import Tokens
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
    from clinadapt.models.shared_encoder import named_bundles

    with ExitStack() as stack:
        go_offline(stack, True)
        address = Address(host, port, certificate, key)
        if tokens is None and not address.ip.is_loopback:
            raise InputError(
                f"other machines can reach --host {host}: give --tokens FILE (`clinadapt token new "
                "FILE --name NAME` makes one), or leave --host out to answer this machine only"
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
        )
        known = None if tokens is None else Tokens.read(tokens)
        models = Models(named_bundles(bundles))
        opened = stack.enter_context(address.open())
        served = ", ".join(task.name for task in models.tasks)
        if certificate is None and not address.ip.is_loopback:
            say(
                "[bold]Without TLS[/] notes and tokens cross the network readable: give "
                "--certificate and --key, or put a proxy with TLS in front."
            )
        say(f"Serving {escape(served)} at {address.url(opened)} – Ctrl+C ends it.")
        app = make_app(models, limits, known)
        try:
            run_server(make_server(app, address), opened)
        finally:
            say(f"Stopped: {app.state.metrics.answered} requests were answered.")
