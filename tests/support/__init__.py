"""Helpers of the tests: peers' programs, real data, surroundings."""
