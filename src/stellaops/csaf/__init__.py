"""CSAF 2.0 and 2.1: documents, products, version ranges and the files that providers lay around them."""
