"""Version ranges against components: how each ecosystem orders its versions, and what a range contains."""
