"""Who does the work? Streaming nodes own channels and fresh rows, query nodes hold sealed segments, data nodes write
segments, build indexes and compact. Nodes are plain objects; a runtime places them."""
