"""One module for each form of bills of materials, and a registry of them."""
