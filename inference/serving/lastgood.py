"""The last answer that a model made for each user, kept in memory for the time when none can."""

from collections import OrderedDict
from collections.abc import Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inference.interactions import Float32Array, Int32Array
from inference.serving.reads import User

if TYPE_CHECKING:
    from inference.serving.routing import Route


@dataclass(frozen=True, slots=True, eq=False)
class Good:
    """An answer of a model, before filters, so that it can be filtered anew.

    Attributes:
        decision_id: under which it was recorded.
        route: what scored.
        user: for whom, as known then.
        item_ids: one row of the model's answer.
        scores: of the same items.
    """

    decision_id: str
    route: "Route"
    user: User
    item_ids: Int32Array
    scores: Float32Array

    @property
    def scored(self) -> list[tuple[str, float]]:
        """The candidates, best first."""
        return self.route.metadata.decode(self.item_ids, self.scores)


class LastGood:
    """The newest `size` users' answers; the one not used for longest goes first.

    Args:
        size: 0 keeps none.

    Attributes:
        epoch: counts the reviews.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self.epoch = 0
        self._answers: OrderedDict[tuple[str, str], Good] = OrderedDict()

    def put(self, model: str, user_id: str, answer: Good, epoch: int) -> None:
        """Keep an answer, unless there has been a review since its user was read.

        Args:
            epoch: at the time before the user was read.
        """
        if epoch != self.epoch:
            return
        self._answers[model, user_id] = answer
        self._answers.move_to_end((model, user_id))
        while len(self._answers) > self._size:
            self._answers.popitem(last=False)

    def get(self, model: str, user_id: str) -> Good | None:
        """The newest answer that is kept."""
        found = self._answers.get((model, user_id))
        if found is not None:
            self._answers.move_to_end((model, user_id))
        return found

    def review(self) -> set[str]:
        """Whose answers are kept, to see who may still be known; one that is being made will not be kept."""
        self.epoch += 1
        return {user_id for _, user_id in self._answers}

    def forget_all(self, users: Set[str]) -> None:
        """Drop the answers of these users, of all models."""
        for key in [key for key in self._answers if key[1] in users]:
            del self._answers[key]

    def forget(self, model: str, user_id: str) -> None:
        """Drop a user's answer: it was made with a consent that has been withdrawn."""
        self._answers.pop((model, user_id), None)
