"""Collections whose rows are objects of a class of the program's. `redkite.typed` is the way in."""
