from __future__ import annotations

from pathlib import Path

import pytest

from core.testing import KnownFaces, dummy_sound, dummy_video, talking_frame

SIZE = (320, 240)


@pytest.fixture(scope="session")
def media(tmp_path_factory) -> Path:
    """A folder with talk.mp4 (a drawn face, 40 frames), nobody.mp4 and new.wav."""
    folder = tmp_path_factory.mktemp("media")
    dummy_video(folder / "talk.mp4", seconds=1.6, size=SIZE, face=True)
    dummy_video(folder / "nobody.mp4", seconds=0.4)
    dummy_sound(folder / "new.wav", seconds=1.0)
    return folder


@pytest.fixture
def faces():
    """A tracker for talk.mp4, blind on the given frames."""

    def make(blind=(), count=1) -> KnownFaces:
        def mesh(index: int):
            return None if index in blind else talking_frame(index, *SIZE)[1]

        return KnownFaces(mesh, count)

    return make
