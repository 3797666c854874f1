"""Every operation of a client, each written once and without I/O: see `redkite.client.session`."""
