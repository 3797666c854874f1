"""What is a piece of a collection? Growing segments take writes; sealed ones are immutable files; both answer reads."""
