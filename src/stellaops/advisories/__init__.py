"""Advisory documents: their canonical form, their fields, the databases they come from. Pure: bytes in, values out."""
