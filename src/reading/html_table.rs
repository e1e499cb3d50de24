//! Tables of HTML as Markdown. A row keeps its heading cells beside its other cells, in their order; a table of pairs, a
//! fact box, becomes a list of "name: value".

use htmd::Element;
use htmd::element_handler::{HandlerResult, Handlers};
use markup5ever_rcdom::{Node, NodeData};
use std::rc::Rc;

#[derive(Clone)]
struct Cell {
    is_heading: bool,
    text: String,
    /// Columns and rows that the cell covers.
    columns: usize,
    rows: usize,
}

/// Most columns or rows that one cell may cover.
const WIDEST: usize = 50;

/// The handler of `<table>`.
pub fn table(handlers: &dyn Handlers, element: Element) -> Option<HandlerResult> {
    let (mut captions, mut rows) = (Vec::new(), Vec::new());
    gather(handlers, element.node, &mut captions, &mut rows);
    let mut rows = spread(rows);
    rows.retain(|row: &Vec<Cell>| row.iter().any(|cell| !cell.text.is_empty()));
    let is_pair =
        |row: &Vec<Cell>| matches!(&row[..], [name, value] if name.is_heading && !value.is_heading);
    let body = match rows.iter().all(is_pair) {
        true => facts(&rows),
        false => grid(&rows),
    };
    let mut blocks: Vec<String> = captions.into_iter().chain(body).collect();
    blocks.retain(|block| !block.is_empty());
    Some(format!("\n\n{}\n\n", blocks.join("\n\n")).into())
}

/// Collects captions and rows, but not those of tables within cells.
fn gather(
    handlers: &dyn Handlers,
    node: &Rc<Node>,
    captions: &mut Vec<String>,
    rows: &mut Vec<Vec<Cell>>,
) {
    for child in node.children.borrow().iter() {
        match name(child).as_deref() {
            Some("caption") => captions.push(one_line(handlers, child)),
            Some("tr") => rows.push(cells(handlers, child)),
            Some("thead" | "tbody" | "tfoot") => gather(handlers, child, captions, rows),
            _ => {}
        }
    }
}

fn cells(handlers: &dyn Handlers, row: &Rc<Node>) -> Vec<Cell> {
    let children = row.children.borrow();
    let cells = children.iter().filter_map(|child| {
        let name = name(child)?;
        let is_heading = name == "th";
        (is_heading || name == "td").then(|| Cell {
            is_heading,
            text: one_line(handlers, child),
            columns: span(child, "colspan"),
            rows: span(child, "rowspan"),
        })
    });
    cells.collect()
}

fn span(cell: &Rc<Node>, attribute: &str) -> usize {
    let NodeData::Element { attrs, .. } = &cell.data else {
        return 1;
    };
    let attrs = attrs.borrow();
    let found = attrs.iter().find(|a| &*a.name.local == attribute);
    let span = found.and_then(|a| a.value.trim().parse().ok()).unwrap_or(1);
    span.clamp(1, WIDEST)
}

/// The rows with each cell in every place that it covers.
fn spread(rows: Vec<Vec<Cell>>) -> Vec<Vec<Cell>> {
    // What still reaches into the next rows, by column.
    let mut above: Vec<Option<Cell>> = Vec::new();
    let mut spread = Vec::new();
    for row in rows {
        let mut cells = row.into_iter();
        let mut line: Vec<Cell> = Vec::new();
        loop {
            let column = line.len();
            if let Some(mut cell) = above.get_mut(column).and_then(Option::take) {
                cell.rows -= 1;
                above[column] = (cell.rows > 1).then(|| cell.clone());
                line.push(cell);
                continue;
            }
            let Some(cell) = cells.next() else { break };
            for column in column..column + cell.columns {
                if above.len() <= column {
                    above.resize(column + 1, None);
                }
                above[column] = (cell.rows > 1).then(|| cell.clone());
                line.push(cell.clone());
            }
        }
        spread.push(line);
    }
    spread
}

fn name(node: &Rc<Node>) -> Option<String> {
    match &node.data {
        NodeData::Element { name, .. } => Some(name.local.to_string()),
        _ => None,
    }
}

fn one_line(handlers: &dyn Handlers, node: &Rc<Node>) -> String {
    let content = handlers.walk_children(node).content;
    content.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn facts(rows: &[Vec<Cell>]) -> Vec<String> {
    let line =
        |row: &Vec<Cell>| format!("- {}: {}", row[0].text.trim_end_matches(':'), row[1].text);
    vec![rows.iter().map(line).collect::<Vec<_>>().join("\n")]
}

/// A table of Markdown. Without a row of headings the first row is empty, since Markdown wants one.
fn grid(rows: &[Vec<Cell>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    if columns == 0 {
        return Vec::new();
    }
    let line = |texts: Vec<String>| {
        let missing = columns - texts.len();
        let texts = texts.into_iter().chain(vec![String::new(); missing]);
        format!("| {} |", texts.collect::<Vec<_>>().join(" | "))
    };
    let texts = |row: &Vec<Cell>| row.iter().map(|c| escaped(&c.text)).collect::<Vec<_>>();
    let (head, body) = match rows.first() {
        Some(first) if first.iter().all(|c| c.is_heading) => (texts(first), &rows[1..]),
        _ => (vec![String::new(); columns], rows),
    };
    let rule = format!("|{}", " --- |".repeat(columns));
    let lines = [line(head), rule].into_iter();
    let lines = lines.chain(body.iter().map(|row| line(texts(row))));
    vec![lines.collect::<Vec<_>>().join("\n")]
}

/// A bar within a cell has a backslash.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = ' ';
    for c in text.chars() {
        if c == '|' && before != '\\' {
            out.push('\\');
        }
        out.push(c);
        before = c;
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::reading::{Format, read};

    fn text(html: &str) -> String {
        read(Format::Html, None, html.as_bytes())
            .unwrap()
            .text
            .trim()
            .to_owned()
    }

    #[test]
    fn a_fact_box_keeps_every_name_with_its_value() {
        let html = "<table><caption>Ada</caption><tr><th>Born</th><td>1815</td></tr><tr><th>Died:</th><td>1852</td></tr></table>";
        assert_eq!(text(html), "Ada\n\n- Born: 1815\n- Died: 1852");
    }

    #[test]
    fn a_grid_keeps_its_row_names() {
        let html = "<table><tr><th></th><th>Seats</th></tr><tr><th>Ferry</th><td>29 | 6 cows</td></tr></table>";
        assert_eq!(
            text(html),
            "|  | Seats |\n| --- | --- |\n| Ferry | 29 \\| 6 cows |"
        );
        let spans = "<table><tr><th colspan=2>Wide</th><td rowspan=2>R</td></tr><tr><td>1</td><td>2</td></tr></table>";
        assert_eq!(
            text(spans),
            "|  |  |  |\n| --- | --- | --- |\n| Wide | Wide | R |\n| 1 | 2 | R |"
        );
        let bare = "<table><tbody><tr><td>a</td><td><table><tr><td>b</td></tr></table></td></tr><tr><td>c</td></tr></tbody></table>";
        assert!(
            text(bare).starts_with("|  |  |\n| --- | --- |\n| a | "),
            "{}",
            text(bare)
        );
    }
}
