"""synthetic@1: four rendered people whom no shipped checkpoint was trained on: for everybody, who
has no clips to show around.

Their own sound, each other's, and none, as in clips@1. The clips are rendered where they are needed
(``Heads`` says which); the manifest holds their hashes, so results of machines whose encoders write
other bytes are not compared. Rendered skin is simpler than skin: a system that was trained on these
heads looks better here than it is.
"""

from __future__ import annotations

from evaluation.benchmarks.clips import pair
from evaluation.benchmarks.pairs import Heads, VideoBenchmark
from evaluation.videos import Viewing

BENCHMARK = VideoBenchmark(
    "synthetic", 1, pair, viewing=Viewing(seconds=5.0), heads=Heads(people=4, seconds=5.0, seed=101)
)
