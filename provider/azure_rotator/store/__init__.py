"""The store: SQLAlchemy Core on SQLite, and with the same statements on PostgreSQL. Implements ``ports.UnitOfWork``.

``opening`` finds, makes, upgrades and opens a store; ``unit_of_work.SqlUnitOfWork`` is one. Nothing is imported here,
because SQLAlchemy costs a quarter of a second and a refused setting should not.
"""
