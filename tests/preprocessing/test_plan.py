from __future__ import annotations

import pickle
from dataclasses import dataclass
from fractions import Fraction

import pytest

from core.clip import Clip
from core.errors import InputError
from core.weights import Store
from preprocessing.plan import Placed, Work, check, do
from preprocessing.recipes import flashlips, flashlips_256, flashlips_debug


@dataclass(frozen=True)
class Fake:
    name: str
    needs: frozenset[str] = frozenset()
    adds: frozenset[str] = frozenset()
    gives: int = 1
    lies: bool = False

    def setup(self) -> None:
        pass

    def __call__(self, clips):
        for clip in clips:
            if self.gives < 0:
                raise OSError("torn tape")
            for _ in range(self.gives):
                yield clip if self.lies else clip.having(**dict.fromkeys(self.adds, 1))


def placed(*steps: Fake) -> list[Placed]:
    return [Placed(step) for step in steps]


def test_a_gap_in_the_chain_is_named_before_anything_starts():
    a, b = Fake("a", adds=frozenset({"frames"})), Fake("b", needs=frozenset({"frames", "mesh"}))
    check(placed(a))
    with pytest.raises(InputError, match=r"'b' needs mesh.*there are frames"):
        check(placed(a, b))
    with pytest.raises(InputError, match="needs frames, mesh"):
        check(placed(b, a))
    with pytest.raises(InputError, match="stands twice"):
        check(placed(a, a))
    with pytest.raises(InputError, match="'a' has added before"):
        check(placed(a, Fake("c", adds=frozenset({"frames"}))))


@pytest.mark.parametrize("recipe", [flashlips(), flashlips_256(), flashlips_debug()])
def test_recipes_chain_and_steps_pickle_without_weights(recipe):
    chain = recipe.chain(Store(()))
    check(chain)
    assert pickle.loads(pickle.dumps(chain)) == chain


def test_shares_add_up_whatever_steps_do():
    steps = [Fake("a", gives=3), Fake("b", gives=2), Fake("c")]
    parts = list(do(steps, Work("id", Clip("id", "x.mp4"))))
    assert len(parts) == 6
    assert sum(p.share for p in parts) == Fraction(1)
    assert {name for p in parts for name in p.seconds} == {"a", "b", "c"}


def test_a_raising_or_silent_step_costs_one_clip_only():
    bad = Fake("bad", gives=-1)
    (part,) = do([bad, Fake("after")], Work("id", Clip("id", "x.mp4")))
    assert part.clip.drop is not None
    assert (part.clip.drop.kind, part.clip.drop.step) == ("failed", "bad")
    assert part.clip.drop.reason == "OSError: torn tape"
    (part,) = do([Fake("mute", gives=0)], Work("id", Clip("id", "x.mp4")))
    assert part.clip.drop is not None
    assert part.clip.drop.kind == "failed"


def test_steps_are_held_to_what_they_declare():
    lazy = Fake("lazy", adds=frozenset({"mask"}), lies=True)
    with pytest.raises(AssertionError, match="did not add"):
        list(do([lazy], Work("id", Clip("id", "x.mp4"))))
