"""Properties here train models: how long one example takes says nothing."""

from hypothesis import settings

settings.register_profile("inference", deadline=None)
settings.load_profile("inference")
