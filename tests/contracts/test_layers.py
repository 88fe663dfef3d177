"""The house: which room may import which, how long files and functions are, what is nowhere done."""

import ast
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import sac_runner

PACKAGE = Path(sac_runner.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {file.relative_to(PACKAGE).as_posix(): ast.parse(file.read_text()) for file in FILES}

EVERYWHERE = {"types", "errors", "text", "machine", "signals", "config.schema", "config.convert"}
ALL_CONFIG = {"config.compose", "config.validate"}
# Room -> rooms and modules that it may import, its own and EVERYWHERE aside.
MAY_IMPORT = {
    "config": set(),
    "algorithm": set(),
    "interaction": set(),
    "storage": set(),
    "analysis": {"storage"},
    "sweep": {"storage", "analysis.statistics", *ALL_CONFIG},
    "training": {"algorithm", "interaction", "storage", *ALL_CONFIG},
    "playback": {"training", "algorithm", "interaction", "storage", *ALL_CONFIG},
    "commands": {"training", "playback", "sweep", "analysis", "storage", *ALL_CONFIG},
    "types": set(),
    "errors": set(),
    "text": set(),
    "machine": set(),
    "signals": set(),
    "__init__": {"playback"},  # load_policy, on demand
}


def room(file):
    return file.split("/")[0].removesuffix(".py")


def imports(tree):
    """Every module that is imported, within functions too; ``from a import b`` counts as ``a.b`` also."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def within(name, allowed):
    return any(name == module or name.startswith(f"{module}.") for module in allowed)


def offenders(found):
    """File -> what ``found`` finds in the tree of it, of those where it finds anything."""
    return {file: some for file, tree in TREES.items() if (some := found(file, tree))}


def test_arrows_point_one_way():
    def strange(file, tree):
        allowed = {room(file), *EVERYWHERE, *MAY_IMPORT[room(file)]}
        if room(file) in ("types", "errors", "text", "machine", "signals"):
            allowed = set()
        ours = {name.removeprefix("sac_runner.") for name in imports(tree) if name.startswith("sac_runner.")}
        packages = {"config", "storage"}  # from sac_runner.storage import checkpoints
        return {name for name in ours if not within(name, allowed) and name not in packages}

    assert offenders(strange) == {}


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        (("hydra", "omegaconf"), {"config/compose.py", "sweep/launchers.py"}),
        (
            ("torch",),
            {"types.py", "algorithm", "interaction/replay.py", "interaction/device_replay.py", "training", "playback"},
        ),
        (("gymnasium",), {"interaction", "training", "playback"}),
        (("tensorboard",), {"storage/events.py", "commands/tensorboard.py"}),
        (("safetensors",), {"storage/checkpoints.py", "storage/segments.py", "playback/stored.py"}),
        (("matplotlib",), {"analysis"}),
        (("yaml",), {"config/compose.py", "config/origin.py", "storage/stored_config.py"}),
        (("submitit",), {"sweep/slurm.py", "sweep/slurm_job.py"}),  # which pickles: nothing else imports it
    ],
)
def test_libraries_have_their_homes(library, homes):
    users = {file for file, tree in TREES.items() if any(within(name, library) for name in imports(tree))}
    assert users and not {file for file in users if file not in homes and room(file) not in homes}


@pytest.mark.parametrize("rooms", [("storage", "analysis"), ("commands",), ("config",)])
def test_what_reads_run_directories_and_what_opens_the_door_imports_no_torch(rooms):
    modules = [file.removesuffix(".py").replace("/", ".") for file in TREES if room(file) in rooms]
    imported = "\n".join(f"import sac_runner.{module}" for module in modules)
    code = f"{imported}\nimport sys\nassert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def dotted(node):
    """``a.b.c`` of an expression made of names and attributes, else an empty text."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def calls(tree):
    return [(dotted(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def test_nothing_that_is_read_runs_code():
    libraries = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "runpy", "code"}
    functions = {"eval", "exec", "compile", "__import__", "torch.load", "torch.save", "yaml.load", "os.system"}
    endings = ("instantiate", "import_module", ".unsafe_load", ".full_load")

    def unsafe(file, tree):
        imported = {name for name in imports(tree) if within(name, libraries)}
        called = {name for name, _ in calls(tree) if name in functions or name.endswith(endings)}
        given = {keyword.arg for _, call in calls(tree) for keyword in call.keywords}
        return imported | called | given & {"shell", "allow_pickle"}

    assert offenders(unsafe) == {}


def test_environments_are_made_in_one_place():
    make = {"gym.make", "gymnasium.make", "gym.make_vec", "gymnasium.make_vec"}
    makers = {file for file, tree in TREES.items() if make & {name for name, _ in calls(tree)}}
    assert makers == {"interaction/envs.py"}


def written_to(tree):
    """What attributes and items are assigned or deleted of."""
    targets = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.Delete):
            targets += node.targets
        elif isinstance(node, ast.AugAssign | ast.AnnAssign):
            targets.append(node.target)
    return [dotted(x.value) for x in targets if isinstance(x, ast.Attribute | ast.Subscript)]


def test_a_config_is_never_written_to():
    def writes(file, tree):
        sets = {name for name, _ in calls(tree) if name in ("object.__setattr__", "setattr")}
        return sets | {owner for owner in written_to(tree) if "config" in owner.split(".")}

    assert offenders(writes) == {}


def test_a_config_can_not_be_written_to():
    from sac_runner.config import schema

    groups = [x for name, x in vars(schema).items() if name.endswith("Config") and isinstance(x, type)]
    assert len(groups) >= 12 and all(group.__dataclass_params__.frozen for group in groups)
    for group in groups:
        assert not [name for name in group.__dataclass_fields__ if hasattr(group, name)], "values live in conf/"


def test_no_global_generator_is_drawn_from():
    allowed = {"np.random.default_rng", "np.random.SeedSequence", "np.random.Generator"}
    generators = ("np.random.", "random.", "torch.manual_seed", "torch.cuda.manual")

    def drawn(file, tree):
        return {name for name, _ in calls(tree) if name.startswith(generators)} - allowed

    assert offenders(drawn) == {}


def test_files_are_of_a_size_to_be_read():
    lines = {file: len((PACKAGE / file).read_text().splitlines()) for file in TREES}
    allowed = {"config/schema.py": 320}  # a list
    assert {file: n for file, n in lines.items() if n > allowed.get(file, 280)} == {}


def test_functions_are_short():
    lengths = {}
    for file, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                words = node.body[0] if ast.get_docstring(node) else None
                about = words.end_lineno - words.lineno + 1 if words else 0
                lengths[file, node.name, node.lineno] = node.end_lineno - node.lineno + 1 - about
    assert statistics.median(lengths.values()) < 10
    assert {name for name, length in lengths.items() if length > 60} == set()


def test_no_class_is_the_base_of_just_one_other():
    classes = [node for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    bases = [dotted(base) for node in classes for base in node.bases]
    assert not [node.name for node in classes if bases.count(node.name) == 1]
