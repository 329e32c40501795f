"""Write a resolved study as YAML."""

from __future__ import annotations

from typing import Any

import yaml

from epsearch.core.messages import mask_url
from epsearch.study.config import StudyConfig


def to_yaml(config: StudyConfig) -> str:
    """The resolved study as YAML, with all defaults, and the storage's password masked."""
    return _yaml(_resolved(config))


def differences_to_yaml(config: StudyConfig) -> str:
    """What differs from the defaults, as YAML: a study file of the same study. The password is masked."""
    full = _resolved(config)
    workload = {key: value for key, value in full["workload"].items() if value not in (None, [])}
    plain: dict[str, Any] = {
        "name": config.name,
        "workload": workload,
        "optimizer": {"name": config.optimizer.name},
        "metric": {"name": config.metric.name, "goal": config.goal},
    }
    # Some defaults depend on the workload and the optimizer.
    defaults = StudyConfig.model_validate(plain).model_dump()
    sections = {section: _differing(full[section], defaults[section]) for section in full if section not in plain}
    plain["optimizer"] |= _differing(full["optimizer"], defaults["optimizer"])
    return _yaml(plain | {section: values for section, values in sections.items() if values})


def _resolved(config: StudyConfig) -> dict[str, Any]:
    data = config.model_dump()
    data["metric"]["goal"] = config.goal
    if data["engine"]["storage"]:
        data["engine"]["storage"] = mask_url(data["engine"]["storage"])
    return data


def _differing(section: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if value != defaults[key]}


def _yaml(data: dict[str, Any]) -> str:
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _Dumper(yaml.SafeDumper):
    """Writes lists on one line and sections as blocks, in YAML that versions 1.1 and 1.2 read alike."""


def _represent_float(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    if value.is_integer() and abs(value) < 1e6:
        return dumper.represent_int(int(value))
    text = repr(value)
    if "e" in text and "." not in text:
        text = text.replace("e", ".0e")  # YAML 1.1 reads 1e-05 as text
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


def _represent_text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    # Quoted, or a study named 1e-3 would be read back as a number.
    style = "'" if value[:1] in "+-.0123456789" else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style)


_Dumper.add_representer(float, _represent_float)
_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(
    list, lambda dumper, values: dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=True)
)
