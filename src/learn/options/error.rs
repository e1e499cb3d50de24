//! Values that options cannot have.

/// A field whose value cannot be used; `reason` says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct OptionError {
    pub field: String,
    pub reason: String,
}

/// Fails if the value of `field` is outside `low` to `high`, both included. Values are compared and printed as f32,
/// the type of the options: an f32's 0.1 is more than an f64's.
pub(crate) fn within(field: &str, value: f64, low: f64, high: f64) -> Result<(), OptionError> {
    let value = value as f32;
    if (low as f32..=high as f32).contains(&value) {
        return Ok(());
    }
    Err(OptionError {
        field: field.into(),
        reason: format!("{value} is outside {low} to {high}"),
    })
}
