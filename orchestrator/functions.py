"""How settings name a function or object of somebody's: by where it is defined, and a function by its code as well.

The same code has the same digest in every process of one version of Python; another version writes it otherwise, so
a run with such a function is resumed under the version that began it. What a function is closed over, and what it
calls, is not looked at. Our own functions are known by name.
"""

from __future__ import annotations

from hashlib import blake2b
from types import CodeType, FunctionType
from typing import Any

__all__ = ["named"]


def named(value: Any) -> str:
    """Return `module:name`, and behind a function or method of somebody's a digest of its code."""
    name = getattr(value, "__qualname__", None) or type(value).__qualname__
    target = f"{getattr(value, '__module__', type(value).__module__)}:{name}"
    function = getattr(value, "__func__", value)
    if not isinstance(function, FunctionType) or target.startswith("orchestrator."):
        return target
    return f"{target} {blake2b(_told(function.__code__).encode(), digest_size=5).hexdigest()}"


def _told(constant: Any) -> str:
    """Return code, or a constant in it, as text that says nothing of addresses, lines or the order of hashes."""
    if isinstance(constant, CodeType):
        code = constant.co_code.hex(), constant.co_names, constant.co_varnames
        return f"{code} {[_told(each) for each in constant.co_consts]}"
    return str(sorted(map(repr, constant))) if isinstance(constant, frozenset) else repr(constant)
