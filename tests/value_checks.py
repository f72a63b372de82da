"""What every value class promises: repr, ==, hash, pickle, copy."""

import copy
import pickle

import pytest

__all__ = ["checkValue"]


def checkValue(value, others=(), immutable=True):
    """Assert that a value has a repr, equals its copies and pickle, hashes like them, and differs from others.

    Parameters
    ----------
    value : object
    others : iterable
        Values that must not be equal to it.
    immutable : bool
        Whether it must be hashable and all its properties read-only; else it must not be hashable.
    """
    text = repr(value)
    assert text.startswith(type(value).__name__) or text.startswith("<"), text
    assert len(text) < 1000 and "object at 0x" not in text
    same = [pickle.loads(pickle.dumps(value, protocol)) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)]
    same += [copy.copy(value), copy.deepcopy(value)]
    for twin in same:
        assert type(twin) is type(value)
        assert twin == value and value == twin and not (twin != value)
    for other in (*others, None, 17, "text", object()):
        assert value != other and not (value == other)
    if not immutable:
        with pytest.raises(TypeError):
            hash(value)
        return
    assert {hash(twin) for twin in same} == {hash(value)}
    for name in dir(type(value)):
        if isinstance(getattr(type(value), name), property):
            with pytest.raises(AttributeError):
                setattr(value, name, None)
