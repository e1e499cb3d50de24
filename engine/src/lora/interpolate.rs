//! Interpolation between two adapters: an update, taken only in part.

use super::{Lora, LoraPair};
use crate::error::{Error, Result};

impl Lora {
    /// `from + weight · (self − from)`, number by number: `from` at weight 0, this adapter at 1. `None` stands for
    /// the base without an adapter: then B is scaled by the weight, and A stays.
    ///
    /// # Errors
    /// [`Error::Adapter`] if the two adapters differ in shape.
    pub fn interpolate(&self, from: Option<&Lora>, weight: f32) -> Result<Lora> {
        let mut result = self.clone();
        let Some(from) = from else {
            for pair in result.layers.iter_mut().flatten().flatten() {
                pair.b.iter_mut().for_each(|x| *x *= weight);
            }
            return Ok(result);
        };
        let unlike = || Error::Adapter("the two adapters have different shapes".into());
        if self.layers.len() != from.layers.len() {
            return Err(unlike());
        }
        let pairs = result.layers.iter_mut().flatten();
        for (pair, from) in pairs.zip(from.layers.iter().flatten()) {
            match (pair, from) {
                (Some(pair), Some(from)) if same_shape(pair, from) => {
                    lerp(&mut pair.a, &from.a, weight);
                    lerp(&mut pair.b, &from.b, weight);
                }
                (None, None) => {}
                _ => return Err(unlike()),
            }
        }
        Ok(result)
    }
}

fn same_shape(one: &LoraPair, other: &LoraPair) -> bool {
    (one.a.len(), one.b.len()) == (other.a.len(), other.b.len())
}

fn lerp(to: &mut [f32], from: &[f32], weight: f32) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = from + weight * (*to - from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Family;
    use crate::lora::LoraConfig;
    use crate::tiny::tiny_config;

    #[test]
    fn half_the_way_is_half_of_every_number() {
        let lora = |rank, seed| {
            let config = LoraConfig::all_linear(rank, 4.0);
            Lora::random(config, &tiny_config(Family::Llama), seed)
        };
        let (from, to) = (lora(2, 1), lora(2, 2));
        assert_eq!(to.interpolate(Some(&from), 0.0).unwrap(), from);
        let half = to.interpolate(Some(&from), 0.5).unwrap();
        let pair = |l: &Lora| l.layers[1][3].clone().unwrap();
        let (a, b, c) = (pair(&from), pair(&to), pair(&half));
        for (i, x) in c.a.iter().enumerate() {
            assert!((x - (a.a[i] + b.a[i]) / 2.0).abs() < 1e-6);
        }
        let alone = to.interpolate(None, 0.25).unwrap();
        assert_eq!(pair(&alone).a, b.a);
        assert!((pair(&alone).b[5] - 0.25 * b.b[5]).abs() < 1e-9);
        assert!(to.interpolate(Some(&lora(3, 1)), 0.5).is_err());
    }
}
