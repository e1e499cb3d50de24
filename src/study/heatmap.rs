//! SVG heat maps of matrices of shares.

use std::fmt::Write;

const CELL: usize = 44;
const MARGIN: usize = 90;

/// The heat map of `matrix[i][j]`, values 0 to 1. Row 0 is the base. Rows may have different lengths.
pub fn svg(title: &str, matrix: &[Vec<f32>]) -> String {
    let columns = matrix.iter().map(Vec::len).max().unwrap_or(0);
    let (width, height) = (
        MARGIN + columns * CELL + 20,
        MARGIN + matrix.len() * CELL + 20,
    );
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"10\" y=\"22\" font-size=\"15\">{}</text>\n\
         <text x=\"{MARGIN}\" y=\"46\" fill=\"#555555\">accuracy on document</text>\n",
        escaped(title)
    );
    for j in 0..columns {
        let x = MARGIN + j * CELL + CELL / 2;
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            MARGIN - 8,
            j + 1
        );
    }
    for (i, row) in matrix.iter().enumerate() {
        let y = MARGIN + i * CELL;
        let name = match i {
            0 => "base".to_owned(),
            i => format!("after {i}"),
        };
        let (x, middle) = (MARGIN - 10, y + CELL / 2 + 4);
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"{middle}\" text-anchor=\"end\">{name}</text>"
        );
        for (j, share) in row.iter().enumerate() {
            let x = MARGIN + j * CELL;
            let size = CELL - 2;
            let (fill, ink) = (
                colour(*share),
                if *share > 0.6 { "#ffffff" } else { "#111111" },
            );
            let _ = writeln!(
                svg,
                "<rect x=\"{x}\" y=\"{y}\" width=\"{size}\" height=\"{size}\" rx=\"4\" fill=\"{fill}\"/>\
                 <text x=\"{}\" y=\"{middle}\" text-anchor=\"middle\" fill=\"{ink}\">{:.0}</text>",
                x + size / 2,
                100.0 * share
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// A green, pale for 0 and deep for 1.
fn colour(share: f32) -> String {
    let share = share.clamp(0.0, 1.0);
    let between = |from: f32, to: f32| (from + share * (to - from)).round() as u8;
    let (r, g, b) = (
        between(238.0, 22.0),
        between(242.0, 101.0),
        between(238.0, 80.0),
    );
    format!("#{r:02x}{g:02x}{b:02x}")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_is_drawn_once_with_its_figure() {
        let svg = svg("a < b", &[vec![0.0, 0.0], vec![1.0], vec![0.25, 0.5]]);
        assert_eq!(svg.matches("<rect x=").count(), 5);
        assert!(svg.contains(">25</text>") && svg.contains(">100</text>"));
        assert!(svg.contains("a &lt; b") && svg.contains(">after 2</text>"));
        assert_eq!(
            (colour(0.0).as_str(), colour(1.0).as_str()),
            ("#eef2ee", "#166550")
        );
    }
}
