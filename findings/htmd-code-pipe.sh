#!/usr/bin/env bash
# htmd 0.5.6 + pulldown-cmark 0.13.6 (crates): code with a bar in a table cell does not survive HTML -> Markdown -> HTML
#
# The guess: a bar in a cell is written the way tables of GitHub's kind ask for it, as backslash and bar. That escape is the
# one that a table takes off even within code, so any reader of such tables gives `a|b` back.
#
# What happens: htmd writes the character reference &#124; instead. In plain text that reads well; between backticks a
# reference is no reference, so a Markdown reader shows the code a&#124;b, and re-rendered HTML holds &amp;#124;. The same bar
# outside code returns intact, which is why a quick test with text does not show it.
#
# For users: tables of command lines, regular expressions and type unions are the usual place of code in cells. A pipeline
# that stores Markdown (for a model or a search index) stores a command nobody can type. Turn &#124; within code spans of
# table rows into \| after the conversion.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cargo init --quiet --vcs none --edition 2021 --name finding
cargo add --quiet htmd@=0.5.6
cargo add --quiet --no-default-features --features html pulldown-cmark@=0.13.6
cat > src/main.rs <<'END'
use pulldown_cmark::{html::push_html, Options, Parser};

fn rendered(markdown: &str) -> String {
    let mut html = String::new();
    push_html(&mut html, Parser::new_ext(markdown, Options::ENABLE_TABLES));
    let from = html.find("<tbody>").unwrap();
    html[from..].replace('\n', "").replace("<tbody>", "").replace("</tbody></table>", "")
}

fn main() {
    let html = "<table><tr><th>text</th><th>code</th></tr><tr><td>ls|wc</td><td><code>ls|wc</code></td></tr></table>";
    let markdown = htmd::convert(html).unwrap();
    println!("htmd: {}", markdown.lines().last().unwrap());
    println!("back: {}", rendered(&markdown));
    println!("with a backslash: {}", rendered("| text | code |\n|-|-|\n| ls\\|wc | `ls\\|wc` |"));
}
END
export CARGO_TARGET_DIR="$work/target"
cargo build --quiet
cargo tree --prefix none --depth 1 | grep -E '^(htmd|pulldown-cmark) '
echo 'input: a row of <td>ls|wc</td><td><code>ls|wc</code></td>'
echo 'guess: both cells hold ls|wc again after the way back'
seen=$(target/debug/finding)
echo "seen:"
printf '%s\n' "$seen"
expected='htmd: | ls&#124;wc | `ls&#124;wc` |
back: <tr><td>ls|wc</td><td><code>ls&amp;#124;wc</code></td></tr>
with a backslash: <tr><td>ls|wc</td><td><code>ls|wc</code></td></tr>'
if [ "$seen" != "$expected" ]; then
    echo "CHANGED, it was:"
    printf '%s\n' "$expected"
    exit 1
fi
