"""Which version this is, and which version of Milvus's protocol it answers as."""

VERSION = "0.1.0"
PROTOCOL_VERSION = f"v2.6.17+redkite-{VERSION}"
"""What GetVersion and Connect say: tools read `vX.Y.Z` to see which calls exist."""
