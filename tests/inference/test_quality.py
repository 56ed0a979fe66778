"""`retrace quality`: what is measured must be what the published tables measure, on any data of their form."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from console.__main__ import app_for
from inference.models import popularity
from inference.quality.candidates import candidates
from inference.quality.formats import Sequences, Split, Timed, as_interactions, found
from inference.quality.protocols import HELD_OUT, protocol_of
from inference.quality.published import TABLES, published
from inference.quality.quality import asked, choose, rows_of
from schemas.errors import Invalid, NotFound

ALWAYS = ("popularity", "item-to-item", "ease", "ials")
ITEMS = [f"i{number}" for number in range(12)]


def written(folder: Path, name: str, text: str) -> Path:
    """A file of this content in a folder that is made for it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder


def chains(users: int, seed: int = 3) -> dict[str, list[str]]:
    """People who go round a ring of items: what comes next is certain, and no item is more popular than another."""
    chance = random.Random(seed)
    lines = {}
    for user in range(users):
        start = chance.randrange(len(ITEMS))
        lines[f"u{user}"] = [ITEMS[(start + step) % len(ITEMS)] for step in range(chance.randint(4, 8))]
    return lines


def text_of(lines: dict[str, list[str]]) -> str:
    return "".join(f"{' '.join([user, *items])}\n" for user, items in lines.items())


def test_every_form_is_recognised(tmp_path: Path) -> None:
    """A folder of folders is what people have after unpacking several."""
    written(tmp_path / "a", "sequences.txt", "u1 x y z\n")
    both = written(tmp_path / "b", "train.txt", "u1 x y\n")
    written(both, "test.txt", "u1 z\n")
    written(tmp_path / "c", "c.inter", "user_id:token\titem_id:token\trating:float\ttimestamp:float\nu\tx\t5\t7\n")
    one, two, three = found(tmp_path)
    assert (type(one), type(two), type(three)) == (Sequences, Split, Timed)
    assert [one.name, two.name, three.name] == ["a", "b", "c"]
    assert found(tmp_path / "a" / "sequences.txt") == [Sequences("sequences", {"u1": ["x", "y", "z"]})]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("sequences.txt", "u1 x\nu1 y\n", "sequences.txt, line 2: user u1 has a line already"),
        ("sequences.txt", "u1\n\n", "sequences.txt has no items"),
        ("sequences.txt", "\xff\xfe", "sequences.txt is no text"),
        ("test.txt", "u1 x\n", "no train.txt: there is nothing to learn from"),
        ("c.inter", "user_id:token\titem_id:token\nu\tx\n", "c.inter has no column timestamp"),
        ("c.inter", "user_id\titem_id\ttimestamp\nu\tx\tsoon\n", "c.inter, line 2: 'soon' is no time"),
    ],
)
def test_bad_data_is_told_with_its_line(tmp_path: Path, name: str, text: str, said: str) -> None:
    """Whoever made the file has to find the place."""
    folder = written(tmp_path, name, "")
    (folder / name).write_bytes(text.encode("latin-1"))
    with pytest.raises((Invalid, NotFound), match=said):
        found(folder)


def test_nothing_to_read_is_told(tmp_path: Path) -> None:
    """A mistyped path is the usual fault."""
    with pytest.raises(NotFound, match="holds no data set"):
        found(tmp_path)
    with pytest.raises(NotFound, match="nothing at"):
        found(tmp_path / "nix")


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.lists(st.sampled_from(ITEMS), unique=True, max_size=7)))
def test_what_is_reported_was_never_seen(lines: dict[str, list[str]]) -> None:
    """Neither the choice nor the last fit may know what is predicted in the end."""
    try:
        protocol = protocol_of(Sequences("drawn", lines))
    except Invalid:
        assert all(len(items) < 3 for items in lines.values())
        return
    for case in protocol.report.cases:
        (item,) = case.relevant
        assert lines[case.user][-1] == item
        assert case.history == tuple(lines[case.user][:-1])
    choice, report = protocol.choices[0].train.histories(), protocol.report.train.histories()
    assert all(report[user] == tuple(lines[user][: len(report[user])]) for user in report)
    assert all(len(choice.get(case.user, ())) == len(lines[case.user]) - 2 for case in protocol.choices[0].cases)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sequences.txt", "u a a a a\nv a a a\n"),
        ("sequences.txt", "u a b\nv a\n"),
        ("train.txt", "u a\n"),
        ("c.inter", "user_id:token\titem_id:token\ttimestamp:float\nu\ta\t1\nv\tb\t2\n"),
        ("c.inter", "user_id:token\titem_id:token\ttimestamp:float\n" + "u\ta\t5\nv\tb\t5\n" * 50),
    ],
)
def test_too_little_is_told(tmp_path: Path, name: str, text: str) -> None:
    """Data that cannot be measured on are no fault of the program, and say so."""
    (data,) = found(written(tmp_path, name, text))
    with pytest.raises(Invalid) as caught:
        protocol_of(data)
    assert caught.value.code == "empty_split"


def test_odd_files_are_measured_all_the_same(tmp_path: Path) -> None:
    """A mark at the beginning, lines ended as on Windows, empty ones, tabs, huge ids, users with one item, no test."""
    chance = random.Random(4)
    lines = [
        "\ufeff99999999999999999999 7",
        "",
        "lonely 7\t",
        *(
            "\t".join([str(10**18 + user), *(str(chance.randrange(12) * 10**15) for _ in range(chance.randint(1, 9)))])
            for user in range(80)
        ),
    ]
    (data,) = found(written(tmp_path, "train.txt", "\r\n".join(lines)))
    protocol = protocol_of(data)
    assert "99999999999999999999" in {*protocol.report.train.users, *(case.user for case in protocol.report.cases)}
    rows = rows_of(data)
    assert "drawn" in rows[0]["protocol"]
    assert all(0 < row["ndcg@10"] <= 1 for row in rows)


def test_a_tenth_of_the_training_pairs_chooses() -> None:
    """Hyper-parameters that were chosen on the test would be too good to be true."""
    lines = {f"u{n}": random.Random(n).sample(ITEMS, 10) for n in range(200)}
    train, test = ({u: i[:8] for u, i in lines.items()}, {u: i[8:] for u, i in lines.items()})
    protocol = protocol_of(Split("drawn", as_interactions(train), as_interactions(test)))
    held = [item for case in protocol.choices[0].cases for item in case.relevant]
    assert abs(len(held) / 1_600 - HELD_OUT) < 0.03
    for case in protocol.choices[0].cases:
        assert case.relevant <= set(train[case.user])
    for case in protocol.report.cases:
        assert case.relevant == set(test[case.user])
        assert set(case.history) == set(train[case.user])


def test_order_is_found_where_it_matters() -> None:
    """On a ring, what comes next follows from the last item alone: transitions know it, popularity cannot."""
    rows = {row["model"]: row for row in rows_of(Sequences("ring", chains(300)))}
    assert rows["item-to-item"]["hr@10"] == 1
    assert rows["item-to-item"]["ndcg@10"] > 0.9 > rows["popularity"]["ndcg@10"]
    assert rows["item-to-item"]["params"]["transition_weight"] > 0
    assert all(row["ours"] for row in rows.values())


def test_the_best_where_nothing_is_seen_is_chosen() -> None:
    """The choice is by the metrics of the table, on the task of the choice alone."""
    protocol = protocol_of(Sequences("ring", chains(200)))
    model, grid = candidates(protocol)[1].model, candidates(protocol)[1].grid
    chosen = choose(protocol, model, grid)

    def goal(params: object) -> float:
        evaluation = asked(protocol.choices[0], model, params)[0][10].overall  # type: ignore[arg-type]
        return evaluation.hit_rate + evaluation.ndcg

    assert goal(chosen) == max(map(goal, grid))


def test_others_stand_beside_the_very_same_data_only() -> None:
    """A published number beside other data would be a lie."""
    protocol = protocol_of(Sequences("amazon-beauty", chains(100)))
    assert published(protocol) == []
    assert {table.metrics for table in TABLES} == {("recall@20", "ndcg@20"), ("hr@10", "ndcg@10")}


def test_metrics_are_shares_and_segments_add_up(tmp_path: Path) -> None:
    """In time, people who are new and people who return are told apart."""
    chance = random.Random(5)
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    for moment in range(1_500):
        user = chance.randrange(moment // 15 + 1)
        lines.append(f"u{user}\t{chance.choice(ITEMS)}\t{moment * 3600}")
    (data,) = found(written(tmp_path, "town.inter", "\n".join(lines) + "\n"))
    rows = rows_of(data)
    assert {row["model"] for row in rows} == {*ALWAYS, "co-occurrence", "decayed popularity", "recent"}
    for row in rows:
        assert set(row["segments"]) == {"new", "returning"}
        assert sum(segment["users"] for segment in row["segments"].values()) == row["users"]
        assert all(0 <= row[name] <= 1 for name in ("recall@20", "ndcg@20", "hr@10", "ndcg@10", "coverage@10"))


def test_places_left_empty_are_filled_as_serving_does() -> None:
    """Somebody whose items nobody else knows still gets an answer, and is measured with it."""
    lines = chains(60) | {"alone": ["x", "y", "z"]}
    protocol = protocol_of(Sequences("ring", lines))
    model, grid = candidates(protocol)[1].model, candidates(protocol)[1].grid
    evaluations, _ = asked(protocol.report, model, grid[0])
    known = set(protocol.report.train.items)
    places = [min(10, len(known - set(case.history))) for case in protocol.report.cases]
    assert evaluations[10].overall.answered == pytest.approx(sum(places) / (10 * len(places)))
    assert model is not popularity.MODEL


def test_the_command_prints_rows_as_json(tmp_path: Path) -> None:
    """Scripts read it; what is being done goes elsewhere."""
    written(tmp_path / "ring", "sequences.txt", text_of(chains(80)))
    done = CliRunner().invoke(app_for(["quality"]), ["quality", "--data", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["rows"]
    assert {(row["model"], row["ours"]) for row in rows} == {(model, True) for model in (*ALWAYS, "co-occurrence")}
    assert {"dataset", "recall@20", "ndcg@20", "hr@10", "ndcg@10", "params"} <= rows[0].keys()


def test_the_command_prints_a_table(tmp_path: Path) -> None:
    """People read it."""
    written(tmp_path / "ring", "sequences.txt", text_of(chains(80)))
    done = CliRunner().invoke(app_for(["quality"]), ["quality", "--data", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "ring: last item of each user" in done.stdout
