"""Tiny random models of transformers, saved to disk: real code paths without real weights."""

from __future__ import annotations

import torch
from transformers import (
    SegformerConfig,
    SegformerForSemanticSegmentation,
    Wav2Vec2Config,
    Wav2Vec2ForSequenceClassification,
    Wav2Vec2Model,
)


def _config(**changes):
    return Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        conv_dim=(8,) * 7, num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
        layer_norm_eps=1e-5, **changes,
    )  # fmt: skip


def wav2vec2(folder, **changes):
    """Saves a wav2vec 2.0 of two layers and width 16 (published geometry of its convolutions)."""
    torch.manual_seed(0)
    Wav2Vec2Model(_config(**changes)).save_pretrained(folder)
    return folder


def emotion(folder, labels=("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")):
    """Saves a speech classifier."""
    torch.manual_seed(1)
    config = _config(
        num_labels=len(labels),
        classifier_proj_size=8,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
    )
    Wav2Vec2ForSequenceClassification(config).save_pretrained(folder)
    return folder


def segformer(folder, labels):
    """A randomly initialised SegFormer, saved as the published one is."""
    torch.manual_seed(0)
    config = SegformerConfig(
        num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[8, 16],
        patch_sizes=[7, 3], strides=[4, 2], num_attention_heads=[1, 2], mlp_ratios=[2, 2],
        decoder_hidden_size=16, id2label=dict(enumerate(labels)),
        label2id={name: i for i, name in enumerate(labels)},
    )  # fmt: skip
    SegformerForSemanticSegmentation(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text('{"size": {"height": 96, "width": 96}}')
    return folder
