"""constraints.txt pins all that is installed with the package, in versions that pyproject.toml allows."""

import tomllib
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


def pins():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    return {canonicalize_name(name): pinned for name, pinned in (line.split("==") for line in lines)}


def installed(name, extra, seen):
    """Adds what ``name`` with ``extra`` requires here to ``seen``: (name, extra) -> version."""
    for requirement in map(Requirement, requires(name) or []):
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            for its in ("", *requirement.extras):
                required = canonicalize_name(requirement.name), its
                if required not in seen:
                    seen[required] = version(requirement.name)
                    installed(*required, seen)


@pytest.mark.skipif((ROOT / ".python-here").exists(), reason="scripts/setup --here keeps what there is")
def test_all_that_is_installed_is_pinned_at_its_version():
    seen = {}
    installed("sac-runner", "dev", seen)
    here = {
        name: found.partition("+")[0]  # torch's build is chosen at set-up, and what a GPU needs comes with it
        for (name, _), found in seen.items()
        if not name.startswith(("nvidia-", "cuda-", "triton"))
    }
    assert len(here) > 50 and here.items() <= pins().items(), here.items() - pins().items()


def test_pins_are_within_the_ranges_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"].values()
    wanted = sum(extras, project["project"]["dependencies"] + project["build-system"]["requires"])
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)]), requirement
