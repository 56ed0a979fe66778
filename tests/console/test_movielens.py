"""The demo's data set, read out of a package."""

from console.movielens import load
from infra.settings import Settings


def test_movielens_is_whole() -> None:
    """The demo and the quality figures rest on exactly these rows."""
    data = load(Settings().cache_dir)

    assert (len(data.users), len(data.items), len(data.ratings)) == (943, 1682, 100_000)
    assert (data.items[0].title, data.items[0].year) == ("Toy Story", 1995)
    assert data.items[0].genres == ("Animation", "Children's", "Comedy")
    assert {rating.rating for rating in data.ratings} == {1.0, 2.0, 3.0, 4.0, 5.0}
    times = [rating.occurred_at for rating in data.ratings]
    assert times == sorted(times)
    assert times[0] == 874_724_710_000_000
    assert {r.user_id for r in data.ratings} == {u.user_id for u in data.users}
    assert {r.item_id for r in data.ratings} == {i.item_id for i in data.items}
