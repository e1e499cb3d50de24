#!/bin/sh
# An older build beside this one: both learn the same documents in turns, and answer the same questions.
#
#   bench/versus.sh OLD_BINARY NEW_BINARY [--documents FILE[:SKIP[:LIMIT]]]… [--model NAME] [--out DIR]
#
# The default documents are the second half of demo/documents.json, which no setting was tuned on; SQuAD's passages
# ({title, context, questions}) are named by --documents. With --out the same command goes on where it was stopped. The
# seconds mean something only if nothing else runs meanwhile.
set -eu
[ $# -ge 2 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2; }
exec python3 "$(dirname "$0")/versus.py" "$@"
