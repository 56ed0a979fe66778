"""JSON log lines with the correlation of the request or record that is being worked on."""

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any

import orjson
import structlog

SECRET_NAMES = ("password", "secret", "token", "dsn", "api_key", "authorization")
PASSWORD_IN_URL = re.compile(r"(://[^:/@\s]*:)[^@\s]+@")
KEY_IN_TEXT = re.compile(r"\b(rt_[0-9A-Za-z]{12}_)[0-9A-Za-z_]+|\b(eyJ[\w-]+\.)[\w-]+\.[\w-]*")
"""API keys and JSON Web Tokens, wherever they stand in a text."""


def configure_logging(service: str, level: str) -> None:
    """Send every log line, ours and those of libraries, to standard error as JSON."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                hide_secrets,
                structlog.processors.JSONRenderer(serializer=lambda line, **_: as_json(line)),
            ],
        )
    )
    logging.root.handlers = [handler]
    logging.root.setLevel(level.upper())
    for noisy in ("aiokafka", "elastic_transport", "uvicorn.access", "faust", "mode"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.contextvars.bind_contextvars(service=service)


def hide_secrets(_logger: Any, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Replace the value of anything that is named like a secret, at any depth, and keys and passwords in texts."""
    return {name: _hidden(name, value) for name, value in line.items()}


def _hidden(name: str, value: Any) -> Any:
    if any(secret in name.lower() for secret in SECRET_NAMES):
        return "***"
    match value:
        case str():
            return _without_secrets(value)
        case Mapping():
            return {str(inner): _hidden(str(inner), kept) for inner, kept in value.items()}
        case list() | tuple():
            return [_hidden("", kept) for kept in value]
        case BaseException():
            return _without_secrets(repr(value))
        case _:
            return value


def _without_secrets(text: str) -> str:
    return KEY_IN_TEXT.sub(r"\1\2***", PASSWORD_IN_URL.sub(r"\1***@", text))


def as_json(line: Mapping[str, Any]) -> str:
    """A line as JSON; what JSON cannot say becomes text: logging is never what fails."""
    try:
        return orjson.dumps(line, default=str).decode()
    except TypeError:
        return orjson.dumps({name: ascii(value) for name, value in line.items()}).decode()
