//! Figures in records. JSON has no NaN: a figure that is not a number, such as the log-likelihood of an answer under an
//! adapter whose weights overflowed, is written as `null`, and reads back as NaN. The record stays readable.

use serde::{Deserialize, Deserializer};

/// For `#[serde(deserialize_with = "…")]`.
pub fn nan_if_null<'de, D: Deserializer<'de>>(from: D) -> Result<f32, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f32::NAN))
}

/// The same for a list.
pub fn nan_where_null<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f32>, D::Error> {
    let figures = Vec::<Option<f32>>::deserialize(from)?.into_iter();
    Ok(figures.map(|figure| figure.unwrap_or(f32::NAN)).collect())
}

#[cfg(test)]
mod tests {
    use crate::learn::inner::report::Attempt;
    use serde_json::json;

    #[test]
    fn a_record_with_a_figure_that_is_none_is_readable() {
        let attempt = json!({
            "update": {"rank": 1, "alpha": 2.0, "learning_rate": 0.1, "epochs": 1, "batch_size": 1, "seed": 0},
            "replayed_sequences": 0, "losses": [1.5, null], "tokens": 3, "seconds": 0.5, "score": 0.0,
            "answers": [{"answer": "", "correct": false, "logprob": null}],
            "retention": null, "accepted": false, "reason": "nothing was learned",
        });
        let read: Attempt = serde_json::from_value(attempt).unwrap();
        assert_eq!(read.losses[0], 1.5);
        assert!(read.losses[1].is_nan() && read.answers[0].logprob.is_nan());
        let again: Attempt = serde_json::from_value(json!(read)).unwrap();
        assert!(again.losses[1].is_nan());
    }
}
