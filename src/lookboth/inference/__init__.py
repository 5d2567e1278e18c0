"""From texts to predictions."""
