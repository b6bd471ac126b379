"""What a Python function takes, told to an engine: a JSON schema from its signature and its docstring."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from orchestrator.errors import BadCall, UserError
from orchestrator.visible import visible

__all__ = ["Signature", "signature"]

_MAX_FAULTS = 3
_CONFIG = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())
_HEADING = re.compile(r"^(Args|Arguments|Parameters):\s*$", re.MULTILINE)
_ENTRY = re.compile(r"\*{0,2}(\w+)(?:\s*\([^)]*\))?:\s*(.*)")


class _Untitled(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def emit_warning(self, kind: Any, detail: str) -> None:
        pass  # a default that JSON cannot show is left out, and holds all the same


class Signature(NamedTuple):
    """How a function is called."""

    description: str
    """The first sentence of its docstring; empty if it has none."""
    parameters: JsonSchemaValue
    """JSON schema: an object that allows no other keys."""
    takes: type[BaseModel]
    """Reads the arguments: one field per parameter, with the parameter's name as its alias."""

    def check(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments converted to the function's types; those left out stay out, so its defaults hold.

        Strict as JSON is: no number in quotes, no whole number with a point. Raises BadCall, naming the tool `name`.
        """
        try:
            read = self.takes.model_validate_json(json.dumps(dict(arguments), allow_nan=False))
        except ValidationError as error:
            raise BadCall(f"{name}: {_faults(error)}") from None
        except Exception as error:  # not JSON, or a validator of the function's own types
            raise BadCall(f"{name}: the arguments cannot be read: {type(error).__name__}") from None
        fields = type(read).model_fields
        return {str(fields[field].alias): getattr(read, field) for field in fields if field in read.model_fields_set}


def _faults(error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    lines = []
    for fault in faults[:_MAX_FAULTS]:
        where = ".".join(str(part) for part in fault["loc"])
        lines.append(f"{where}: {fault['msg']}" if where else fault["msg"])
    return " ".join(visible("; ".join(lines))[:500].split())


def signature(function: Callable[..., Any]) -> Signature:
    """Read what `function` takes.

    Raises UserError, naming the function and the parameter, where a parameter has no type, a type that JSON cannot
    give, or no name of its own (`*args`, `**kwargs`, positional only).
    """
    called = getattr(function, "__name__", type(function).__name__)
    try:
        parameters = inspect.signature(function).parameters.values()
        hints = get_type_hints(inspect.unwrap(_plain(function)), include_extras=True)
    except (NameError, TypeError, ValueError) as error:
        raise UserError(f"function {called!r} cannot be a tool: its signature cannot be read ({error})") from error
    doc = inspect.getdoc(function) or ""
    told = _arguments(doc)
    fields: dict[str, Any] = {}
    for number, parameter in enumerate(parameters):
        _check(called, parameter, hints)
        default = ... if parameter.default is parameter.empty else parameter.default
        about = Field(default, alias=parameter.name, description=told.get(parameter.name))
        fields[f"field_{number}"] = (hints[parameter.name], about)
        _schema(called, parameter.name, {"field": fields[f"field_{number}"]})
    takes, schema = _schema(called, "", fields)
    return Signature(_first_sentence(doc), schema, takes)


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what carries the annotations: the call of an object, the function in a partial."""
    function = getattr(function, "func", function)
    return function if inspect.isroutine(function) else type(function).__call__


def _check(function: str, parameter: inspect.Parameter, hints: Mapping[str, Any]) -> None:
    where = f"function {function!r} cannot be a tool: parameter {parameter.name!r}"
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        raise UserError(f"{where} stands for any number of arguments: name each one, or take a list")
    if parameter.kind is parameter.POSITIONAL_ONLY:
        raise UserError(f"{where} is positional only: drop the slash, an engine gives arguments by name")
    if parameter.name not in hints:
        raise UserError(f"{where} has no type: annotate it")


def _schema(function: str, parameter: str, fields: dict[str, Any]) -> tuple[type[BaseModel], JsonSchemaValue]:
    try:
        takes = create_model("Arguments", __config__=_CONFIG, **fields)
        schema = takes.model_json_schema(schema_generator=_Untitled)
    except (PydanticUserError, TypeError) as error:
        said = str(error).splitlines()[0]
        raise UserError(f"function {function!r} cannot be a tool: parameter {parameter!r}: {said}") from error
    return takes, {key: value for key, value in schema.items() if key != "title"} | {"properties": schema["properties"]}


def _first_sentence(doc: str) -> str:
    paragraph = " ".join(doc.partition("\n\n")[0].split())
    return re.split(r"(?<=[.!?])\s", paragraph, maxsplit=1)[0]


def _arguments(doc: str) -> dict[str, str]:
    """Return what the `Args:` section of a Google-style docstring says of each parameter, on one line."""
    heading = _HEADING.search(doc)
    told: dict[str, str] = {}
    name, indent = "", 0
    for line in doc[heading.end() :].splitlines() if heading else ():
        width = len(line) - len(line.lstrip())
        if line.strip() and not width:
            break
        indent = indent or width
        entry = _ENTRY.fullmatch(line.strip()) if width == indent else None
        if entry:
            name = entry[1]
            told[name] = entry[2]
        elif name and line.strip():
            told[name] = f"{told[name]} {line.strip()}".strip()
    return told
