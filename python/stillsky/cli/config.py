"""Where the value of each configuration key comes from: default, preset, file, script, ``-c``, option.

The keys are dotted names of an `lsst.pex.config.Config`; a choice of configurations ``kernel`` has the keys
``kernel.name`` and ``kernel.NAME.field``.
"""

import difflib
import importlib
import math
import os
import textwrap

import yaml
from lsst.pex.config import (
    ConfigChoiceField,
    ConfigDictField,
    ConfigField,
    ConfigurableField,
    FieldValidationError,
    RegistryField,
)

from .exits import CommandError, ReadError
from .presets import PRESETS

__all__ = ["ResolvedConfig", "configClass", "flatten", "parseAssignment", "resolve", "resolveRun", "toYaml"]

# Verb -> module and class of its configuration.
_CLASSES = {
    "subtract": ("stillsky.diffim.config", "SubtractConfig"),
    "psfmatch": ("stillsky.diffim.config", "SubtractConfig"),
    "coadd": ("stillsky.coadd.job_config", "CoaddJobConfig"),
    "dcr": ("stillsky.dcr.job_config", "DcrJobConfig"),
    "ptc": ("stillsky.ptc.job_config", "PhotonTransferJobConfig"),
    "map": ("stillsky.mapreduce.config", "MapConfig"),
}


def configClass(verb):
    """The configuration class of a verb."""
    if verb not in _CLASSES:
        raise CommandError(
            f"verb {verb!r} has no configuration", found=repr(verb), remedy=f"one of: {', '.join(_CLASSES)}"
        )
    module, name = _CLASSES[verb]
    return getattr(importlib.import_module(module), name)


# ------------------------------------------------------------------ walking a configuration


def _choices(value):
    """Names and configurations of a choice field, in a fixed order."""
    return [(name, value[name]) for name in sorted(value)]


def flatten(config, prefix=""):
    """All leaves of a configuration.

    Yields
    ------
    key : `str`
        Dotted name.
    field : `lsst.pex.config.Field`
        Its declaration.
    value : `object`
        Plain value: number, text, `bool`, `None`, `list` or `dict`.
    """
    for name, field in config._fields.items():
        value = getattr(config, name)
        key = prefix + name
        if isinstance(field, ConfigField):
            yield from flatten(value, key + ".")
        elif isinstance(field, ConfigurableField):
            yield from flatten(value.value, key + ".")
        elif isinstance(field, (ConfigChoiceField, RegistryField)):
            yield key + ".name", field, list(value.names) if field.multi else value.name
            for choice, sub in _choices(value):
                yield from flatten(sub, f"{key}.{choice}.")
        elif isinstance(field, ConfigDictField):
            for item in value:
                yield from flatten(value[item], f"{key}.{item}.")
        else:
            yield key, field, _plain(value)


def _plain(value):
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if hasattr(value, "items"):
        return {k: _plain(v) for k, v in value.items()}
    if hasattr(value, "__iter__"):
        return [_plain(v) for v in value]
    return value


def _owner(config, key):
    """The configuration and field that a dotted key names; raises LookupError."""
    first, _, rest = key.partition(".")
    field = config._fields.get(first)
    if field is None:
        raise LookupError(key)
    if isinstance(field, (ConfigField, ConfigurableField)):
        if not rest:
            raise LookupError(key)
        value = getattr(config, first)
        return _owner(value if isinstance(field, ConfigField) else value.value, rest)
    if isinstance(field, (ConfigChoiceField, RegistryField)):
        value = getattr(config, first)
        if rest == "name":
            return config, field
        choice, _, rest = rest.partition(".")
        if choice not in value or not rest:
            raise LookupError(key)
        return _owner(value[choice], rest)
    if isinstance(field, ConfigDictField):
        item, _, rest = rest.partition(".")
        value = getattr(config, first)
        if item not in value or not rest:
            raise LookupError(key)
        return _owner(value[item], rest)
    if rest:
        raise LookupError(key)
    return config, field


def closestKeys(config, key, n=3):
    """The ``n`` keys of a configuration that are most like ``key``.

    Both the whole dotted name and its last part are compared, so that a right name on a wrong level is found.
    """
    last = key.rsplit(".", 1)[-1].lower()

    def likeness(candidate):
        whole = difflib.SequenceMatcher(None, key.lower(), candidate.lower()).ratio()
        part = difflib.SequenceMatcher(None, last, candidate.rsplit(".", 1)[-1].lower()).ratio()
        return max(whole, part)

    keys = [k for k, _, _ in flatten(config)]
    return sorted(keys, key=likeness, reverse=True)[:n]


# ----------------------------------------------------------------------------------- setting


def _cast(field, value):
    """What YAML made of a value, as the type that the field wants; values that do not fit are left to the field."""
    # a ListField says itemtype, a DictField itemtype as well; a Field dtype
    dtype = getattr(field, "itemtype", None) or field.dtype
    if dtype is str and isinstance(value, bool) and {"yes", "no"} <= set(getattr(field, "allowed", ())):
        return "yes" if value else "no"  # YAML 1.1 takes these words for truth values
    if isinstance(value, (list, tuple)):
        return [_castItem(dtype, v) for v in value]
    if isinstance(value, dict):
        return {k: _castItem(dtype, v) for k, v in value.items()}
    return _castItem(dtype, value)


def _castItem(dtype, value):
    if dtype is float and not isinstance(value, bool):
        if isinstance(value, int):
            return float(value)
        if isinstance(value, str):  # YAML 1.1 takes 1e-3 for text
            try:
                return float(value)
            except ValueError:
                return value
    if dtype is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if dtype is str and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return value


def _isList(field):
    return hasattr(field, "itemtype") and not hasattr(field, "keytype")


def _set(config, key, value, origin):
    """Set one key; unknown keys and refused values become CommandErrors."""
    try:
        owner, field = _owner(config, key)
    except LookupError:
        close = closestKeys(config, key)
        raise CommandError(
            f"unknown configuration key: {key}",
            found=f"{key} from {origin}",
            remedy=f"did you mean {', '.join(close)}?",
        ) from None
    if _isList(field) and not isinstance(value, (list, tuple)) and value is not None:
        value = [value]
    try:
        if isinstance(field, (ConfigChoiceField, RegistryField)):
            chooser = getattr(owner, field.name)
            setattr(chooser, "names" if field.multi else "name", value)
        else:
            setattr(owner, field.name, _cast(field, value))
    except (FieldValidationError, TypeError, ValueError) as error:
        raise _refused(key, field, value, origin, error) from error


def _reason(error):
    line = str(error).split("\nFor more information")[0]
    return " ".join(line.split("failed validation:", 1)[-1].split())


def _refused(key, field, value, origin, error):
    return CommandError(
        f"configuration key {key}: {_reason(error)}",
        found=f"{key} = {value!r} from {origin}",
        remedy=f"{key}: {' '.join(field.doc.split())} ({_allowed(field)})",
    )


def _allowed(field):
    """Type and allowed values of a field, in words."""
    if isinstance(field, (ConfigChoiceField, RegistryField)):
        return "one of " + ", ".join(sorted(str(k) for k in field.typemap))
    item = getattr(field, "itemtype", None)
    text = f"list of {item.__name__}" if item else field.dtype.__name__
    if getattr(field, "allowed", None):
        text += ", one of " + ", ".join(str(k) for k in field.allowed)
    elif getattr(field, "rangeString", None):
        text += f", range {field.rangeString}"
    return text


def parseAssignment(text):
    """``KEY=VALUE`` with a value in YAML, as (key, value)."""
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise CommandError(
            "-c wants KEY=VALUE",
            found=repr(text),
            remedy="e.g. -c psfmatch.spatialKernelOrder=1; stillsky config VERB lists the keys",
        )
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise CommandError(
            f"the value of -c {key} is not YAML", found=repr(value), remedy="quote text that has special characters"
        ) from error


# ----------------------------------------------------------------------------------- resolving


class ResolvedConfig:
    """A configuration and the origin of each of its keys.

    Attributes
    ----------
    verb : `str`
        The verb it is for.
    config : `lsst.pex.config.Config`
        The configuration.
    origins : `dict` [`str`, `str`]
        Keys that something set, with what set them last; all others have their default.
    """

    def __init__(self, verb):
        self.verb = verb
        self.config = configClass(verb)()
        self.origins = {}

    def set(self, key, value, origin):
        """Set one key and note its origin."""
        _set(self.config, key, value, origin)
        self.origins[key] = origin

    def setAll(self, tree, origin, prefix=""):
        """Set the leaves of nested dictionaries, or of dotted keys."""
        if not isinstance(tree, dict):
            raise CommandError(
                f"{origin} holds no configuration",
                found=f"{type(tree).__name__} where KEY: VALUE is wanted",
                remedy=f"stillsky config {self.verb} > my.yaml writes a file to start from",
            )
        known = {k for k, _, _ in flatten(self.config)}
        for name, value in tree.items():
            key = f"{prefix}{name}"
            if isinstance(value, dict) and key not in known:
                self.setAll(value, origin, key + ".")
            elif value is None and any(k.startswith(key + ".") for k in known):
                continue  # a section whose lines are all commented out
            else:
                self.set(key, value, origin)

    def runScript(self, path):
        """Execute a Python file in which ``config`` is the configuration."""
        before = self.values()
        try:
            self.config.load(path)
        except FieldValidationError as error:
            raise CommandError(
                f"{path}: {_reason(error)}", found=f"field {error.fullname}", remedy="see stillsky config " + self.verb
            ) from error
        except AttributeError as error:
            raise CommandError(
                f"{path}: unknown configuration key",
                found=str(error),
                remedy=f"did you mean {', '.join(closestKeys(self.config, str(error.name or '')))}?",
            ) from error
        except OSError as error:
            raise ReadError(
                f"cannot read the configuration script {path}", found=error.strerror, remedy="check the name"
            ) from error
        except Exception as error:
            raise CommandError(
                f"{path}: the configuration script failed",
                found=f"it raised {type(error).__name__}: {error}",
                remedy="the file is Python in which 'config' is the configuration",
            ) from error
        for key, value in self.values().items():
            if key not in before or before[key] != value:
                self.origins[key] = f"script {os.path.basename(path)}"

    def validate(self):
        """Check what only the whole configuration can tell."""
        try:
            self.config.validate()
        except FieldValidationError as error:
            key = self._keyOf(error)
            origin = self.origins.get(key, "the default, which does not fit the other keys")
            raise CommandError(
                f"configuration key {key}: {_reason(error)}",
                found=f"{key} = {self.values().get(key)!r} from {origin}",
                remedy=f"stillsky config {self.verb} lists every key with its meaning and range",
            ) from error

    def _keyOf(self, error):
        """Dotted key of a refused field; the error of a nested configuration does not always know its owner."""
        name = error.fullname.partition(".")[2] or error.fieldName
        keys = self.values()
        if name in keys:
            return name
        alike = [key for key in keys if key.rpartition(".")[2] == error.fieldName]
        return next((key for key in alike if key in self.origins), alike[0] if alike else name)

    def values(self):
        """`dict` of dotted key to plain value, in the order of declaration."""
        return {key: value for key, _, value in flatten(self.config)}

    def document(self):
        """What P.json keeps: values, and the origin of every key."""
        values = self.values()
        return {"values": values, "origins": {key: self.origins.get(key, "default") for key in values}}

    def changed(self):
        """Keys whose values differ from the defaults: `dict` of key to (default, value)."""
        defaults = {k: v for k, _, v in flatten(type(self.config)())}
        return {k: (defaults.get(k), v) for k, v in self.values().items() if not _same(defaults.get(k), v)}


def _same(a, b):
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b):
        return True
    return a == b


def _readYaml(path):
    if str(path).endswith(".py"):
        raise CommandError("-C takes a YAML file", found=str(path), remedy=f"--config-script {path} runs a Python file")
    try:
        with open(path, encoding="utf-8") as stream:
            return yaml.safe_load(stream) or {}
    except OSError as error:
        raise ReadError(
            f"cannot read the configuration file {path}", found=error.strerror, remedy="check the name"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CommandError(
            f"{path} is not YAML", found=str(error), remedy="stillsky config VERB prints a file to start from"
        ) from error


def resolve(verb, *, preset=None, files=(), scripts=(), assignments=(), options=None):
    """The configuration of a verb from all its sources, weakest first.

    Parameters
    ----------
    verb : `str`
        Verb.
    preset : `str`, optional
        Name of a preset.
    files, scripts : iterable of `str`
        YAML files and Python scripts, later ones stronger.
    assignments : iterable of `str`
        ``KEY=VALUE``, later ones stronger.
    options : `dict` [`str`, (`object`, `str`)], optional
        Key to value and name of the dedicated option.

    Returns
    -------
    resolved : `ResolvedConfig`
        Validated configuration.
    """
    resolved = ResolvedConfig(verb)
    if preset is not None:
        if preset not in PRESETS:
            raise CommandError(
                f"unknown preset {preset!r}", found=repr(preset), remedy=f"presets: {', '.join(sorted(PRESETS))}"
            )
        if verb not in PRESETS[preset]:
            others = sorted(name for name, values in PRESETS.items() if verb in values)
            raise CommandError(
                f"preset {preset!r} holds nothing for {verb}",
                found=f"it is for {', '.join(PRESETS[preset])}",
                remedy=f"presets for {verb}: {', '.join(others) or 'none'}",
            )
        resolved.setAll(PRESETS[preset][verb], f"preset {preset}")
    for path in files:
        resolved.setAll(_readYaml(path), f"file {os.path.basename(path)}")
    for path in scripts:
        resolved.runScript(path)
    for text in assignments:
        key, value = parseAssignment(text)
        resolved.set(key, value, "-c")
    for key, (value, option) in (options or {}).items():
        resolved.set(key, value, option)
    resolved.validate()
    return resolved


def resolveRun(run, dedicated=None):
    """The configuration of a run from what its command line says; values and origins go to the summary.

    Parameters
    ----------
    run : `stillsky.cli.run.Run`
        Of a verb with `configOptions`.
    dedicated : `dict` [`str`, (`object`, `str`)], optional
        Key to value and name of the dedicated option.

    Returns
    -------
    resolved : `ResolvedConfig`
    """
    resolved = resolve(
        run.verb,
        preset=run.option("preset"),
        files=run.option("configFiles", ()),
        scripts=run.option("configScripts", ()),
        assignments=run.option("assignments", ()),
        options=dedicated,
    )
    run.summary["config"] = resolved.document()
    return resolved


# ----------------------------------------------------------------------------------- YAML


def _scalar(value):
    text = yaml.safe_dump(value, default_flow_style=True, width=math.inf, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...").strip()


def toYaml(config, heading):
    """Commented YAML of a configuration: for each key its meaning, type and allowed values, then its value.

    Parameters
    ----------
    config : `lsst.pex.config.Config`
        Configuration.
    heading : `str`
        Comment at the top; one or more lines.
    """
    lines = [f"# {line}".rstrip() for line in heading.splitlines()]
    _yamlLines(config, lines, "")
    return "\n".join(lines) + "\n"


def _comment(lines, indent, text):
    for line in textwrap.wrap(" ".join(text.split()), 110 - len(indent)):
        lines.append(f"{indent}# {line}")


def _yamlLines(config, lines, indent):
    for name, field in config._fields.items():
        value = getattr(config, name)
        lines.append("")
        if isinstance(field, (ConfigField, ConfigurableField)):
            _comment(lines, indent, field.doc)
            lines.append(f"{indent}{name}:")
            _yamlLines(value if isinstance(field, ConfigField) else value.value, lines, indent + "  ")
        elif isinstance(field, (ConfigChoiceField, RegistryField)):
            _comment(lines, indent, f"{field.doc} ({_allowed(field)})")
            lines.append(f"{indent}{name}:")
            lines.append(f"{indent}  name: {_scalar(list(value.names) if field.multi else value.name)}")
            for choice, sub in _choices(value):
                lines.append(f"{indent}  {choice}:")
                _yamlLines(sub, lines, indent + "    ")
        elif isinstance(field, ConfigDictField):
            _comment(lines, indent, field.doc)
            lines.append(f"{indent}{name}:" if len(value) else f"{indent}{name}: {{}}")
            for item in value:
                lines.append(f"{indent}  {item}:")
                _yamlLines(value[item], lines, indent + "    ")
        else:
            _comment(lines, indent, f"{field.doc} ({_typeWords(field, value)})")
            lines.append(f"{indent}{name}: {_scalar(_plain(value))}")


def _typeWords(field, value):
    words = _allowed(field)
    if getattr(field, "allowed", None):
        meanings = "; ".join(f"{k}: {v}" for k, v in field.allowed.items() if k is not None)
        words = f"{field.dtype.__name__}; {meanings}"
    # Choices are optional for historical reasons: only where nothing is a value that is used does it deserve mention.
    nullable = getattr(field, "optional", False) and (value is None or field.default is None)
    return words + (", may be null" if nullable else "")
