"""Which layers should look right: the best mask plan at about the price of one training."""
