"""The console's database: SQLite by default, PostgreSQL by URL."""
