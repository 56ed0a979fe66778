"""How high a user rates."""

from inference.feature import Source
from inference.values import mean_value

FEATURE = mean_value("user", Source.USER, "Mean value (rating, price, ...) of the user's interactions that had one.")
