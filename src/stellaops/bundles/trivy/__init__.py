"""The databases of Trivy: the vulnerability database, the Java database, and the bbolt file format."""
