"""The dummy videos and the chain without nets, as in tests/preprocessing."""

from tests.preprocessing.conftest import cheap, video

__all__ = ["cheap", "video"]
