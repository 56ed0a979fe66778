"""Ports: the same ones after a restart, never a stranger's."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.stack.ports import HOST, Ports, accepts, is_free
from schemas.errors import Unavailable


@contextmanager
def taken(port: int = 0) -> Iterator[int]:
    """A port that another program listens on."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stranger:
        stranger.bind((HOST, port))
        stranger.listen()
        yield stranger.getsockname()[1]


def test_a_port_survives_a_restart(tmp_path: Path) -> None:
    """URLs that people have open keep working."""
    first = Ports(tmp_path).choose("kafka")
    assert Ports(tmp_path).choose("kafka") == first == Ports(tmp_path).of("kafka")


def test_a_port_lost_to_a_stranger_is_replaced(tmp_path: Path) -> None:
    """What we chose ourselves we may choose again."""
    first = Ports(tmp_path).choose("kafka")
    with taken(first):
        assert Ports(tmp_path).choose("kafka") != first


def test_servers_never_share_a_port(tmp_path: Path) -> None:
    """A port that is remembered for a stopped server is not free for another."""
    ports = Ports(tmp_path)
    assert len({ports.choose(f"server{number}") for number in range(30)}) == 30


def test_a_fixed_port_that_is_taken_is_told_with_its_remedy(tmp_path: Path) -> None:
    """The user asked for this port: another one would be a silent surprise."""
    with taken() as port, pytest.raises(Unavailable, match=f"Port {port} .*RETRACE_STACK__KAFKA_PORT") as fault:
        Ports(tmp_path).choose("kafka", port, "RETRACE_STACK__KAFKA_PORT")
    assert fault.value.code == "port_taken"


def test_a_fixed_port_is_not_taken_for_one_of_our_choice(tmp_path: Path) -> None:
    """Only then is a service moved without asking when its port is gone."""
    ports = Ports(tmp_path)
    free = ports.choose("commands")
    assert ports.is_ours("commands", free)
    ports.choose("commands", free, "RETRACE_COMMANDS__PORT")
    assert not ports.is_ours("commands", free)


def test_free_and_accepting_are_opposites() -> None:
    """The first decides where to listen, the second whether to ask yet."""
    with taken() as port:
        assert accepts(port)
        assert not is_free(port)
    assert not accepts(port)
    assert is_free(port)
