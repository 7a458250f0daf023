"""The evidence store and the service store on SQL databases."""
