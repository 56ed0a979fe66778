"""JSON log lines with the correlation of the request or record that is being worked on."""

import logging
import sys
from typing import Any

import orjson
import structlog

SECRET_NAMES = ("password", "secret", "token", "dsn", "api_key", "authorization")


def configure_logging(service: str, level: str) -> None:
    """Send every log line, ours and those of libraries, to standard error as JSON."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        hide_secrets,
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
                structlog.processors.JSONRenderer(
                    serializer=lambda line, **_: orjson.dumps(line, default=str).decode()
                ),
            ],
        )
    )
    logging.root.handlers = [handler]
    logging.root.setLevel(level.upper())
    for noisy in ("aiokafka", "elastic_transport", "uvicorn.access", "faust", "mode"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.contextvars.bind_contextvars(service=service)


def hide_secrets(_logger: Any, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Replace the value of anything that is named like a secret."""
    return {name: "***" if any(s in name.lower() for s in SECRET_NAMES) else value for name, value in line.items()}
