#!/usr/bin/env bash
# Installs what the build, the tests and the examples call, where it is missing.
# Safe to repeat. As root it installs; as anybody else it says what to install.
set -euo pipefail

readonly bun=1.4.5
readonly wmill=1.819.0 wmill_client=1.818.0 # Windmill's own clients: the tests run them against the server
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH

packages=()
need() { # PACKAGE COMMAND…: the package is missing unless the command succeeds
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || packages+=("$package")
}
has_bun() { [[ "$(bun --version 2>/dev/null)" == "$bun" ]]; }
has_package() { # NAME VERSION: a package of npm is installed
  grep -qs "\"version\": \"$2\"" "/usr/local/lib/node_modules/$1/package.json"
}
has_wmill() { has_package windmill-cli "$wmill" && has_package windmill-client "$wmill_client" && [[ -x "$(command -v wmill)" ]]; }

need bash bash --version
need gcc gcc --version
need git git --version
need util-linux unshare --version
need libc6-dev test -e /usr/include/stdlib.h
need python3 /usr/bin/python3 --version
need python3-pip /usr/bin/python3 -m pip --version
need python3-venv /usr/bin/python3 -c 'import ensurepip'
need systemd systemd-analyze --version
need postgresql compgen -G '/usr/lib/postgresql/*/bin/postgres'
need pgbouncer test -e /usr/sbin/pgbouncer
need nodejs node --version
need npm npm --version
need chromium chromium --version

if ((${#packages[@]})); then
  if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
    echo "Please install: ${packages[*]}" >&2
    exit 1
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
fi

# The page's tools need it; Debian 12 itself has an older one.
if ! node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)'; then
  echo "Please install Node.js 20.19 or newer: $(node --version) is too old to build the page." >&2
  exit 1
fi

if ! has_bun; then
  if ((EUID != 0)); then
    echo "Please install bun $bun: npm install -g --prefix /usr/local bun@$bun" >&2
    exit 1
  fi
  npm install -g --prefix /usr/local --no-fund --no-audit "bun@$bun"
  hash -r
  has_bun || { echo "bun $bun was installed and does not run: $(command -v bun)" >&2; exit 1; }
fi

if ! has_wmill; then
  if ((EUID != 0)); then
    echo "Please install: npm install -g --prefix /usr/local windmill-cli@$wmill windmill-client@$wmill_client" >&2
    exit 1
  fi
  npm install -g --prefix /usr/local --no-fund --no-audit --ignore-scripts "windmill-cli@$wmill" "windmill-client@$wmill_client"
  hash -r
  has_wmill || { echo "windmill-cli $wmill was installed and is not there" >&2; exit 1; }
fi
