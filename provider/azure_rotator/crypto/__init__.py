"""Sealing: the key-encryption key and where it comes from (``keyring``), values under it (``envelope``)."""
