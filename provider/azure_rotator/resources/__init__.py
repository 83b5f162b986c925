"""What a Pulumi program sees: ``AzureTarget``, ``RotatedSecret`` and ``get_value``. Thin: the engine does the work.

The public names are those of ``azure_rotator``, which loads them when they are named. Nothing is imported here: a
provider process that unpickles ``azure_rotator.resources.providers`` pays for that module only.
"""
