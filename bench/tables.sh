#!/bin/sh
# The tables of learning from documents (docs/RESULTS.md). Each table has a directory of its own, and the same command
# goes on where it was. So a run may be stopped at any moment and may take many sittings.
#
#   bench/tables.sh DATA OUT [BINARY]
#
# DATA holds squad/{train,eval,teacher_implications}.json: lists of {title, context, questions}, the teacher's file of
# {title, context, completions}. The seconds mean something only if nothing else runs meanwhile.
set -eu
[ $# -ge 2 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 2; }
data=$1 out=$2 program=${3:-target/release/autodidact}
squad=$data/squad small=smollm2-135m-instruct
mkdir -p "$out"

# table NAME ARGUMENTS…: one table, its Markdown beside its directory.
table() {
    name=$1
    shift
    echo "$name" >&2
    "$program" reproduce "$@" --out "$out/$name" > "$out/$name.md"
}

eval30="knowledge --passages $squad/eval.json --limit 30"
kinds=base,open-book,passage,rewrite,implications,self-qa
one='"self_edit":{"samples":1}' teacher="--arms teacher --teacher $squad/teacher_implications.json"
table squad-small $eval30 --model $small --arms $kinds
table squad-teacher-small $eval30 --model $small $teacher --set "{$one}"
table squad $eval30 --arms $kinds
table squad-teacher $eval30 $teacher --set "{$one}"
demo="knowledge --passages demo/documents.json --skip 10 --arms $kinds"
table demo-small $demo --model $small
table demo $demo
table reward reward --passages "$squad/train.json" --limit 10 --candidates 4 --repeats 3 --set '{"training":{"upper_layers":12}}'
practised="knowledge --passages $squad/eval.json --limit 20 --seeds 0,1,2 --rounds 2 --practise-on $squad/train.json"
table practice $practised --arms base,open-book,passage,rewrite,implications,teacher \
    --teacher "$squad/teacher_implications.json" --practise-set '{"self_edit":{"explore":["rewrite"]}}'
table practice-alone $practised --arms passage,implications --outer '{"baseline":"context_alone"}'
ten="--passages $squad/eval.json --limit 10 --seeds 0,1,2"
table own-questions knowledge $ten --rounds 1 --practise-on "$squad/train.json" --arms passage,implications \
    --questions given,written --outer '{"contexts_per_round":10,"candidates":2,"held_out":0}' \
    --practise-set '{"self_edit":{"explore":["rewrite"]}}'
table cpt cpt $ten --arms base,passage,implications
table self-qa knowledge $ten --arms passage,self-qa
eight="continual --passages $squad/eval.json --documents 8"
table continual $eight --sequences 2 --seeds 0,1,2 --methods text --set '{"self_edit":{"kind":"rewrite"}}'
table distill $eight --sequences 1 --seeds 0,1,2 --methods text,distill --strategies route
