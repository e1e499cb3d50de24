#!/usr/bin/env bash
# htmd 0.5.6 (crate, HTML to Markdown): a table with row headers loses cells, and what stays is paired wrongly
#
# The guess: a fact box, one <th> and one <td> a row, becomes a two-column Markdown table. Markdown can hold it, HTML allows
# <th> in any row, and the crate announces the conversion of tables. If the layout were too much for it, the cells
# would at least come out as text, as they do for a table without any <th>.
#
# What happens: a row is read either for its <th> or for its <td>, never for both. The first row keeps only its <th>, as the
# heading; each later row keeps only its <td>. "Born 1815, Died 1852" comes out as the heading "Born" over "1852": a false
# statement and no error. In a grid with headings on both sides the row names vanish and every value moves one column to
# the left. The mode named Faithful, which keeps HTML that Markdown cannot express, gives the same.
#
# For users: fact boxes (encyclopedias, product pages) and grids are what a language model is fed from HTML. Rewrite
# <th> outside <thead> to <td> first, or handle `table` yourself.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cargo init --quiet --vcs none --edition 2021 --name finding
cargo add --quiet htmd@=0.5.6
cat > src/main.rs <<'END'
use htmd::options::{Options, TranslationMode};

fn main() {
    let html = std::io::read_to_string(std::io::stdin()).unwrap();
    let markdown = htmd::convert(&html).unwrap();
    println!("{markdown}");
    let options = Options { translation_mode: TranslationMode::Faithful, ..Default::default() };
    let faithful = htmd::HtmlToMarkdown::builder().options(options).build().convert(&html).unwrap();
    if faithful != markdown {
        println!("Faithful:\n{faithful}");
    }
}
END
export CARGO_TARGET_DIR="$work/target"
cargo build --quiet
echo "htmd $(cargo tree --prefix none --depth 1 | sed -n 's/^htmd v//p')"

failed=0
show() { # NAME HTML GUESS EXPECTED-OUTPUT
    local seen
    seen=$(printf '%s' "$2" | target/debug/finding)
    printf '\n%s\n  input: %s\n  guess: %s\n  seen:\n' "$1" "$2" "$3"
    printf '%s\n' "$seen" | sed 's/^/    /'
    if [ "$seen" != "$4" ]; then
        echo "  CHANGED, it was:"
        printf '%s\n' "$4"
        failed=1
    fi
}

show 'fact box' \
    '<table><tr><th>Born</th><td>1815</td></tr><tr><th>Died</th><td>1852</td></tr></table>' \
    'all four cells, 1852 beside Died' \
    '| Born |
| ---- |
| 1852 |'

show 'grid with headings on two sides' \
    '<table><thead><tr><th>City</th><th>May</th><th>June</th></tr></thead><tbody><tr><th>Oslo</th><td>11</td><td>15</td></tr></tbody></table>' \
    'the row Oslo, 11, 15' \
    '| City | May | June |
| ---- | --- | ---- |
| 11   | 15  |      |'

show 'no heading at all (nothing lost)' \
    '<table><tr><td>Born</td><td>1815</td></tr></table>' \
    'both cells' \
    'Born

1815
Faithful:
| Born | 1815 |'
exit $failed
