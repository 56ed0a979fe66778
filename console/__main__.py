"""The `retrace` command."""

import sys
from collections.abc import Callable

import typer

from console import deploy, keys, projections, stack
from console.bench.command import bench
from console.demo import demo
from console.explain import explain
from console.faults.command import app as faults
from console.replay import replay
from console.schemas import schemas
from console.serve import serve
from console.simulate import simulate
from console.train import train
from schemas.errors import Problem

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Machine-learning services whose every decision can be retraced.",
)
VERBS: tuple[Callable[..., None], ...] = (demo, train, explain, replay, serve, bench, simulate)
for verb in VERBS:
    app.command()(verb)
app.add_typer(projections.app, name="projections")
app.add_typer(schemas, name="schemas")
app.add_typer(keys.app, name="keys")
app.add_typer(faults, name="faults")
for verb in (deploy.deploy, deploy.models, deploy.recommend):
    app.command()(verb)
for verb in (stack.up, stack.status, stack.down, stack.logs):
    app.command()(verb)


def main() -> None:
    """Run the command line; a fault raised on purpose is told in its own words, without a traceback."""
    try:
        app()
    except Problem as problem:
        sys.stderr.write(f"retrace: {problem}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
