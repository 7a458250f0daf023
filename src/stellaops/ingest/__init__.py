"""Concelier's way in: files become records, records become revisions, nothing upstream is ever changed."""
