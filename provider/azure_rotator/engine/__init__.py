"""The use cases: the only writers of store and Azure."""
