"""The mirrors: domains, what is published for them, and how copies of it are kept in step."""
