"""The model and its rules: pure, standard library only."""
