"""The database's promises: what commits, what does not, and that nobody meets a locked file."""
