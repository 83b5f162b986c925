"""Who calls ``run(rotation_id)``: adapters of ``domain.ports.Dispatcher``."""
