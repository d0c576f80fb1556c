"""Image codecs: pixels to latents and back, one file each."""
