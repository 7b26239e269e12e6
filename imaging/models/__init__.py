"""The model: a ViT over CT windows, a text tower over prompts, and what joins them."""
