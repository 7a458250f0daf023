"""Sending notifications: a module for each kind of channels."""
