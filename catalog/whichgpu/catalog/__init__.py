"""What is known already: findings in SQLite, and the bundled atlas."""
