"""Identity: alignment by five points; real faces when weights and clips are there."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import InputError
from core.weights import Store
from models.experts.identity import POINTS, TEMPLATE, Identity, align


def _mesh(turn: complex = 1, shift: complex = 0) -> np.ndarray:
    """A mesh whose five points lie on the template, turned, scaled and moved."""
    mesh = np.zeros((468, 3), np.float32)
    for rows, (x, y) in zip(POINTS, TEMPLATE, strict=True):
        point = (complex(x, y)) * turn + shift
        mesh[list(rows), :2] = point.real, point.imag
    return mesh


@pytest.mark.parametrize("turn", [1, 3.0, 2 * np.exp(0.4j)])
def test_align_undoes_turn_scale_and_shift(turn):
    mesh = _mesh(turn, 40 + 20j)
    transform = align(mesh)
    points = np.stack([mesh[list(rows), :2].mean(0) for rows in POINTS])
    np.testing.assert_allclose(points @ transform[:, :2].T + transform[:, 2], TEMPLATE, atol=1e-3)


def test_missing_weights_are_a_sentence(tmp_path):
    identity = Identity(Store((tmp_path,)))
    assert not identity.available
    with pytest.raises(InputError, match=r"put mobilefacenet\.onnx"):
        identity.embed(np.zeros((112, 112, 3), np.uint8), _mesh())


def test_one_person_is_near_and_two_are_far(store, clips):
    import av

    from models.experts.face import FaceMesh

    identity = Identity(store)
    if not identity.available:
        pytest.skip("mobilefacenet.onnx is in no weights folder")
    mesh = FaceMesh(store)
    people = []
    for clip in ("EDTalk__uncrop_Obama.mp4", "SadTalker__WDA_AlexandriaOcasioCortez_000.mp4"):
        mesh.reset()
        vectors = []
        with av.open(str(clips / clip)) as video:
            for i, frame in enumerate(video.decode(video=0)):
                if i in (0, 60):
                    picture = frame.to_ndarray(format="rgb24")
                    face = mesh.track(picture)
                    assert face is not None
                    vectors.append(identity.embed(picture, face.landmarks))
                if i > 60:
                    break
        people.append(vectors)
    (a, b), (c, d) = people
    assert a.shape == (128,)
    assert np.linalg.norm(a) == pytest.approx(1.0, abs=1e-5)
    assert min(a @ b, c @ d) > 0.7
    assert max(a @ c, a @ d, b @ c, b @ d) < 0.4
