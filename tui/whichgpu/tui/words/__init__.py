"""Records in words: what every face prints."""
