"""A command line that was refused: what is wrong with it is seen from what it, and parts of it, compose to."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sac_runner.config.convert import Fault, convert, flat, key_of, written
from sac_runner.config.diagnose import Answer, find_faults, to_paste
from sac_runner.config.explain import find_mends, in_the_command, mended, mode_of, of_the_sweep, what_hydra_says
from sac_runner.config.origin import WHOLE, Files, Groups, by_origin, find_groups, foreign_env, named, sweeper_params
from sac_runner.config.rewrite import config_folders, is_sweep, rewrite, split
from sac_runner.config.validate import find_contradictions
from sac_runner.errors import WrongInput

_MISREAD = re.compile(r" env\.id=|\.mode=|=\[| \+\+?\w")
"""Settings that compose and may yet not be what was meant."""

_TWICE = re.compile(r"(?:An item is already at '|Multiple values for )([\w./]+?)(?:'|\. )")
"""Of Hydra, which was told to add what is there."""


@dataclass(frozen=True)
class CommandLine:
    """As it was typed."""

    typed: list[str]
    conf: Path
    """Our config groups."""
    compose: Callable[..., tuple[dict[str, Any], dict[str, str]]]
    """What overrides compose to, and group -> choice; nothing where they don't."""
    sources: Callable[..., list[tuple[str, str]]]
    """The files that overrides compose, ``group/choice``, a later one winning, each with the package of its keys."""

    def explained(self, error: Exception) -> WrongInput:
        """All that is wrong with arguments that were refused with ``error``: their keys, and the values of others."""
        typed, (_, settings), composed = self.typed, split(self.typed), isinstance(error, WrongInput)
        answers = {} if composed and not self._may_be_misread(settings) else self._answers(error)
        job = error.job if isinstance(error, WrongInput) else None
        keys = {key_of(argument) for argument in answers}
        others = [setting for setting in job or settings if key_of(setting) not in keys]
        values: list[Fault] = []
        if (job or not self._sweeps) and (found := self._plain(others)):
            values = self._faults_of(found, others, alone=not answers)
            answers = {argument: _with_its_value(answer, flat(found)) for argument, answer in answers.items()}
        if not answers and not values:
            if isinstance(error, WrongInput):
                return WrongInput(error.message, in_the_command(error.remedy, typed))
            return self._of_params(settings, str(error)) or what_hydra_says(error, typed)
        mends = find_mends(values, others, self._plain)
        if job is not None:
            mends = of_the_sweep(mends, others, typed, self._plain)
        texts = [*(answer.text for answer in answers.values()), *(fault.text for fault in values)]
        refusal = self._refusal(texts, answers, mended(answers, typed, mends, self._plain))
        if refusal.remedy == to_paste(*typed):  # what is wrong is in a file
            refusal = WrongInput(refusal.message)
        return refusal if job is None else refusal.of(job)

    def of_options(self, unknown: list[str]) -> WrongInput:
        """The options ``unknown`` to Hydra, which were made settings here, and what is wrong with any."""
        answers = self._answers()
        text = f"there is no option {', '.join(dict.fromkeys(unknown))}; every setting is a key=value"
        words = mended(answers, self.typed, {}, self._plain) if answers else self.typed
        return self._refusal([text, *(answer.text for answer in answers.values())], answers, words)

    def _refusal(self, texts: list[str], answers: dict[str, Answer], words: list[str] | None) -> WrongInput:
        """``texts`` as one, with the command that ``words`` are, or else with what one of ``answers`` says to see."""
        if words is None:
            see = (answer.see for answer in answers.values() if answer.see is not None)
            return WrongInput("; ".join(dict.fromkeys(texts)), next(see, None))
        texts, words = self._mended_once_more(texts, words)
        return WrongInput("; ".join(dict.fromkeys(texts)), None if words is None else to_paste(*words).rstrip())

    def _mended_once_more(self, texts: list[str], words: list[str]) -> tuple[list[str], list[str] | None]:
        """What has the right key now may have a value that can't be, which nobody could see before."""
        if any("=" not in word for word in words) or not (found := self._plain(words)):
            return texts, words
        if not (faults := self._faults_of(found, words)):
            return texts, words
        mends = find_mends(faults, words, self._plain)
        texts = [*texts, *(fault.text for fault in faults)]
        return texts, mended({}, words, mends, self._plain)

    def _faults_of(self, plain: dict[str, Any], settings: list[str], alone: bool = True) -> list[Fault]:
        """Those of the values that ``settings`` compose to, and if they are ``alone``, between them."""
        (config, faults), choices = convert(plain), self._choices(settings)
        faults += foreign_env(config, choices.get("env"), self._groups)
        faults = by_origin(faults, settings, self._files(settings), choices) if faults else []
        return faults + (find_contradictions(config) if alone else [])

    def _of_params(self, settings: list[str], said: str) -> WrongInput | None:
        """The first of a chosen file's ``hydra.sweeper.params`` that can't be right, and that Hydra has ``said``."""
        chosen = {key_of(word): word.partition("=")[2] for word in settings}
        files = [self._groups.get(group, {}).get(chosen.get(group, "")) for group in WHOLE]
        for file in filter(None, files):
            params = [f"{key}={value}" for key, value in sweeper_params(file).items()]
            faults = find_faults(self._groups, params, self._choices([*settings, *params]), sweeps=True)
            for argument, answer in faults.items():
                if key_of(argument) in said:
                    return WrongInput(named(Fault((key_of(argument),), answer.text), file).text)
        return None

    def _answers(self, error: Exception | None = None) -> dict[str, Answer]:
        """Those about single arguments, which may have been refused with ``error``."""
        overrides, twice = split(rewrite(self.typed))[1], _TWICE.search(str(error))
        found = find_faults(self._groups, overrides, self._choices(overrides), self._sweeps, twice and twice[1])
        as_typed = {argument: argument.removeprefix("++") for argument in found if argument not in self.typed}
        return {as_typed.get(argument, argument): fault for argument, fault in found.items()}

    @staticmethod
    def _may_be_misread(settings: list[str]) -> bool:
        return "resume" not in map(key_of, settings) and _MISREAD.search(f" {' '.join(settings)}") is not None

    @property
    def _sweeps(self) -> bool:
        return is_sweep(split(rewrite(self.typed))[0])

    @property
    def _folders(self) -> list[Path]:
        """Of config groups: ours, and that of ``--config-dir``."""
        return [self.conf, *config_folders(split(self.typed)[0])]

    @cached_property  # which reads folders
    def _groups(self) -> Groups:
        return find_groups(self._folders)

    @property
    def _search_path(self) -> list[str]:
        """``--config-dir`` as an override."""
        return [f"hydra.searchpath=[{str(folder)!r}]" for folder in self._folders[1:] if folder.is_dir()]

    def _plain(self, settings: list[str]) -> dict[str, Any]:
        """What ``settings`` compose to; nothing where they don't."""
        return self.compose(*self._search_path, *split(rewrite(settings))[1])[0]

    def _files(self, settings: list[str]) -> Files:
        """Those that ``settings`` compose; of two of one name, that of the first folder counts."""
        there = self.sources(*self._search_path, *split(rewrite(settings))[1])
        found = (
            (next(filter(Path.is_file, (f / f"{name}.yaml" for f in self._folders)), None), p) for name, p in there
        )
        return [(file, package) for file, package in found if file is not None]

    def _choices(self, overrides: list[str]) -> dict[str, str]:
        """Group -> choice, and ``group.mode`` -> mode, as the group overrides alone compose; empty if they don't.

        Those that a sweep has several of are left out.
        """
        chosen = [override for override in overrides if override.partition("=")[0] in self._groups]
        several = {key_of(override) for override in chosen if re.search(r"[,(]", override)}
        if "experiment" in several:  # which may choose any other
            return {}
        plain, choices = self.compose(*self._search_path, *(o for o in chosen if key_of(o) not in several))
        modes = {f"{group}.mode": mode for group in plain if (mode := mode_of(group, plain)) is not None}
        return {key: x for key, x in (choices | modes).items() if key.split(".")[0] not in several}


def _with_its_value(answer: Answer, values: dict[str, Any]) -> Answer:
    """``answer``, and where it names the key that was meant, what that has."""
    if answer.meant not in values:
        return answer
    return answer._replace(text=f"{answer.text} (now {written(values[answer.meant])})")
