"""What the commands have in common: their ways out."""

import pytest

from sac_runner.commands.arguments import open_door
from sac_runner.errors import WrongInput


def test_ctrl_c_is_one_where_a_library_fails_as_it_cleans_up_after_it(capsys):
    """OmegaConf does, in setting a value, and Hydra reports that it could not compose."""

    def interrupted():
        try:
            try:
                raise KeyboardInterrupt
            finally:
                raise UnboundLocalError("old")
        except UnboundLocalError as e:
            raise WrongInput("") from e

    with pytest.raises(SystemExit) as ended:
        open_door(interrupted)
    assert ended.value.code == 130 and capsys.readouterr().err == ""


def test_an_error_of_ours_is_no_traceback_and_any_other_is_one(capsys):
    def refuses():
        raise WrongInput("no such key")

    with pytest.raises(SystemExit) as ended:
        open_door(refuses)
    assert ended.value.code == 2 and "error: no such key" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError):
        open_door(lambda: 1 // 0)
