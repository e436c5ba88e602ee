#!/usr/bin/env bash
# Makes what is given out, from a clean clone of the commit that is checked out: a wheel with the program in it, and an archive of
# the program, man pages, completions and licences. Builds both twice, in clones at different paths, and compares the bytes; then
# installs both where there is no Rust, trains, samples, proves, and prints sizes and times. By hand, not in CI.
#
#   scripts/release.sh [OUT]      into OUT, or dist/ beside this directory
#
# It needs: Linux on x86-64, git, Rust, GNU tar, python3 with venv, and in a virtual environment that is active or whose bin is on
# the path: pip install 'maturin>=1.9,<2' cargo-zigbuild ziglang auditwheel
#
# What is built runs on every Linux on x86-64 with glibc 2.17 or newer. The second clone builds the crates of this repository anew
# and takes those of others as the first has built them: their sources lie at one path for both. CARGO_TARGET_DIR, if it is set,
# is used for both and kept.
set -euo pipefail
root=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)
out=$(realpath -m "${1:-$root/dist}")
target=x86_64-unknown-linux-gnu
glibc=manylinux2014 # 2.17
say() { printf '\n== %s\n' "$*"; }
for tool in maturin cargo-zigbuild auditwheel; do
  command -v "$tool" >/dev/null || { echo "$tool is not on the path; the head of this script says what it needs" >&2; exit 2; }
done
if [ -n "$(git -C "$root" status --porcelain)" ]; then
  echo "$root has changes that are in no commit: what is given out is built from a commit" >&2
  exit 2
fi
commit=$(git -C "$root" rev-parse HEAD)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$work/target}"
export SOURCE_DATE_EPOCH TRIL_COMMIT="$commit" LC_ALL=C TZ=UTC
SOURCE_DATE_EPOCH=$(git -C "$root" log -1 --format=%ct)
cargo_home=${CARGO_HOME:-$HOME/.cargo}
# No path of this machine in the program. Those of the clone are relative in it anyway.
export RUSTFLAGS="--remap-path-prefix=$cargo_home/registry/src=/crates --remap-path-prefix=$CARGO_TARGET_DIR=/target"
export CFLAGS="-ffile-prefix-map=$cargo_home/registry/src=/crates -ffile-prefix-map=$CARGO_TARGET_DIR=/target"
export CARGO_PROFILE_RELEASE_STRIP=symbols

# build CLONE RESULTS: both artefacts of a clone.
build() {
  local clone=$1 results=$2
  git clone -q --no-hardlinks "$root" "$clone"
  git -C "$clone" checkout -q "$commit"
  mkdir -p "$results"
  (
    cd "$clone"
    scripts/licenses.py THIRD-PARTY-LICENSES.txt "$target"
    # What took the minutes stands in cargo-timings in the target directory.
    maturin build --release --locked --zig --timings --target "$target" --compatibility "$glibc" --out "$results"
    version=$(cargo metadata --format-version 1 --no-deps --locked | python3 -c '
import json, sys
print(next(one["version"] for one in json.load(sys.stdin)["packages"] if one["name"] == "tril-cli"))')
    name=tril-$version-x86_64-linux
    mkdir -p "$results/$name/completions"
    # The same program as in the wheel.
    python3 - "$results"/tril_gpt-*.whl "$results/$name/tril" <<'PYTHON'
import sys, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
[program] = [name for name in wheel.namelist() if name.endswith("/scripts/tril")]
open(sys.argv[2], "wb").write(wheel.read(program))
PYTHON
    chmod 755 "$results/$name/tril"
    cp README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE THIRD-PARTY-LICENSES.txt "$results/$name/"
    cd "$results/$name"
    ./tril man man/man1 >/dev/null
    for shell in bash zsh fish; do ./tril completions "$shell" >"completions/tril.$shell"; done
    find . -type f ! -name SHA256SUMS -print0 | sort -z | xargs -0 sha256sum >SHA256SUMS
    chmod -R u+rwX,go+rX,go-w .
    cd ..
    tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -cf - "$name" | gzip -9n >"$name.tar.gz"
    rm -r "$name"
    sha256sum -- *.whl *.tar.gz >SHA256SUMS
  )
}

say "first clone of ${commit:0:12}"
build "$work/clone" "$work/first"
say "second clone, at another path"
# Crates of this repository are built anew, whatever cargo would take over.
ours=$(cd "$work/clone" && cargo metadata --format-version 1 --no-deps --locked | python3 -c '
import json, sys
print(*("-p " + one["name"] for one in json.load(sys.stdin)["packages"]))')
# shellcheck disable=SC2086
(cd "$work/clone" && cargo clean -q --release --target "$target" $ours)
mv "$work/clone" "$work/no-longer-there"
build "$work/another/and a longer path" "$work/second"
diff "$work/first/SHA256SUMS" "$work/second/SHA256SUMS"
echo "the same bytes from both:"
cat "$work/first/SHA256SUMS"

say "what the wheel needs of a system"
auditwheel show "$work/first"/*.whl | tee "$work/audit"
grep -q '"manylinux_2_17_x86_64"' "$work/audit" || { echo "it needs more than glibc 2.17" >&2; exit 1; }
if grep -aq -e "$HOME/" -e "$work" <(gzip -dc "$work/first"/*.tar.gz); then
  echo "a path of this machine is in the archive" >&2
  exit 1
fi

say "in an empty environment, without Rust"
empty=$work/empty
mkdir -p "$empty"
alone() { (cd "$empty" && env -i HOME="$empty" PATH="$1:/usr/bin:/bin" LANG=C.UTF-8 "${@:2}"); }
since() { awk -v begin="$1" -v end="$(date +%s.%N)" 'BEGIN { printf "%.1f s", end - begin }'; }
for tool in cargo rustc tril; do
  ! alone /nowhere sh -c "command -v $tool" || { echo "$tool is in /usr/bin: this is no empty environment" >&2; exit 1; }
done
alone /nowhere python3 -m venv venv
begin=$(date +%s.%N)
alone /nowhere venv/bin/pip install -q --no-index --no-deps "$work/first"/*.whl
installed=$(since "$begin")
alone "$empty/venv/bin" tril --version
alone "$empty/venv/bin" tril train >"$work/train.log" 2>"$work/train.notes"
alone "$empty/venv/bin" tril sample runs/tales -n 100
story=$(since "$begin")
alone "$empty/venv/bin" tril prove runs/tales | tail -n 3
alone "$empty/venv/bin" tril prove --recipe tales
mkdir "$empty/unpacked"
tar -xzf "$work/first"/*.tar.gz -C "$empty/unpacked" --strip-components=1
(cd "$empty/unpacked" && sha256sum --quiet -c SHA256SUMS)
alone "$empty/unpacked" tril train --out runs/archive >"$work/archive.log" 2>/dev/null
alone "$empty/unpacked" tril sample runs/archive -n 20
cmp "$empty"/runs/{tales,archive}/step-001000/model.safetensors
echo "both train to the same bits"
alone "$empty/unpacked" tril prove runs/archive >/dev/null

say "done"
program=$(stat -c %s "$empty/unpacked/tril")
largest=$((15 * 1000 * 1000))
for file in "$work/first"/*.whl "$work/first"/*.tar.gz; do
  printf '%-60s %10d bytes\n' "$(basename "$file")" "$(stat -c %s "$file")"
  [ "$(stat -c %s "$file")" -lt "$largest" ] || { echo "that is more than $largest" >&2; exit 1; }
done
printf '%-60s %10d bytes\n' "the program in both" "$program"
echo "pip install: $installed; from pip install to the end of the first story: $story"
mkdir -p "$out"
cp "$work/first"/* "$out/"
echo "in $out"
