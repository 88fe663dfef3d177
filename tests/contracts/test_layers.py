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
# Room -> rooms and modules that it may import, its own and EVERYWHERE (which import each other no more) aside.
MAY_IMPORT = {
    "config": set(),
    "algorithm": set(),
    "interaction": set(),
    "storage": set(),
    "analysis": {"storage"},
    "sweep": {"storage", "analysis.statistics", *ALL_CONFIG},  # one IQM for the table and for compare
    "training": {"algorithm", "interaction", "storage", *ALL_CONFIG},
    "playback": {"training", "algorithm", "interaction", "storage", *ALL_CONFIG},
    "commands": {"training", "playback", "sweep", "analysis", "storage", *ALL_CONFIG},
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


def strange(file, tree):
    allowed = {room(file), *MAY_IMPORT.get(room(file), ())} | (set() if room(file) in EVERYWHERE else EVERYWHERE)
    ours = {name.removeprefix("sac_runner.") for name in imports(tree) if name.startswith("sac_runner.")}
    return {name for name in ours if not within(name, allowed)}


def test_arrows_point_one_way():
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


def unsafe(file, tree):
    libraries = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "runpy", "code"}
    functions = {"eval", "exec", "compile", "__import__", "torch.load", "torch.save", "yaml.load", "os.system"}
    endings = ("instantiate", "import_module", ".unsafe_load", ".full_load")
    used = {*imports(tree), *(name for name, _ in calls(tree))}
    given = {keyword.arg for _, call in calls(tree) for keyword in call.keywords}
    named = {name for name in used if name in functions or name.endswith(endings)}
    return {name for name in imports(tree) if within(name, libraries)} | named | given & {"shell", "allow_pickle"}


def test_nothing_that_is_read_runs_code():
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


def drawn(file, tree):
    """What draws from a generator that is global, or that nobody seeded."""
    allowed = {"np.random.default_rng", "np.random.SeedSequence", "np.random.Generator"}
    generators = ("np.random.", "random.", "torch.manual_seed", "torch.cuda.manual")
    draws = ("torch.rand", "torch.normal", "torch.bernoulli", "torch.multinomial")
    in_place = (".normal_", ".uniform_", ".random_", ".bernoulli_", ".exponential_")
    found = {name for name, _ in calls(tree) if name.startswith(generators)} - allowed
    found |= {name for name in imports(tree) if name.startswith(draws) or within(name, ("random", "numpy.random"))}
    for name, call in calls(tree):
        given = {keyword.arg for keyword in call.keywords}
        if (name.startswith(draws) or name.endswith(in_place)) and "generator" not in given:
            found.add(name)
        if name.endswith("default_rng") and not call.args and not given:
            found.add(name)
    return found


def test_no_global_generator_is_drawn_from():
    assert offenders(drawn) == {}


@pytest.mark.parametrize(
    ("finds", "line"),
    [
        *((strange, line) for line in ("from sac_runner import storage", "from sac_runner.config import compose")),
        *((unsafe, line) for line in ("from torch import load", "from yaml import unsafe_load", "torch.load(x)")),
        *(
            (drawn, line)
            for line in ("torch.randn_like(x)", "torch.randn(n)", "x.normal_()", "torch.empty(n).uniform_()")
        ),
        *(
            (drawn, line)
            for line in ("np.random.default_rng()", "from torch import randn", "from random import choice")
        ),
    ],
)
def test_it_would_be_seen(finds, line):
    assert finds("algorithm/agent.py", ast.parse(line))


@pytest.mark.parametrize(
    "line", ["torch.randn(n, generator=g)", "x.normal_(generator=g)", "np.random.default_rng(seed)"]
)
def test_a_generator_of_ones_own_may_be_drawn_from(line):
    assert not drawn("algorithm/agent.py", ast.parse(line))


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
