"""Places that mirrors are served from: directories, and buckets."""
