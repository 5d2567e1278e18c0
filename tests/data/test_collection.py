"""Reading pauses the garbage collector and leaves it as it was found."""

import gc

import pytest

from lookboth.memory import without_collection


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_left_as_it_was_found(enabled):
    before = gc.isenabled()

    @without_collection()
    def read(fail):
        assert not gc.isenabled()
        if fail:
            raise ValueError("bad file")

    try:
        (gc.enable if enabled else gc.disable)()
        for _ in range(2):  # a decorator serves more than once
            read(fail=False)
        with pytest.raises(ValueError, match="bad file"):
            read(fail=True)
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if before else gc.disable)()
