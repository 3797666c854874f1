"""How is a column found fast? One module per family of indexes, one face for all."""
