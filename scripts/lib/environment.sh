# shellcheck shell=bash disable=SC2034
# Sourced by the scripts: where the environment is, whether it is current, how a command is started in it.

root=$(readlink -f "${BASH_SOURCE[0]}")
root=${root%/scripts/lib/environment.sh}
lock=$root/.setup.lock  # not empty while a set-up is unfinished
here=$root/.python-here # of scripts/setup --here; three lines: interpreter, folder of the commands, stamp

locate_environment() {
  if [[ -f $here ]]; then
    { read -r env_python && read -r env_bin && read -r env_stamp; } <"$here"
  else
    env_python=$root/.venv/bin/python env_bin=$root/.venv/bin env_stamp=$root/.venv/setup-stamp
  fi
}

# The folder is part of it, since an environment does not outlive a move. The settings of ruff, mypy and pytest are not.
environment_key() {
  echo "$(sed '/^\[tool\.ruff\]/,$d' "$root/constraints.txt" "$root/pyproject.toml" | cksum) $root"
}

# environment_is_current [dev]. Every start of a script waits for this, so it starts neither python nor pip.
environment_is_current() {
  stamp_key='' stamp_torch='' stamp_extra=''
  locate_environment
  [[ -r $env_stamp ]] || return 1
  { read -r stamp_key && read -r stamp_torch stamp_extra; } <"$env_stamp" || return 1
  [[ ! -s $lock && -x $env_python && -x $env_bin/sac-train ]] || return 1
  [[ $stamp_key == "$(environment_key)" ]] || return 1
  [[ ${1:-} != dev || $stamp_extra == dev ]]
}

# ensure_environment [dev]: sets up where that is due, or ends the script.
ensure_environment() {
  environment_is_current "$@" || "$root/scripts/setup" ${1:+"--$1"} || exit
  locate_environment
}

# run_command NAME ARGUMENTS...: becomes the command sac-NAME, in the folder the user is in.
run_command() {
  ensure_environment
  local folder=${0%/*}
  [[ $folder/$1 -ef $root/scripts/$1 ]] || folder=$root/scripts
  export SAC_SCRIPTS=$folder # hints then name scripts/NAME as it was typed, not sac-NAME
  exec "$env_bin/sac-$1" "${@:2}"
}
