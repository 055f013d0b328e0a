# Shared by the scripts beside it; sourced, not run. Expects bash with -euo pipefail.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
JOBS=$(nproc)

say() { printf 'penstock: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# need_packages LIST_FILE... [-- NAME...]: installs with apt-get what is missing, and only then.
need_packages() {
  local names=() missing=() name
  while (($#)) && [[ $1 != -- ]]; do
    mapfile -t -O "${#names[@]}" names < <(grep -v '^#' "$1")
    shift
  done
  (($#)) && shift
  names+=("$@")
  ((${#names[@]})) || return 0
  mapfile -t missing < <(comm -23 <(printf '%s\n' "${names[@]}" | sort -u) \
    <(dpkg-query -W -f='${db:Status-Abbrev} ${Package}\n' 2>/dev/null |
      sed -n 's/^.i[^ ]* *//p' | sort -u))
  ((${#missing[@]})) || return 0
  local sudo=()
  if ((EUID != 0)); then
    command -v sudo >/dev/null ||
      die "as root: apt-get install ${missing[*]} (this user is not root and there is no sudo)"
    sudo=(sudo)
  fi
  say "installing ${#missing[@]} Debian packages: ${missing[*]}"
  local log
  log=$(mktemp)
  if ! { "${sudo[@]}" apt-get update -qq && "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
      apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 "${missing[@]}"; } \
      >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    say "installing packages failed"
    return 1
  fi
  rm -f "$log"
}

# The Blob server of the tests, at the version that tests/azurite/package-lock.json pins.
need_azurite() {
  local folder=$ROOT/tests/azurite
  if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    need_packages -- nodejs npm
  fi
  if [[ ! -x $folder/node_modules/.bin/azurite-blob ||
        $folder/package-lock.json -nt $folder/node_modules/.package-lock.json ]]; then
    say "installing Azurite $(sed -n 's/.*"azurite": "\(.*\)".*/\1/p' "$folder/package.json") with npm"
    (cd "$folder" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) >&2
  fi
}

# Some tests run programs in Go; any version does.
need_go() { command -v go >/dev/null || need_packages -- golang-go; }

# build_preset PRESET [TARGET...]: configures (again, when asked twice: cheap) and builds.
build_preset() {
  local preset=$1 targets=()
  shift
  (($#)) && targets=(--target "$@")
  say "building preset $preset into build/$preset with $JOBS jobs"
  (cd "$ROOT" && cmake --preset "$preset" >"/tmp/penstock-configure.$$" 2>&1) || {
    cat "/tmp/penstock-configure.$$" >&2
    rm -f "/tmp/penstock-configure.$$"
    return 1
  }
  rm -f "/tmp/penstock-configure.$$"
  (cd "$ROOT" && cmake --build --preset "$preset" --parallel "$JOBS" "${targets[@]}") >&2
}
