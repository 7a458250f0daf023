"""How long bundles and evidence are kept, and what room they take."""
