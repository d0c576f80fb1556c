"""Stage 1b: mask removal by self-refinement on symmetric pseudo-pairs (Sec. 3.1.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from core.checkpoint import CheckpointRef
from core.contracts import BatchRequest, FramePair
from core.weights import Store
from models.flashlips.online import online
from models.flashlips.parts import Net, freeze, images, latent_mask, load_parts, pixels
from models.flashlips.reconstruction import FIELDS, codec_of, edit_losses, held, sheet
from models.losses.l1 import masked_mae


class LipsChange:
    """Objective of the mask-free editor.

    The frozen masked editor paints another lips vector into the source: the pseudo-pair
    (source, changed), made on the fly. The trained editor sees one of the two, no mask, and must
    give the other: source -> changed with probability ``real_to_synthetic`` (2/3 in A.2).
    """

    def __init__(
        self,
        net: Net,
        parents: Mapping[str, CheckpointRef],
        origin: Mapping[str, Any],
        store: Store,
    ) -> None:
        self.codec = codec_of(origin, net, store)
        first = load_parts(parents["reconstruction"], ["editor", "lips_encoder"])
        self.painter = freeze(first["editor"])
        self.encoder = freeze(first["lips_encoder"])
        start = parents.get("lips_change", parents["reconstruction"])
        self.editor = load_parts(start, ["editor"])["editor"]
        self.compare = edit_losses(self.codec, net, store)
        self.terms = self.compare.terms
        self.online = online(self.codec, net)
        self.real_to_synthetic = float(net.get("real_to_synthetic", 2 / 3))
        self.other_people = float(net.get("other_people", 0.5))

    def trainable(self) -> Mapping[str, nn.Module]:
        """The mask-free editor."""
        return {"editor": self.editor}

    def frozen(self) -> Mapping[str, nn.Module]:
        """The masked editor, the lips encoder, the codec and the backbones."""
        return {"painter": self.painter, "lips_encoder": self.encoder, **self.compare.frozen}

    def at(self, progress: float) -> None:
        """Told before each step which share of the run is done."""
        self.compare.progress = progress

    def request(self, rng: np.random.Generator) -> BatchRequest:
        """A source, a reference and a third frame that lends its lips vector."""
        return BatchRequest(FramePair(), FIELDS)

    @torch.no_grad()
    def pairs(self, batch: Mapping[str, Any], rng: torch.Generator) -> dict[str, Any]:
        """Pseudo-pairs of a batch: lips vectors of both and the changed latent.

        Outside the (grown) mask the changed latent is the source's own: the painter has nothing to
        say there, and its small errors would teach the editor to repaint the background.
        """
        lips = self.encoder(batch["expression"], images(batch["crop"]))
        other = self.encoder(batch["expression_other"], images(batch["crop_other"]))
        borrowed = other.roll(1, 0)  # the neighbour in the batch: mostly another person
        chance = torch.rand(len(lips), generator=rng).to(lips.device)
        asked = torch.where((chance < self.other_people)[:, None], borrowed, other)
        reference = self.painter.reference(  # type: ignore[operator]
            batch["latent_source_reference"]
        )
        source = batch["latent_source"]
        changed = self.painter(batch["latent_masked"], reference, asked)
        inside = latent_mask(batch["mask"], source.shape[-1]) > 0
        return {"lips": lips, "asked": asked, "changed": torch.where(inside, changed, source)}

    def edit(self, z: Any, batch: Mapping[str, Any], lips: Any) -> Any:
        """The mask-free edit: the input latent takes the masked one's place."""
        reference = self.editor.reference(  # type: ignore[operator]
            batch["latent_source_reference"]
        )
        return self.editor(z, reference, lips)

    def losses(self, batch: Mapping[str, Any], rng: torch.Generator) -> Mapping[str, Any]:
        """Eq. 4-8 in both directions of the pair; the pseudo target stays a latent."""
        if self.online:
            batch = self.online(batch, rng)
        pair, source = self.pairs(batch, rng), batch["latent_source"]
        chance = torch.rand(len(source), generator=rng).to(source.device)
        forward = chance < self.real_to_synthetic
        pick = forward[:, None, None, None]
        z_in = torch.where(pick, source, pair["changed"])
        z_out = torch.where(pick, pair["changed"], source)
        lips = torch.where(forward[:, None], pair["asked"], pair["lips"])
        return self.compare(self.edit(z_in, batch, lips), z_out, batch, None)

    def measure(self, batch: Mapping[str, Any], rng: torch.Generator) -> Mapping[str, Any]:
        """Changed -> source where the lips are, against leaving the changed frame as it is.

        Elsewhere inside M the two differ by the painter's softness, which no lips vector undoes.
        """
        pair, source = self.pairs(batch, rng), batch["latent_source"]
        m = (latent_mask(batch["lips_mask"], source.shape[-1]) > 0).float()
        back = self.edit(pair["changed"], batch, pair["lips"])
        return {
            "error": masked_mae(back - source, m),
            "copy_error": masked_mae(pair["changed"] - source, m),
        }

    def film(self, clip: Mapping[str, Any]) -> np.ndarray:
        """Frames in a row (T, ...) with the lips of half a window later, beside the truth."""
        lips = self.encoder(clip["expression"], images(clip["crop"])).roll(
            len(clip["crop"]) // 2, 0
        )
        edited = self.edit(clip["latent_source"], held(clip), lips)
        return np.asarray(torch.cat([pixels(self.codec.decode(edited)), clip["crop"]], 2).cpu())

    def picture(self, batch: Mapping[str, Any]) -> np.ndarray:
        """Columns: changed by the masked editor, the mask-free edit back, truth."""
        pair = self.pairs(batch, torch.Generator().manual_seed(0))
        back = self.edit(pair["changed"], batch, pair["lips"])
        return sheet([pixels(self.codec.decode(z)) for z in (pair["changed"], back)], batch["crop"])
