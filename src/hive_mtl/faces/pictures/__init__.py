"""Pictures of embeddings: a map as one self-contained page, or as a PNG."""
