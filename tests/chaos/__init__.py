"""Programs that are ended at random moments and go on: what comes out has to be the same."""
