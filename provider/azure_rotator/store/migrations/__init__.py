"""The schema's history, expand-contract: a release reads the schema of the one before and of the one after."""
