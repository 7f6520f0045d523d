#!/usr/bin/env bash
# Install what an image needs from its distribution. As root, with apt.
#   install_system.sh run      Python, and nothing to compile with
#   install_system.sh build    what builds wheels, too
set -euo pipefail

case "${1:-}" in
run) packages=(python3) ;;
build) packages=(python3 python3-venv python3-dev g++) ;;
*)
  echo "install_system.sh: expected run or build, found '${1:-}'" >&2
  exit 2
  ;;
esac
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install --yes --no-install-recommends "${packages[@]}"
rm -rf /var/lib/apt/lists/*
