"""Recipes of FlashLips: the paper's stage 1, nano (two CPU cores), its demo size, personalise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from models.experts.expression import EXPRESSION_DIM
from training.recipe import TrainRecipe

EQ9 = {
    "lat_l1": 0.1, "lat_l1_mask": 0.1, "lat_l1_lips": 0.0, "pix_l1_mask": 10.0, "pix_l1_lips": 100.0
}  # fmt: skip
"""The paper's weights (Eq. 9) of the terms that need no perceptual backbone."""

PERCEPTUAL = {"vgg": 50.0, "vgg_face": 5.0}
"""The paper's weights of the other two (Eq. 9)."""

LEVERS: dict[str, Any] = {
    "encode_online": False,
    "pixel_window": None,
    "pixel_fraction": 1.0,
    "pixel_from": 0.0,
    "pixel_decoder": "",
    "pixel_decoder_until": 1.0,
}
"""Cost levers of stage 1, fields of ``net``; as they stand none is pulled. What each saves at the
paper's sizes: bench/results/train_step.json.

encode_online: latents are encoded at each step from augmented crops (A.1), as the paper does. True,
    or some of {flip, chance, strength}. Else the shards' are used, and where these hold variants
    (preprocessing: ``latents`` with flip and jitter) one of K + 2 is drawn. The shards' own serve
    validation in either case.
pixel_window: latent rows and columns (top, bottom, left, right) whose pixels are decoded and
    compared, or None for all. Convolutions see nothing beyond it: leave a margin round the mouth.
pixel_fraction: share of a batch whose pixels are compared, the batch's first.
pixel_from: share of the run before which no pixels are compared: a phase in latent space alone.
pixel_decoder: codec (as ``load_codec`` names them) whose decoder stands in for the latents' own in
    the pixel losses, such as ``diffusers:FOLDER`` of the AutoencoderTiny made for that VAE.
pixel_decoder_until: share of the run after which the latents' own decoder is back.
"""

PAPER_NET: dict[str, Any] = {
    "latent": 4,
    "expression": EXPRESSION_DIM,
    "editor": {"unet": {}},
    "lips_encoder": {
        "main": 8, "residual": 4, "hidden": 128, "width": 64, "layers": [2, 2, 2, 2], "mouth": 96,
    },
    "image_encoder": {"layers": [3, 4, 6, 3], "width": 64, "size": 384},
    "fmt": {"speech": 3 * 768},
    "speech_encoder": "wav2vec2:wav2vec2-base-960h#6,9,12",
    "emotion_encoder": "speech-emotion",
    "drop_condition": 0.1,
    "drop_past": 0.5,
    "euler_steps": 10,
    "guidance": 2.0,
    "perceptual": list(PERCEPTUAL),
    "tau_lips": 320.0,
    **LEVERS,
}  # fmt: skip
"""The paper's size, for 512 px crops through the SDXL VAE (A.3).

``tau_lips`` is ours; the layers of wav2vec 2.0 too, whose features are projected to Table A.3's
d_a = 512. Dropouts, Euler steps and guidance by sound are FLOAT's.
"""

NANO_EDIT = {
    "lat_l1": 1.0, "lat_l1_mask": 4.0, "lat_l1_lips": 0.5, "pix_l1_mask": 1.0, "pix_l1_lips": 0.5
}  # fmt: skip
"""Nano leans on the latent terms: they cost no decoder pass, and minutes are all it has."""

NANO_NET: dict[str, Any] = {
    "latent": 32,
    "expression": EXPRESSION_DIM,
    "editor": {
        "reference": {"out": 32, "width": 32, "blocks": 1},
        "unet": {"channels": [64, 96, 128], "blocks": 1, "mid": 1, "groups": 16},
        "gate": True,
        "film": True,
    },
    "lips_encoder": {
        "main": 8, "residual": 4, "hidden": 96, "width": 16, "layers": [1, 1, 1], "mouth": 48,
    },
    "image_encoder": {"layers": [1, 1, 1, 1], "width": 16, "size": 96},
    "fmt": {
        "pose": 0, "audio": 128, "emotion": 0, "references": 4,
        "dim": 160, "depth": 4, "heads": 4, "speech": 1088,
    },
    "speech_encoder": "whisper-tiny.en+log-mel",
    "pixel_window": [6, 15, 3, 13],
    "pixel_fraction": 0.25,
    "latent_jitter": 0.3,
    "tau_lips": 20.0,
}  # fmt: skip

NO_BACKBONES = (
    "L_VGG (Eq. 7) and L_VGG-face (Eq. 8) are left out: their backbones are not in the weights "
    "folder and weigh more than the whole nano system",
    "no emotion input: the 7-class speech-emotion net is not in the weights folder",
)


def reconstruction() -> TrainRecipe:
    """Masked reconstruction as in Sec. 4.2: OneCycle 1e-4 -> 1e-8, batch 32, a million steps.

    Averaged weights, bfloat16 and clipping are ours.
    """
    return TrainRecipe(
        system="flashlips",
        stage="reconstruction",
        loss_weights={**EQ9, **PERCEPTUAL},
        net=PAPER_NET,
        steps=1_000_000,
        batch=32,
        lr=1e-4,
        lr_schedule="one_cycle",
        betas=(0.9, 0.999),
        ema=0.9999,
        bf16=True,
        splits=("train",),
    )


def distillation() -> TrainRecipe:
    """The distilled ResNet-34, 200 k steps (Sec. 4.2), after reconstruction rather than beside."""
    return replace(
        reconstruction(), stage="distillation", loss_weights={"lips_l1": 1.0}, steps=200_000
    )


def lips_change() -> TrainRecipe:
    """Mask removal, 200 k steps (Sec. 4.2)."""
    return replace(reconstruction(), stage="lips_change", steps=200_000)


def audio_to_lips() -> TrainRecipe:
    """Speech to lips vectors: constant 5e-5 (Sec. 4.2); the batch of 32 and 1 M steps are ours."""
    return replace(
        reconstruction(),
        stage="audio_to_lips",
        loss_weights={"flow": 1.0},
        lr=5e-5,
        lr_schedule="constant",
        warmup=0,
    )


def distillation_resnet50() -> TrainRecipe:
    """As ``distillation``, with the ResNet-50 that Sec. 4.2 names (Fig. 4 has a ResNet-34)."""
    encoder = {**PAPER_NET["image_encoder"], "bottleneck": True}
    return replace(distillation(), net={**PAPER_NET, "image_encoder": encoder})


def reconstruction_vit() -> TrainRecipe:
    """As ``reconstruction``, with the transformer of Table A.2."""
    return replace(reconstruction(), net={**PAPER_NET, "editor": {"vit": {}}})


def lips_change_vit() -> TrainRecipe:
    """As ``lips_change``, for what ``reconstruction_vit`` gave."""
    return replace(lips_change(), net=reconstruction_vit().net)


def nano_reconstruction() -> TrainRecipe:
    """Masked reconstruction at nano size (Sec. 3.1.1)."""
    return TrainRecipe(
        system="flashlips",
        stage="reconstruction",
        loss_weights=NANO_EDIT,
        net=NANO_NET,
        steps=2600,
        batch=16,
        lr=1e-3,
        ema=0.995,
        save_half=True,
        notes=NO_BACKBONES,
    )


def nano_distillation() -> TrainRecipe:
    """The distilled image encoder at nano size (Sec. 3.1.1)."""
    return TrainRecipe(
        system="flashlips",
        stage="distillation",
        loss_weights={"lips_l1": 1.0},
        net=NANO_NET,
        steps=400,
        batch=24,
        lr=1e-3,
        ema=0.99,
        save_half=True,
    )


def nano_lips_change() -> TrainRecipe:
    """Mask removal by self-refinement at nano size (Sec. 3.1.2).

    ``lat_l1`` weighs more than in reconstruction: outside M the edit must give the source back.
    """
    return replace(
        nano_reconstruction(),
        stage="lips_change",
        loss_weights={**NANO_EDIT, "lat_l1": 3.0},
        steps=1000,
        lr=5e-4,
    )


def nano_audio_to_lips() -> TrainRecipe:
    """Speech to lips vectors at nano size (Sec. 3.2)."""
    return TrainRecipe(
        system="flashlips",
        stage="audio_to_lips",
        loss_weights={"flow": 1.0},
        net=NANO_NET,
        steps=1200,
        batch=16,
        lr=5e-4,
        ema=0.995,
        save_half=True,
        notes=NO_BACKBONES[1:],
    )


NANO = (nano_reconstruction, nano_distillation, nano_lips_change, nano_audio_to_lips)
"""The stages of the shipped checkpoint, in training order."""


DEMO = {
    "reconstruction": (430, 5.0),
    "distillation": (120, 0.6),
    "lips_change": (190, 3.0),
    "audio_to_lips": (400, 1.6),
}
"""Steps of the demo's stages, and the minutes after which a slower machine ends them."""


def demo() -> tuple[TrainRecipe, ...]:
    """The four stages within minutes of two CPU cores: shorter, otherwise as ``NANO``."""
    found = []
    for make in NANO:
        steps, minutes = DEMO[make().stage]
        found.append(replace(make(), steps=steps, minutes=minutes))
    return tuple(found)


SHARES = {"reconstruction": 0.46, "distillation": 0.04, "lips_change": 0.34, "audio_to_lips": 0.16}
"""How personalise divides its minutes."""


def _on_lips(weights: dict[str, float]) -> dict[str, float]:
    """The same, the latent lips term doubled: looks are known, lips are what is learned."""
    return {k: v * 2 if k == "lat_l1_lips" else v for k, v in weights.items()}


def personalise(minutes: float) -> tuple[TrainRecipe, ...]:
    """Adapts a generic checkpoint to one person within ``minutes`` of training.

    Small batches: with one person's frames, steps count more than samples. The steps are out of
    reach, the clock ends each stage.
    """
    return tuple(
        replace(
            r(),
            minutes=minutes * SHARES[r().stage],
            steps=100_000,
            batch=8 if r().stage in ("reconstruction", "lips_change") else 16,
            lr=r().lr * 0.7,
            loss_weights=_on_lips(r().loss_weights),
            net={**NANO_NET, "latent_jitter": 0.0},
            save_half=False,
        )
        for r in NANO
    )
