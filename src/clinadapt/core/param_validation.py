"""Check a class's settings against the annotations of its constructor.

The annotations are the only definition of a setting's type, bounds and default. Estimators follow
scikit-learn (the constructor only stores), so values are checked by `fit` and, before any time is
spent on training, when a study file is read. Unknown keys are errors, because a misspelt setting
must not be ignored silently.
"""

import difflib
import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any, get_type_hints

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from clinadapt.core.errors import InputError


@cache
def _schema(cls: type) -> type[BaseModel]:
    """Return a pydantic model with one field for each constructor parameter of `cls`."""
    hints = get_type_hints(vars(cls)["__init__"], include_extras=True)
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(cls).parameters.items():
        required = parameter.default is inspect.Parameter.empty
        fields[name] = (hints[name], ... if required else parameter.default)
    config = ConfigDict(
        extra="forbid", strict=True, arbitrary_types_allowed=True, allow_inf_nan=False
    )
    return create_model(cls.__name__, __config__=config, **fields)


def setting_names(cls: type) -> list[str]:
    """Return the names of the constructor parameters of `cls`, in order."""
    return list(_schema(cls).model_fields)


def problems(cls: type, values: Mapping[str, Any]) -> list[str]:
    """Return every problem with `values` as settings of `cls`.

    Parameters
    ----------
    cls : type
        Class whose constructor parameters are all annotated.
    values : mapping
        Settings by name.

    Returns
    -------
    list of str
        One message per problem; empty if the settings are valid.
    """
    # Grid searches pass numpy scalars, which strict validation rejects.
    plain = {key: v.item() if isinstance(v, np.generic) else v for key, v in values.items()}
    try:
        _schema(cls).model_validate(plain)
    except ValidationError as error:
        return [_sentence(cls, dict(detail)) for detail in error.errors()]
    return []


def _sentence(cls: type, detail: dict[str, Any]) -> str:
    name = str(detail["loc"][0])
    if detail["type"] == "extra_forbidden":
        known = setting_names(cls)
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; it has: {', '.join(known)}"
        return f"{cls.__name__} has no setting {name!r}{hint}"
    if detail["type"] == "missing":
        return f"{cls.__name__} needs a value for {name!r}"
    return f"{cls.__name__}: {name} = {detail['input']!r}: {detail['msg']}"


def check(instance: object) -> None:
    """Raise `InputError` naming every invalid setting of an estimator.

    Parameters
    ----------
    instance : object
        Estimator that stores each constructor parameter under its own name.
    """
    cls = type(instance)
    messages = problems(cls, {name: getattr(instance, name) for name in setting_names(cls)})
    raise_if(list(dict.fromkeys(messages)))


def raise_if(messages: list[str]) -> None:
    """Raise `InputError` with all messages, if there are any."""
    if messages:
        raise InputError(messages)
