import json
from typing import Any

import pytest
from typer.testing import CliRunner

from console import schemas as command
from console.schemas import judge
from infra.registry.client import RegistryClient
from infra.settings import Settings
from schemas.contracts import Contract, contracts

USER = {
    "type": "record",
    "name": "UserSeen",
    "namespace": "retrace.profiles",
    "kind": "event",
    "topic": "profiles",
    "fields": [{"name": "user_id", "type": "string"}],
}


def contract(*fields: dict[str, Any]) -> Contract:
    return Contract({**USER, "fields": [*USER["fields"], *fields]}, "profiles")


async def test_a_contract_is_judged_beside_what_is_registered(settings: Settings) -> None:
    """The build has to stop before a service does, and to say which field is at fault."""
    subject = f"{settings.topic_prefix}profiles-retrace.profiles.UserSeen"
    async with RegistryClient(settings.registry.url) as client:
        assert (await judge(client, subject, contract())).state == "new"
        await client.register(subject, contract().json)
        assert (await judge(client, subject, contract())).state == "same"
        assert (await judge(client, subject, contract({"name": "at", "type": "long", "default": 0}))).state == "changed"
        refused = await judge(client, subject, contract({"name": "at", "type": "long"}))
    assert refused.state == "refused"
    assert "field 'at' has no default" in refused.faults[0]


def test_check_ends_with_an_error_when_a_contract_would_break_readers(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build reads the exit status, nothing else."""
    monkeypatch.setattr(command, "Settings", lambda: settings)
    run = CliRunner()
    assert run.invoke(command.schemas, ["register"]).exit_code == 0
    same = run.invoke(command.schemas, ["check"])
    assert same.exit_code == 0
    assert f"{len(list(command._wanted(settings)))} same" in same.output
    changed = dict(contracts())
    changed["retrace.profiles.UserSeen"] = contract()
    monkeypatch.setattr(command, "contracts", lambda: changed)
    assert run.invoke(command.schemas, ["register"]).exit_code == 0
    changed["retrace.profiles.UserSeen"] = contract({"name": "at", "type": "long"})
    refused = run.invoke(command.schemas, ["check"], env={"COLUMNS": "200"})
    assert refused.exit_code == 1
    assert "1 refused" in refused.output
    assert "field 'at'" in refused.output
    shown = run.invoke(command.schemas, ["show", f"{settings.topic_prefix}profiles-retrace.profiles.UserSeen"])
    assert json.loads(shown.output)["name"] == "UserSeen"
