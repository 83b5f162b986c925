"""A crowd that is due at once: real schedulers, a real server, the sandbox over TLS, the wall clock."""
