"""Systems by name. Strings, so that importing ``models`` loads no torch and no system."""

from __future__ import annotations

SYSTEMS = {
    "flashlips": "models.flashlips:SYSTEM",
    "codec": "models.experts.codec_training:SYSTEM",
}
