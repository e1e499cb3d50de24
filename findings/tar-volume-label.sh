#!/usr/bin/env bash
# tar 0.4.46 (crate): an archive with a volume label, as GNU tar writes it, cannot be read at all
#
# The guess: a reader that does not know the label's entry (type V) passes over it, or hands it out as an entry of unknown
# type and size 0. The crate reads the GNU format's other entries of its own, and GNU tar and Python's tarfile both get
# at the files.
#
# What happens: GNU tar leaves the label's size field empty (twelve zero bytes, not the digit 0). The crate wants a number in
# every header, whatever the type, and answers "numeric field was not a number". Iteration ends with that error: not one file
# behind the label is reached. With the pax format the label sits in a record of a global header, and the same
# command gives an archive that the crate reads.
#
# For users: the message names neither the label nor the type, and the archive is sound by every other tool, so one looks for
# damage. `tar -V` is common in backup jobs; such archives need --format=pax, or a filter that drops the first 512
# bytes when byte 156 is "V".
#
# Needs GNU tar and python3 (for comparison).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cargo init --quiet --vcs none --edition 2021 --name finding
cargo add --quiet --no-default-features tar@=0.4.46
cat > src/main.rs <<'END'
fn main() {
    let file = std::fs::File::open(std::env::args().nth(1).unwrap()).unwrap();
    for entry in tar::Archive::new(file).entries().unwrap() {
        match entry {
            Ok(entry) if entry.header().entry_type().is_pax_global_extensions() => println!("(global header)"),
            Ok(entry) => println!("{}", entry.path().unwrap().display()),
            Err(error) => println!("error: {error}"),
        }
    }
}
END
export CARGO_TARGET_DIR="$work/target"
cargo build --quiet
cargo tree --prefix none --depth 1 | grep '^tar '
tar --version | head -n 1

mkdir papers
echo text > papers/note.txt
tar --format=gnu -V monday -cf gnu.tar papers
tar --format=pax -V monday -cf pax.tar papers
echo "size field of the label: $(od -An -tx1 -j124 -N12 gnu.tar | tr -d ' ')"
echo "GNU tar lists: $(tar -tf gnu.tar | paste -sd' ')"
echo "Python's tarfile lists: $(python3 -c 'import tarfile; print(*tarfile.open("gnu.tar").getnames())')"
echo "guess: the crate lists papers and papers/note.txt too"
gnu=$(target/debug/finding gnu.tar)
pax=$(target/debug/finding pax.tar | paste -sd' ')
echo "seen, GNU format: $gnu"
echo "seen, pax format: $pax"
case "$gnu" in
*papers*) echo "CHANGED: the files are reached"; exit 1 ;;
"error: numeric field was not a number"*) ;;
*) echo "CHANGED: another answer"; exit 1 ;;
esac
case "$pax" in
*papers/note.txt) ;;
*) echo "CHANGED: the pax archive is not read"; exit 1 ;;
esac
