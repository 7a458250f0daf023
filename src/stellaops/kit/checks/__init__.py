"""The checks of a verification, by what they look at. Each says what it found, or raises one of the outcomes."""
