"""How each ecosystem orders its versions: one module per scheme, and a registry of who uses which."""
