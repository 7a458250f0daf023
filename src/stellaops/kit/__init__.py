"""All that the far side needs, alone: verification of bundles, without a network, a database or the rest."""
