"""All input and output: databases, files, keys. Each module implements ports of the rooms below."""
