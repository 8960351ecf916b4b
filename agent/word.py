"""The base of the agent's words: small immutable values, declared like dataclasses.

``dataclasses`` costs the boot path 9 ms of CPU (it reads source with ``inspect``), as much as all
the rest of it; this costs nothing and the type checker treats it the same (PEP 681).

On the boot path: imports nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import dataclass_transform
else:

    def dataclass_transform(**_options):
        return lambda cls: cls


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Word:
    """A value with named fields, given by keyword: compared and printed by them, never changed.

    Fields are the annotations of the class body, in their order; a class attribute is a default.
    """

    __fields__: tuple[str, ...] = ()

    def __init_subclass__(cls) -> None:
        cls.__fields__ = tuple(cls.__annotations__)

    def __init__(self, **values: object) -> None:
        for name in self.__fields__:
            if name in values:
                self.__dict__[name] = values.pop(name)
            elif not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__} needs {name}=")
        if values:
            raise TypeError(f"{type(self).__name__} has no {', '.join(sorted(values))}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def _values(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__fields__)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Word) and other._values() == self._values()

    def __hash__(self) -> int:
        return hash((type(self), *(value for value in self._values() if not isinstance(value, dict))))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{n}={getattr(self, n)!r}' for n in self.__fields__)})"
