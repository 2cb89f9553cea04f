"""What the tests of kept objects share."""

from tests.unit.objects.kept import assembled, cache, tree

__all__ = ["assembled", "cache", "tree"]
