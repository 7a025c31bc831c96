"""Property tests here share their machine with control planes, so one slow example proves nothing."""

from hypothesis import settings

settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")
