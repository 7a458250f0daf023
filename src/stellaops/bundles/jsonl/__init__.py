"""Row sets as compressed JSON lines."""
