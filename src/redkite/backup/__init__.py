"""How is a collection kept, and brought back? Named snapshots and backups: images of collections at one timestamp."""
