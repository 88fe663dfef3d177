"""What the README and docs/ tell people to type works, and what the README names is there."""

import ast
import importlib
import re
import shlex
from pathlib import Path

import pytest
from benchmark.__main__ import options
from browser.__main__ import _parser as browser_options

from sac_runner.config.compose import CONF
from sac_runner.config.diagnose import SYNONYMS, schema_keys
from tests.runs import compose_all, train

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
DOCS = [file.read_text() for file in sorted((ROOT / "docs").glob("*.md"))]


def code_blocks(text):
    return re.findall(r"```\w*\n(.*?)```", text, re.S)


BLOCKS = code_blocks(README)


def command_lines():
    """(command, arguments) of each line in a code block that starts one."""
    blocks = [block for text in (README, *DOCS) for block in code_blocks(text)]
    for line in "\n".join(blocks).replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True) if re.match(r"(\$ )?(scripts/|sac-)", line) else []
        if words:
            ends = [i for i, word in enumerate(words) if word in ("|", ">", "&&", ";")]
            yield re.sub(r"^(scripts/|sac-)", "", words[0]), words[1 : ends[0] if ends else None]


LINES = list(command_lines())


def test_the_readme_has_command_lines():
    assert len(LINES) >= 10 and {"train", "evaluate", "tensorboard"} <= {command for command, _ in LINES}


@pytest.mark.parametrize(("command", "arguments"), LINES, ids=lambda x: x if isinstance(x, str) else " ".join(x)[:60])
def test_every_command_line_can_be_typed(command, arguments):
    assert (ROOT / "scripts" / command).is_file()
    if command == "train":
        assert compose_all(arguments)
    elif command == "setup":
        usage = (ROOT / "scripts" / "setup").read_text()
        assert all(f"  {argument} " in usage for argument in arguments)
    elif command == "benchmark":
        options().parse_args(arguments)
    elif command == "look":
        browser_options().parse_args(arguments)
    elif command == "test":
        assert all((ROOT / argument).exists() for argument in arguments if argument.startswith("tests/"))
    else:
        module = importlib.import_module(f"sac_runner.commands.{command}")
        if arguments != ["--help"]:
            module._parser().read(arguments)


def test_the_config_file_that_is_shown_can_be_used(tmp_path):
    (shown,) = (block for block in BLOCKS if block.startswith("# @package _global_"))
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(shown)
    answer = train("--config-dir", str(tmp_path), "experiment=mine", "dry_run=true")
    assert answer.out.startswith("Hopper-v5  seed 0  200,000 env steps  experiment mine\nalpha fixed 0.2,"), answer.err


def test_every_file_that_is_named_is_there():
    named = set(re.findall(r"[\w.-]+(?:/[\w.-]+)+\.(?:py|yaml|md|png|txt|toml)|conf/[\w./]*", README))
    assert named and not {name for name in named if "NAME" not in name and not (ROOT / name).exists()}


def test_the_config_tree_names_every_choice():
    tree = next((block for block in BLOCKS if "conf/config.yaml" in block), None)
    assert tree, "README.md has no config tree"
    for group in ("env", "agent", "alpha", "normalization", "schedule", "sweep", "experiment"):
        part = re.search(rf"conf/{group}/(.*?)(?=conf/|\Z)", tree, re.S)[1]
        words = set(re.findall(r"[a-z]\w*(?:\.\d+)?", re.sub(r"\(.*?\)", "", part)))
        assert words == {path.stem for path in (CONF / group).glob("*.yaml")}


def test_every_setting_in_a_table_is_a_key():
    keys, groups = set(schema_keys()), {"alpha", "schedule", "normalization", "agent", "env", "experiment"}
    named = re.findall(r"`([a-z_]+(?:\.[a-z_]+)*)(?:=[^`]*)?`", "\n".join(re.findall(r"^\|.*\|$", README, re.M)))
    dotted = {name for name in named if name.split(".")[0] in {key.split(".")[0] for key in keys if "." in key}}
    assert len(dotted) >= 15 and not dotted - keys - groups - set(functions())


def test_names_of_others_are_answered_as_the_table_says():
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|$", README.partition("| theirs | here |")[2].partition("\n\n")[0], re.M)
    assert rows, "README.md has no table of others' names"
    for theirs, here in rows:
        names = re.findall(r"`([a-z_]+)`", theirs)
        assert names and all(SYNONYMS[name].split(".")[-1] in here for name in names if name != "train_seed")


def functions():
    for file in (ROOT / "sac_runner").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef):
                yield from (f"{node.name}.{x.name}" for x in node.body if isinstance(x, ast.FunctionDef))
            elif isinstance(node, ast.FunctionDef):
                yield f"{file.stem}.{node.name}"


def test_the_update_line_by_line_names_functions_there_are():
    table = README.partition("| line | what | where |")[2].partition("\n\n")[0]
    named = re.findall(r"`(\w+\.\w+)`", table)
    assert len(named) >= 8 and not set(named) - set(functions())
