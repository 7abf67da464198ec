from importlib.metadata import version

from streams.engine.partition import BUILD


def test_checkpoints_name_the_build_that_wrote_them() -> None:
    assert version("labelwatch") == BUILD
