"""pymilvus's local `.db` files, opened by Redkite in place of Milvus Lite.

pymilvus imports `milvus_lite.server_manager` when a URI ends in `.db`. While this distribution is installed, that
module is Redkite's (`finder.py`, which a `.pth` file starts with the interpreter); the rest of Milvus Lite, where it is
installed, is left as it is. `python -m redkite_dropin` says which of the two opens files here.
"""
