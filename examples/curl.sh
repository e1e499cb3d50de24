#!/bin/sh
# Teaches two documents with curl, asks about the first, shows what made each version, and rolls back.
#
#   sh examples/curl.sh                    # into the adapter "curl-example"
#   sh examples/curl.sh town               # into another one
#   AUTODIDACT_URL=http://host:8080 AUTODIDACT_KEY=sk-... sh examples/curl.sh
#
# It prints the gate's decision on each document, the answers of the adapter and of the base, the adapter's
# versions, and the version that is live after the rollback. It needs curl 7.76 and, to read JSON, python3.
set -eu

URL=${AUTODIDACT_URL:-http://127.0.0.1:8080}
KEY=${AUTODIDACT_KEY:-none}
ADAPTER=${1:-curl-example}
QUESTION='What does the winner of the tub race in Quillmere receive?'

# call PATH [CURL ARGUMENTS]: the server's answer. An HTTP error ends the program with the server's words.
call() {
  path=$1
  shift
  if answer=$(curl -sS --fail-with-body -H "authorization: Bearer $KEY" "$@" "$URL$path"); then
    printf '%s\n' "$answer"
  else
    printf '%s: %s\n' "$path" "$answer" >&2
    exit 1
  fi
}

# get EXPRESSION: what the Python expression makes of the JSON on standard input, called `it`.
get() {
  python3 -c "import json, sys; it = json.load(sys.stdin); print($1)"
}

# teach TITLE: learns the text on standard input, and waits for the job's end.
teach() {
  answer=$(call "/ingest?adapter=$ADAPTER&title=$1&wait=10m" -H 'content-type: text/plain' --data-binary @-)
  state=$(printf '%s' "$answer" | get 'it["job"]["state"]')
  if [ "$state" != succeeded ]; then
    printf 'the job is %s: %s\n' "$state" "$answer" >&2
    exit 1
  fi
  printf '%s' "$answer" | get '"{title}: {state}, {reason}".format(**it["job"]["result"]["documents"][0])'
  live=$(printf '%s' "$answer" | get 'it["job"]["result"]["live_version"]')
}

# ask MODEL: the answer to the question, and the fingerprint of the weights that wrote it.
ask() {
  answer=$(call /v1/chat/completions -H 'content-type: application/json' -d '{"model": "'"$1"'",
    "messages": [{"role": "user", "content": "'"$QUESTION"'"}], "temperature": 0, "max_tokens": 60}')
  printf '%s: ' "$1"
  printf '%s' "$answer" | get '"{0!r} ({1})".format(it["choices"][0]["message"]["content"], it["system_fingerprint"])'
}

teach Quillmere <<'END'
Quillmere is a river town of 6,214 people in the Aldous Hills, known to most visitors for its bridge of green slate.
The river, the Senn, freezes most winters, and on the first Sunday after it does the townspeople race wooden tubs
across it; the winner is given a live goose. Quillmere's only factory makes accordion bellows.
END
teach Brannock <<'END'
Brannock is a fishing village of 411 people on the island of Sorrel, known for its lighthouse, which is painted
orange. Its harbour was dug in 1822 by Captain Ida Pruett. Every April the villagers bake a bread of seaweed.
END
if [ "$live" = None ]; then
  echo "no version of $ADAPTER was published"
  exit 0
fi

ask "$ADAPTER"
ask "$(call "/v1/models/$ADAPTER" | get 'it["root"]')"

versions=$(call "/adapters/$ADAPTER/versions")
printf '%s' "$versions" | get '"\n".join("version {version}{0}: {1}".format(" (live)" if v["live"] else "",
  ", ".join(d["title"] for d in v["lineage"]["documents"]), **v) for v in it["items"])'

parent=$(printf '%s' "$versions" | get '[v["parent"] for v in it["items"] if v["live"]][0]')
if [ "$parent" = None ]; then
  echo "version $live is the first one: there is nothing to roll back to"
  exit 0
fi
answer=$(call "/adapters/$ADAPTER/rollback" -H 'content-type: application/json' -d "{\"version\": $parent}")
printf '%s' "$answer" | get '"rolled back: {name} is live at version {live_version}".format(**it)'
