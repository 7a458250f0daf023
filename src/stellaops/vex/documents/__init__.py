"""The forms in which VEX is published, one module each."""
