"""The DuckDB file: tables, views, publishing, retention."""
