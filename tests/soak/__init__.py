"""Years of rotations in minutes: the real store, engine and scheduler; the clock and the rotators are the test's."""
