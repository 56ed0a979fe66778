"""The folder of keys: made once, destroyed for good, whoever else works in it."""

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import SecretStr

from infra.personal.files import SIZE_BYTES, KeyFiles
from infra.personal.keys import Keys
from infra.personal.master import master_of, new_master, prepare
from infra.personal.seal import Person
from infra.settings import MASTER_KEY_FILE, PersonalSettings, Settings
from schemas.errors import Gone, Unavailable

ANA = Person("default", "ana")
MASTER = b"m" * 32


def folder_of(path: Path, realm: str = "") -> KeyFiles:
    return KeyFiles(path, MASTER, realm)


def key_files(path: Path) -> list[Path]:
    return [one for one in (path / "keys").rglob("*") if one.is_file()]


def test_a_key_is_made_once(tmp_path: Path) -> None:
    """What was sealed yesterday opens today, in every process."""
    made = folder_of(tmp_path).make(ANA)
    assert folder_of(tmp_path).make(ANA) == made == folder_of(tmp_path).get(ANA)


def test_two_who_make_a_key_at_once_get_the_same(tmp_path: Path) -> None:
    """Two command APIs register one person; what either of them wrote has to open."""
    with ThreadPoolExecutor(16) as pool:
        made = set(pool.map(lambda _: folder_of(tmp_path).make(ANA).secret, range(64)))
    assert len(made) == 1
    assert len(key_files(tmp_path)) == 1


def test_people_tenants_and_installations_have_keys_of_their_own(tmp_path: Path) -> None:
    """One key destroyed leaves all others."""
    one, other = folder_of(tmp_path), folder_of(tmp_path, "test.")
    people = [ANA, Person("default", "ben"), Person("b", "ana")]
    secrets = {one.make(person).secret for person in people} | {other.make(ANA).secret}
    assert len(secrets) == 4
    one.destroy(ANA)
    assert (one.get(ANA), one.erased()) == (None, {ANA})
    assert other.get(ANA) is not None
    assert other.erased() == set()
    assert one.get(people[1]) is not None


def test_a_destroyed_key_is_overwritten_where_it_stood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Removing a name leaves the bytes on the disk; so they are replaced first, in the same file."""
    keys = folder_of(tmp_path)
    keys.make(ANA)
    (path,) = key_files(tmp_path)
    second = tmp_path / "second name of the same file"
    os.link(path, second)
    before = second.read_bytes()
    keys.destroy(ANA)
    assert not path.exists()
    assert len(second.read_bytes()) == len(before) == SIZE_BYTES
    assert before[12:] not in second.read_bytes()


def test_whoever_was_erased_never_has_a_key_again(tmp_path: Path) -> None:
    """Otherwise a late command would begin to collect anew."""
    keys = folder_of(tmp_path)
    keys.make(ANA)
    assert [keys.destroy(ANA), keys.destroy(ANA)] == [1, 1], "told the same, however often it is asked"
    with pytest.raises(Gone, match="erased for good"):
        keys.make(ANA)
    assert keys.is_erased(ANA)


def test_somebody_without_a_key_can_be_erased(tmp_path: Path) -> None:
    """Of most people only interactions are known."""
    keys = folder_of(tmp_path)
    assert keys.destroy(ANA) == 0
    with pytest.raises(Gone):
        keys.make(ANA)


@pytest.mark.parametrize("step", range(1, 8))
def test_a_crash_while_destroying_is_made_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Killed at any step: no key is served to anybody new, and doing it again ends it."""
    keys = folder_of(tmp_path)
    keys.make(ANA)
    calls = 0

    def counted(call: object) -> object:
        def wrapper(*arguments: object) -> object:
            nonlocal calls
            calls += 1
            if calls == step:
                raise KeyboardInterrupt
            return call(*arguments)  # type: ignore[operator]

        return wrapper

    with monkeypatch.context() as patched:
        for name in ("fsync", "link"):
            patched.setattr(os, name, counted(getattr(os, name)))
        with contextlib.suppress(KeyboardInterrupt):
            keys.destroy(ANA)
    assert folder_of(tmp_path).destroy(ANA) == 1
    assert folder_of(tmp_path).get(ANA) is None
    assert key_files(tmp_path) == []


def test_erased_while_the_key_is_being_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The narrowest race: the grave is dug between the look for it and the new key."""
    keys = folder_of(tmp_path)
    create = KeyFiles._create

    def interrupted(self: KeyFiles, path: Path) -> None:
        folder_of(tmp_path).destroy(ANA)
        create(self, path)

    monkeypatch.setattr(KeyFiles, "_create", interrupted)
    with pytest.raises(Gone):
        keys.make(ANA)
    assert key_files(tmp_path) == []


def test_a_folder_that_is_away_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    """Keys made in the mount point of a volume would be lost as soon as the volume is back."""
    keys = folder_of(tmp_path / "not mounted")
    for ask in (keys.make, keys.get, keys.destroy, keys.is_erased):
        with pytest.raises(Unavailable, match="mount it"):
            ask(ANA)
    with pytest.raises(Unavailable):
        keys.erased()


def test_another_master_key_opens_nothing_and_destroys_nothing(tmp_path: Path) -> None:
    """Keys and master key are apart: a copy of the folder alone is worth nothing."""
    folder_of(tmp_path).make(ANA)
    other = KeyFiles(tmp_path, b"x" * 32, "")
    for ask in (other.make, other.get, other.destroy):
        with pytest.raises(Unavailable, match="another master key"):
            ask(ANA)
    (path,) = key_files(tmp_path)
    assert b"ana" not in path.read_bytes()
    assert "ana" not in path.name


def test_a_damaged_key_is_told(tmp_path: Path) -> None:
    """To make another one would make everything that was sealed unreadable in silence."""
    keys = folder_of(tmp_path)
    keys.make(ANA)
    (path,) = key_files(tmp_path)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(Unavailable, match="does not open"):
        keys.get(ANA)


def settings_of(tmp_path: Path, **personal: object) -> Settings:
    return Settings(data_dir=tmp_path, personal=PersonalSettings.model_validate(personal))


def test_up_makes_the_master_key_for_the_owner_alone(tmp_path: Path) -> None:
    """No default secret: every installation has its own."""
    settings = settings_of(tmp_path)
    prepare(settings)
    file = tmp_path / MASTER_KEY_FILE
    assert file.stat().st_mode & 0o777 == 0o600
    assert settings.key_folder.stat().st_mode & 0o777 == 0o700
    first = file.read_text()
    prepare(settings)
    assert file.read_text() == first
    assert Settings(data_dir=tmp_path).personal.master_key == SecretStr(first.strip())


def test_no_second_master_key_is_made_for_old_keys(tmp_path: Path) -> None:
    """With another one every person would seem unknown, and a rebuild of their data hopeless."""
    settings = settings_of(tmp_path)
    settings.key_folder.mkdir()
    folder_of(settings.key_folder).make(ANA)
    with pytest.raises(Unavailable, match="put it back"):
        prepare(settings)


@pytest.mark.parametrize("text", ["", "short", "not base64 at all!"])
def test_a_master_key_of_another_size_is_refused(text: str) -> None:
    """A weak one would look as good as any."""
    with pytest.raises(Unavailable, match="32 bytes"):
        master_of(SecretStr(text))


async def test_keys_stay_in_memory_for_a_moment_and_no_more_than_so_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request reads no file; a key that was destroyed elsewhere is gone from memory soon after."""
    (tmp_path / "personal").mkdir()
    clock = SimpleNamespace(monotonic=lambda: 100.0)
    monkeypatch.setattr("infra.personal.keys.time", clock)
    keys = Keys(settings_of(tmp_path, master_key=SecretStr(new_master()), cache_s=0.2, cache_size=2))
    made = await keys.made(ANA)
    keys.files.destroy(ANA)
    assert await keys.of(ANA) == made, "from memory"
    clock.monotonic = lambda: 100.25
    assert await keys.of(ANA) is None
    for number in range(5):
        await keys.made(Person("default", str(number)))
    assert len(keys._cache) == 2


async def test_who_hears_of_an_erasure_drops_the_key_at_once(tmp_path: Path) -> None:
    """A cache is a store too."""
    (tmp_path / "personal").mkdir()
    keys = Keys(settings_of(tmp_path, master_key=SecretStr(new_master())))
    await keys.made(ANA)
    await keys.destroy(ANA)
    assert await keys.of(ANA) is None
    assert await keys.erased() == {ANA}


async def test_without_a_master_key_nothing_is_taken(tmp_path: Path) -> None:
    """Better no answer than a name in clear on the log."""
    with pytest.raises(Unavailable, match="RETRACE_PERSONAL__MASTER_KEY"):
        await Keys(settings_of(tmp_path)).made(ANA)
