"""Image codecs: pixels to latents and back."""
