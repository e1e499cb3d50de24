//! Figures: median, minimum and maximum, as a JSON list or a table.

use super::machine::Machine;
use serde_json::{Map, Value, json};

/// One row of the table.
pub struct Figure {
    name: &'static str,
    shape: String,
    unit: &'static str,
    median: f64,
    min: f64,
    max: f64,
    more: Vec<(&'static str, Value)>,
}

impl Figure {
    pub fn new(name: &'static str, shape: impl Into<String>) -> Self {
        Figure {
            name,
            shape: shape.into(),
            unit: "",
            median: f64::NAN,
            min: f64::NAN,
            max: f64::NAN,
            more: Vec::new(),
        }
    }

    /// Adds median, minimum and maximum of the repeats. `unit` is the name of the field.
    pub fn measured(mut self, unit: &'static str, repeats: &[f64]) -> Self {
        self.unit = unit;
        self.median = median(repeats);
        self.min = repeats.iter().copied().fold(f64::INFINITY, f64::min);
        self.max = repeats.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        self
    }

    pub fn with(mut self, field: &'static str, value: impl Into<Value>) -> Self {
        self.more.push((field, value.into()));
        self
    }

    pub fn median(&self) -> f64 {
        self.median
    }

    fn json(&self, model: &str) -> Value {
        let mut fields = Map::new();
        fields.insert("name".into(), self.name.into());
        fields.insert("model".into(), model.into());
        fields.insert("shape".into(), self.shape.as_str().into());
        fields.insert(self.unit.into(), self.median.into());
        fields.insert("min".into(), self.min.into());
        fields.insert("max".into(), self.max.into());
        for (field, value) in &self.more {
            fields.insert((*field).into(), value.clone());
        }
        Value::Object(fields)
    }

    fn row(&self) -> String {
        let more = self.more.iter().map(|(field, value)| match value.as_f64() {
            Some(x) => format!("{field} {}", short(x)),
            None => format!("{field} {value}"),
        });
        format!(
            "| {} | {} | {} {} | {} | {} | {} |",
            self.name,
            self.shape,
            short(self.median),
            self.unit,
            short(self.min),
            short(self.max),
            more.collect::<Vec<_>>().join(", ")
        )
    }
}

/// Prints the machine's figures, then these.
pub fn print(machine: &Machine, figures: &[Figure], as_json: bool) -> Result<(), String> {
    if as_json {
        let peaks = machine.figures();
        let all = peaks.iter().chain(figures);
        let list = json!(all.map(|f| f.json(&machine.model)).collect::<Vec<_>>());
        let text = serde_json::to_string_pretty(&list).map_err(|e| e.to_string())?;
        println!("{text}");
        return Ok(());
    }
    println!("{}\n", machine.head());
    println!("| what | shape | median | min | max | |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for figure in figures {
        println!("{}", figure.row());
    }
    Ok(())
}

/// Shows progress on the terminal.
pub fn progress(what: &str) {
    eprintln!("measuring {what}");
}

pub fn median(values: &[f64]) -> f64 {
    percentile(values, 0.5)
}

/// The quantile `part` (0 to 1) of `values`, interpolated; NaN if there are none.
pub fn percentile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let place = part * last as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * (place - low as f64)
}

/// Formats with three or four significant digits.
fn short(x: f64) -> String {
    match x.abs() {
        _ if x.fract() == 0.0 => format!("{x:.0}"),
        a if a >= 100.0 => format!("{x:.0}"),
        a if a >= 10.0 => format!("{x:.1}"),
        _ => format!("{x:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_interpolate() {
        let values = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(median(&values), 2.5);
        assert_eq!(percentile(&values, 0.0), 1.0);
        assert_eq!(percentile(&values, 1.0), 4.0);
        assert!((percentile(&values, 0.95) - 3.85).abs() < 1e-12);
        assert!(median(&[]).is_nan());
    }
}
