"""The pure core: nouns, rules and ports. No I/O, no clock, no randomness, nothing but the standard library."""
