"""What a scheduler costs that has nothing to do, however many items there are."""
