"""One module a format, found in ``neutro_screen.ingest.READERS``."""
