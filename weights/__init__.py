"""The shipped weights as package data: safetensors, `manifest.json`, `MODEL_CARD.md`."""
