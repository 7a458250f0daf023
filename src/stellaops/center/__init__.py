"""The verbs of the product with plain values in and plain values out: the command line and the API ask the same."""
