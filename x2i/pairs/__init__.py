"""Edit pairs: whether their images and words are in order, and what further pairs follow from them."""
