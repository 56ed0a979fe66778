"""Log lines: JSON, with context, without secrets."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from infra.access.key import new_key
from infra.log import configure_logging, hide_secrets


class Lines:
    """What is logged."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def start(self) -> None:
        """Log as a service does, to what standard error is now."""
        configure_logging("films", "info")

    def written(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self._capsys.readouterr().err.splitlines()]


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Lines]:
    """Logging, put back afterwards."""
    handlers, level, kept = logging.root.handlers[:], logging.root.level, structlog.get_config()
    yield Lines(capsys)
    logging.root.handlers = handlers
    logging.root.setLevel(level)
    structlog.configure(**kept)
    structlog.contextvars.clear_contextvars()


def test_a_line_is_json_with_service_level_and_time(lines: Lines) -> None:
    """Collectors parse one form."""
    lines.start()
    structlog.get_logger().info("film added", film="f1")
    (line,) = lines.written()
    assert (line["event"], line["film"], line["service"], line["level"]) == ("film added", "f1", "films", "info")
    assert str(line["timestamp"]).endswith("Z")


def test_lines_of_libraries_look_the_same(lines: Lines) -> None:
    """A broker's warning is found by the same query."""
    lines.start()
    logging.getLogger("aiokafka.consumer").warning("lost %s", "it")
    (line,) = lines.written()
    assert (line["event"], line["level"], line["service"]) == ("lost it", "warning", "films")


@pytest.mark.parametrize("noisy", ["faust.app", "mode.services", "aiokafka", "uvicorn.access"])
def test_chatter_of_libraries_is_left_out(lines: Lines, noisy: str) -> None:
    """What everybody ignores hides what nobody should."""
    lines.start()
    logging.getLogger(noisy).info("still here")
    assert lines.written() == []


def test_a_crash_is_one_line_with_its_stack(lines: Lines) -> None:
    """A stack over many lines is many broken lines to a collector."""
    lines.start()
    try:
        raise RuntimeError("boom")
    except RuntimeError:
        structlog.get_logger().exception("failed")
    (line,) = lines.written()
    assert "RuntimeError: boom" in str(line["exception"])


def test_what_is_no_json_is_written_as_text(lines: Lines) -> None:
    """A log call must never be what fails."""
    lines.start()
    structlog.get_logger().info("odd", thing=object, data=b"\xff", number=2**80)
    (line,) = lines.written()
    assert "object" in str(line["thing"])


@pytest.mark.parametrize("name", ["password", "sasl_password", "DSN", "api_key", "Authorization", "access_token"])
def test_values_named_like_secrets_are_hidden(name: str) -> None:
    """A secret in a log is a secret no more."""
    assert hide_secrets(None, "info", {"event": "x", name: "hunter2"}) == {"event": "x", name: "***"}


def test_secrets_inside_values_are_hidden(lines: Lines) -> None:
    """Settings and headers are logged as mappings, addresses with passwords in them."""
    lines.start()
    structlog.get_logger().info(
        "connecting",
        settings={"postgres": {"password": "hunter2"}, "hosts": [{"api_key": "hunter2"}]},
        cause="cannot reach postgresql://retrace:hunter2@db:5432/retrace",
    )
    (line,) = lines.written()
    assert "hunter2" not in json.dumps(line)
    assert "db:5432" in str(line["cause"])


def test_secrets_in_a_stack_are_hidden(lines: Lines) -> None:
    """Drivers put the address they failed to reach into the exception."""
    lines.start()
    try:
        raise ConnectionError("postgresql://retrace:hunter2@db/retrace")
    except ConnectionError:
        structlog.get_logger().exception("failed")
    assert "hunter2" not in json.dumps(lines.written())


def test_keys_and_tokens_are_hidden_wherever_they_stand(lines: Lines) -> None:
    """A fault may carry a request, and a request carries a key; which key it was may be known."""
    lines.start()
    key = new_key()
    token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbmEifQ.c2lnbmF0dXJl-_x"
    structlog.get_logger().error(f"refused {key.text}", headers=[f"Bearer {key.text}"], cause=ValueError(token))
    logging.getLogger("aiohttp.client").error("sent %s and %s", key.text, token)
    told = json.dumps(lines.written())
    assert key.id in told
    assert key.text.split("_")[2] not in told
    assert "c2lnbmF0dXJl" not in told
    assert "eyJzdWIiOiJhbmEifQ" not in told
