"""Deployments before they are started: whether what an operator wrote and put in place fits together."""
