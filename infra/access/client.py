"""How our own clients say who they are."""

from infra.settings import Settings


def headers_of(settings: Settings, *, actor: str | None = None) -> dict[str, str]:
    """The headers of a request: the key of the settings, and on whose behalf.

    Without a key there is none of it, and the service tells what to do.

    Args:
        actor: in whose name; only an admin's key may say so.
    """
    key = settings.access.key
    bearer = {} if key is None else {"Authorization": f"Bearer {key.get_secret_value()}"}
    return bearer if actor is None else {**bearer, "X-Actor": actor}
