"""Rows into files that an import takes, and imports over REST: the names and parameters of Milvus's bulk writers.

with LocalBulkWriter(schema, "rows", file_type=BulkFileType.PARQUET) as writer:
    writer.append_row({"id": 1, "vector": [0.1, 0.2]})
    writer.commit()
client.import_files("books", writer.batch_files)
"""

from __future__ import annotations

from redkite.bulk_writer.local import LocalBulkWriter as LocalBulkWriter
from redkite.bulk_writer.remote import RemoteBulkWriter as RemoteBulkWriter
from redkite.bulk_writer.rest import bulk_import as bulk_import
from redkite.bulk_writer.rest import get_import_progress as get_import_progress
from redkite.bulk_writer.rest import list_import_jobs as list_import_jobs
from redkite.formats.writers import BulkFileType as BulkFileType

__all__ = [
    "BulkFileType",
    "LocalBulkWriter",
    "RemoteBulkWriter",
    "bulk_import",
    "get_import_progress",
    "list_import_jobs",
]
