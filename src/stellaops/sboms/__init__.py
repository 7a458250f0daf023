"""Bills of materials: what a product is made of, read leniently from every form in use."""
