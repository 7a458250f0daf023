"""The Export Center: profiles, runs, bundles. One snapshot of the evidence becomes a signed, reproducible bundle."""
