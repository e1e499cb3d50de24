//! The output of a table: to the terminal, and to `--out DIR` as Markdown, JSON and SVG.

use autodidact::study::settings::TableSettings;
use serde::Serialize;
use std::fmt::Write;
use std::path::Path;

/// A Markdown page: the title, the settings, then the table.
pub fn markdown(title: &str, about: &TableSettings, head: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = format!("# {title}\n\n");
    let _ = writeln!(
        text,
        "Model {}; {} passages with {} questions, {}; seeds {}.\n",
        about.model,
        about.passages,
        about.questions,
        about.passages_digest,
        numbers(&about.seeds)
    );
    text.push_str(&table(head, rows));
    text
}

pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = format!("| {} |\n", head.join(" | "));
    text.push_str(&format!("|{}\n", " --- |".repeat(head.len())));
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

/// Prints the table or the JSON. With `--out` also writes both, and the plots.
pub fn give(
    name: &str,
    out: Option<&Path>,
    json: bool,
    markdown: &str,
    value: &impl Serialize,
    plots: &[(String, String)],
) -> Result<(), String> {
    let value = serde_json::to_string_pretty(value).map_err(|e| e.to_string())?;
    println!("{}", if json { &value } else { markdown });
    let Some(directory) = out else { return Ok(()) };
    let write = |file: String, text: &str| {
        let path = directory.join(file);
        std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))
    };
    write(format!("{name}.md"), markdown)?;
    write(format!("{name}.json"), &value)?;
    for (file, svg) in plots {
        write(format!("{file}.svg"), svg)?;
    }
    Ok(())
}

/// A curve of a plot; each point with its interval is (x, y, low, high).
pub struct Curve {
    pub name: String,
    pub points: Vec<(f32, f32, f32, f32)>,
}

const WIDTH: f32 = 640.0;
const HEIGHT: f32 = 360.0;
const MARGIN: f32 = 56.0;
const COLOURS: [&str; 4] = ["#1f6feb", "#d1591d", "#2e8540", "#7a3fb5"];

/// A plot of curves over whole numbers, as a self-contained SVG image.
pub fn plot(title: &str, x_name: &str, y_name: &str, curves: &[Curve]) -> String {
    let points = || curves.iter().flat_map(|c| &c.points);
    let bounds = |low: fn(&(f32, f32, f32, f32)) -> f32, high: fn(&(f32, f32, f32, f32)) -> f32| {
        let low = points().map(low).fold(f32::MAX, f32::min);
        let high = points().map(high).fold(f32::MIN, f32::max);
        if low < high {
            (low, high)
        } else {
            (low.min(0.0) - 0.5, high.max(0.0) + 0.5)
        }
    };
    let (left, right) = bounds(|p| p.0, |p| p.0);
    let (bottom, top) = bounds(|p| p.2, |p| p.3);
    let x = |v: f32| MARGIN + (v - left) / (right - left) * (WIDTH - 2.0 * MARGIN);
    let y = |v: f32| HEIGHT - MARGIN - (v - bottom) / (top - bottom) * (HEIGHT - 2.0 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{}\" y=\"22\" text-anchor=\"middle\" font-size=\"15\">{}</text>\n\
         <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n\
         <text x=\"14\" y=\"{}\" text-anchor=\"middle\" transform=\"rotate(-90 14 {})\">{}</text>\n",
        WIDTH / 2.0,
        escape(title),
        WIDTH / 2.0,
        HEIGHT - 12.0,
        escape(x_name),
        HEIGHT / 2.0,
        HEIGHT / 2.0,
        escape(y_name),
    );
    for nth in 0..=4 {
        let value = bottom + (top - bottom) * nth as f32 / 4.0;
        let _ = writeln!(
            svg,
            "<path d=\"M{MARGIN} {0:.1}H{1}\" stroke=\"#ddd\"/><text x=\"{2}\" y=\"{3:.1}\" \
             text-anchor=\"end\">{value:.3}</text>",
            y(value),
            WIDTH - MARGIN,
            MARGIN - 6.0,
            y(value) + 4.0
        );
    }
    let mut ticks: Vec<i64> = points().map(|p| p.0.round() as i64).collect();
    ticks.sort_unstable();
    ticks.dedup();
    for tick in ticks {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{tick}</text>",
            x(tick as f32),
            HEIGHT - MARGIN + 18.0
        );
    }
    for (nth, curve) in curves.iter().enumerate() {
        let colour = COLOURS[nth % COLOURS.len()];
        let line: Vec<String> = curve
            .points
            .iter()
            .map(|p| format!("{:.1},{:.1}", x(p.0), y(p.1)))
            .collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            line.join(" ")
        );
        for p in &curve.points {
            let _ = writeln!(
                svg,
                "<path d=\"M{0:.1} {1:.1}V{2:.1}\" stroke=\"{colour}\"/><circle cx=\"{0:.1}\" \
                 cy=\"{3:.1}\" r=\"3.5\" fill=\"{colour}\"/>",
                x(p.0),
                y(p.2),
                y(p.3),
                y(p.1)
            );
        }
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" fill=\"{colour}\" text-anchor=\"end\">{}</text>",
            WIDTH - MARGIN,
            MARGIN - 16.0 + 16.0 * nth as f32,
            escape(&curve.name)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn numbers(of: &[u64]) -> String {
    let texts: Vec<String> = of.iter().map(u64::to_string).collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_puts_the_highest_on_top_and_escapes_names() {
        let curve = Curve {
            name: "a < b".into(),
            points: vec![(1.0, 0.0, 0.0, 0.0), (2.0, 1.0, 1.0, 1.0)],
        };
        let svg = plot("t", "round", "reward", &[curve]);
        assert!(svg.contains("points=\"56.0,304.0 584.0,56.0\""), "{svg}");
        assert!(svg.contains("a &lt; b") && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn one_point_is_drawn_too() {
        let curve = Curve {
            name: "one".into(),
            points: vec![(1.0, 0.2, 0.2, 0.2)],
        };
        assert!(!plot("t", "x", "y", &[curve]).contains("NaN"));
    }

    #[test]
    fn a_table_has_as_many_rules_as_columns() {
        let rows = [vec!["1".to_owned(), "2".to_owned()]];
        assert_eq!(
            table(&["a", "b"], &rows),
            "| a | b |\n| --- | --- |\n| 1 | 2 |\n"
        );
    }
}
