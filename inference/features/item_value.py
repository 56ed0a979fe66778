"""How high an item is rated."""

from inference.feature import Source
from inference.values import mean_value

FEATURE = mean_value("item", Source.ITEM, "Mean value (rating, price, ...) of the item's interactions that had one.")
