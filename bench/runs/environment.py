"""What a run's results rest on besides its configuration, as plain values that can be compared."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from bench.runs.provenance import provenance
from bench.runs.versions import installed_versions

if TYPE_CHECKING:
    from bench.runs.plan import Plan

Environment = Mapping[str, Mapping[str, str | None]]
"""Values by name by group: ``versions``, ``machine``, ``model``, ``data``, ``code``."""


def environment(plan: Plan, model: str) -> Environment:
    """What the results of a plan rest on here and now.

    Args:
        plan: the cells and trainings of a run.
        model: the model as the configuration names it.
    """
    from bench.registry import method_entry
    from bench.runs.code import harness_digest, method_digest

    trainings = list(plan.trainings.values())
    methods = sorted({training.method.name for training in trainings})
    modules = {name: method_entry(name).module for name in methods}
    code = {name: method_digest(module) for name, module in modules.items()}
    hardware = provenance()["hardware"]
    return {
        "versions": {"python": platform.python_version(), **installed_versions()},
        "machine": {
            "platform": platform.platform(),
            **{name: None if value is None else str(value) for name, value in hardware.items()},
        },
        "model": {model: plan.cells[0].training.setting.model.digest},
        "data": {t.task: t.data.fingerprint for t in trainings if not t.is_source_stage},
        "code": {"harness": harness_digest(), **code},
    }


def differences(there: Environment, here: Environment) -> list[str]:
    """One line for each value that differs, in the order of ``there``.

    What only one side knows is told for versions, where it means that a package is not installed;
    elsewhere it belongs to other cells.
    """
    lines = []
    for group, values in there.items():
        present = here.get(group, {})
        for name, value in values.items():
            if name not in present:
                if group == "versions":
                    lines.append(f"{name} {value} there, not installed here")
            elif present[name] != value:
                lines.append(
                    f"{_TITLES.get(group, group + ' of {}').format(name)} "
                    f"{_shown(value)} there, {_shown(present[name])} here"
                )
    return lines


_TITLES = {"versions": "{}", "machine": "{}", "data": "data of {}", "model": "model {}"}


def _shown(value: str | None) -> str:
    if value is None:
        return "none"
    return value[:12] if re.fullmatch(r"[0-9a-f]{64}", value) else value


__all__ = ["Environment", "differences", "environment"]
