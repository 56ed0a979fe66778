"""Texts to tokens, as the sentence model was trained on them."""

from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from inference.sentences import wordpiece
from inference.sentences.wordpiece import WordPiece, words

VOCABULARY = Path(wordpiece.__file__).with_name("vocab.txt")
TOKENS = WordPiece.read(VOCABULARY, 128)

REFERENCE = {
    "Toy Story (1995)": [101, 9121, 2466, 1006, 2786, 1007, 102],
    "Amélie": [101, 25285, 102],
    "unaffable": [101, 14477, 20961, 3468, 102],
    "東京 Story": [101, 1879, 1755, 2466, 102],
    "it's 3.14!": [101, 2009, 1005, 1055, 1017, 1012, 2403, 999, 102],
    "": [101, 102],
    "naïve Ωmega": [101, 15743, 1179, 4168, 3654, 102],
}


def test_ids_are_those_of_the_reference() -> None:
    """Other ids would give vectors, and all of them would be wrong. The ids are those of Hugging Face's tokenizer."""
    assert {text: TOKENS.ids(text) for text in REFERENCE} == REFERENCE


def test_the_vocabulary_is_whole() -> None:
    """A line lost or broken in two shifts the ids of all that follow."""
    tokens = VOCABULARY.read_text(encoding="utf-8").split("\n")
    assert len(tokens) == 30522 + (tokens[-1] == "")
    assert [tokens[number] for number in (0, 100, 101, 102)] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


@given(st.text(max_size=400))
def test_every_text_has_tokens_within_bounds(text: str) -> None:
    """The model takes 128 of them, between two that frame them."""
    ids = TOKENS.ids(text)
    assert ids[0] == 101
    assert ids[-1] == 102
    assert 2 <= len(ids) <= 128
    assert all(0 <= one < 30522 for one in ids)


@given(st.text(alphabet=st.characters(codec="ascii"), max_size=100))
def test_case_and_spaces_mean_nothing(text: str) -> None:
    """The model is uncased."""
    assert TOKENS.ids(text) == TOKENS.ids(f"  {text.upper()} ")


@given(st.lists(st.text(alphabet="abc,.!", min_size=1, max_size=8), max_size=8))
def test_words_hold_either_letters_or_one_mark(parts: list[str]) -> None:
    """A mark is a word of its own, and no letter is lost."""
    found = list(words(" ".join(parts)))
    assert "".join(found) == "".join(parts)
    assert all(word.isalpha() or len(word) == 1 for word in found)
    assert len(found) >= sum(a.isspace() != b.isspace() for a, b in pairwise(" ".join(parts))) // 2
