"""`retrace keys create | list | rotate | revoke`: who may do what."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.console import Console

from console.api import Answer, Api
from console.output import grid
from infra.access.key import new_key
from infra.personal.master import new_master
from infra.settings import Settings
from schemas.errors import Invalid
from schemas.roles import ROLES

console = Console(highlight=False)
app = typer.Typer(no_args_is_help=True, help="API keys: who may do what.")

KeyId = Annotated[str, typer.Argument(help="id of the key, as `retrace keys list` shows it")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="who it is for; the actor in the events that it leads to")],
    role: Annotated[list[str], typer.Option(help=f"what it may do: {', '.join(ROLES)}; may be repeated")],
    expires_days: Annotated[
        float | None, typer.Option(min=0, help="days until it is refused; never if left out")
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="for another tenant; with the installation's own key")] = None,
) -> None:
    """Make a key, and show it this once."""
    body: dict[str, Any] = {"name": name, "roles": _roles(role)}
    if expires_days is not None:
        body["expires_at"] = (datetime.now(UTC) + timedelta(days=expires_days)).isoformat()
    _show(asyncio.run(_command("POST", "/api-keys", body, tenant)))


@app.command(name="list")
def listed() -> None:
    """Every key: what it may do, when it was last used, and whether it still opens."""
    table = grid("key", "name", "roles", "made", "last used", "state", whole=("key",))
    for key in asyncio.run(_keys()):
        dates = (_day(key["created_at"]), _day(key["last_used_at"]))
        table.add_row(key["key_id"], key["name"], " ".join(key["roles"]), *dates, _state(key))
    console.print(table)


@app.command()
def rotate(
    key_id: KeyId,
    grace_s: Annotated[int, typer.Option(min=0, help="seconds that the secret before stays valid")] = 86_400,
) -> None:
    """Give a key another secret, and show it this once."""
    _show(asyncio.run(_command("POST", f"/api-keys/{key_id}/rotate", {"grace_s": grace_s})))


@app.command()
def revoke(
    key_id: KeyId,
    reason: Annotated[str, typer.Option(help="why; stands in the log")] = "",
) -> None:
    """Refuse a key from now on, everywhere."""
    asyncio.run(_command("DELETE", f"/api-keys/{key_id}", {"reason": reason}))
    console.print(f"key {key_id} is refused from now on")


@app.command()
def installation() -> None:
    """Make the secrets of an installation that `retrace up` does not run: three variables for its environment."""
    key = new_key()
    typer.echo(f"RETRACE_ACCESS__KEY={key.text}")
    typer.echo(f"RETRACE_ACCESS__ADMIN_HASH={key.sha256}")
    typer.echo(f"RETRACE_PERSONAL__MASTER_KEY={new_master()}")


async def _command(method: str, path: str, body: dict[str, Any], tenant: str | None = None) -> Answer:
    async with Api(Settings()) as api:
        headers = {} if tenant is None else {"x-tenant": tenant}
        return await api.call(api.settings.commands.url, method, path, json=body, headers=headers)


async def _keys() -> list[dict[str, Any]]:
    async with Api(Settings()) as api:
        found: list[dict[str, Any]] = (await api.query("/api-keys")).body
        return found


def _show(answer: Answer) -> None:
    """The key on standard output, so that it can be piped into a secret store; what to know about it beside it."""
    typer.echo(answer.body["key"])
    typer.echo(f"key {answer.body['key_id']}: it is shown this once; send it as Authorization: Bearer KEY", err=True)


def _roles(names: list[str]) -> list[str]:
    if unknown := set(names) - set(ROLES):
        raise Invalid(f"there is no role '{min(unknown)}'; there are {', '.join(ROLES)}", code="unknown_role")
    return names


def _state(key: dict[str, Any]) -> str:
    if key["revoked_at"]:
        return f"[red]revoked {_day(key['revoked_at'])}[/]"
    if key["expires_at"] and datetime.fromisoformat(key["expires_at"]) <= datetime.now(UTC):
        return f"[red]expired {_day(key['expires_at'])}[/]"
    return "[green]valid[/]" + (f" until {_day(key['expires_at'])}" if key["expires_at"] else "")


def _day(time: str | None) -> str:
    return str(time)[:16].replace("T", " ") if time else "-"
