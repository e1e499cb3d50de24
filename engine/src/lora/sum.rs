//! The sum of adapters as one adapter.

use super::{Lora, LoraPair};
use crate::error::{Error, Result};

impl Lora {
    /// The adapter whose corrections are the sums of these adapters' corrections, each times `weight`. Its rank is the
    /// sum of their ranks: A has the rows of all of them, and B the columns, times each one's own scale.
    ///
    /// # Errors
    /// [`Error::Adapter`] if there is none, if one changes more than linear layers, or if their layers differ in size.
    pub fn sum(adapters: &[&Lora], weight: f32) -> Result<Lora> {
        let first = adapters
            .first()
            .ok_or_else(|| Error::Adapter("there is no adapter to add".into()))?;
        if adapters.iter().any(|a| a.extras.is_some()) {
            return Err(Error::Adapter(
                "only plain LoRA can be added: one of the adapters changes more than linear layers"
                    .into(),
            ));
        }
        if adapters
            .iter()
            .any(|a| a.layers.len() != first.layers.len())
        {
            return Err(unlike());
        }
        let mut result = (*first).clone();
        result.config.rank = adapters.iter().map(|a| a.config.rank).sum();
        result.config.alpha = result.config.rank as f32;
        let targets = adapters.iter().flat_map(|a| a.config.targets.clone());
        for target in targets {
            if !result.config.targets.contains(&target) {
                result.config.targets.push(target);
            }
        }
        result.config.targets.sort_by_key(|target| target.index());
        for (l, layer) in result.layers.iter_mut().enumerate() {
            for (p, pair) in layer.iter_mut().enumerate() {
                let parts = adapters.iter().map(|a| (*a, a.layers[l][p].as_ref()));
                *pair = added(&parts.collect::<Vec<_>>(), weight)?;
            }
        }
        Ok(result)
    }
}

fn unlike() -> Error {
    Error::Adapter("the adapters belong to different models".into())
}

/// The pairs of one linear layer side by side; `None` if no adapter has one.
fn added(parts: &[(&Lora, Option<&LoraPair>)], weight: f32) -> Result<Option<LoraPair>> {
    let size = |(lora, pair): &(&Lora, Option<&LoraPair>)| {
        pair.map(|pair| {
            (
                pair.a.len() / lora.config.rank,
                pair.b.len() / lora.config.rank,
            )
        })
    };
    let mut sizes = parts.iter().filter_map(size);
    let Some((inputs, outputs)) = sizes.next() else {
        return Ok(None);
    };
    if sizes.any(|size| size != (inputs, outputs)) {
        return Err(unlike());
    }
    let mut a = Vec::new();
    let mut b = vec![Vec::new(); outputs];
    for (lora, pair) in parts {
        let (rank, factor) = (lora.config.rank, weight * lora.config.scale());
        match pair {
            Some(pair) => {
                a.extend_from_slice(&pair.a);
                let rows = b.iter_mut().zip(pair.b.chunks_exact(rank));
                rows.for_each(|(b, row)| b.extend(row.iter().map(|x| x * factor)));
            }
            None => {
                a.resize(a.len() + rank * inputs, 0.0);
                b.iter_mut().for_each(|b| b.resize(b.len() + rank, 0.0));
            }
        }
    }
    Ok(Some(LoraPair { a, b: b.concat() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Family;
    use crate::lora::LoraConfig;
    use crate::tiny::tiny_config;

    /// `scale · B · A` of one layer, `[outputs, inputs]`.
    fn product(lora: &Lora, l: usize, p: usize) -> Vec<f32> {
        let pair = lora.layers[l][p].as_ref().unwrap();
        let rank = lora.config.rank;
        let inputs = pair.a.len() / rank;
        let rows = pair.b.chunks_exact(rank).flat_map(|b| {
            (0..inputs).map(move |i| {
                let terms = b
                    .iter()
                    .enumerate()
                    .map(|(r, b)| b * pair.a[r * inputs + i]);
                lora.config.scale() * terms.sum::<f32>()
            })
        });
        rows.collect()
    }

    #[test]
    fn the_sum_corrects_as_both_do() {
        let model = tiny_config(Family::Llama);
        let one = Lora::random(LoraConfig::all_linear(2, 4.0), &model, 1);
        let mut other = Lora::random(LoraConfig::all_linear(3, 3.0), &model, 2);
        other.layers[0] = Default::default();
        let sum = Lora::sum(&[&one, &other], 0.5).unwrap();
        sum.validate(&model).unwrap();
        assert_eq!(sum.config.rank, 5);
        let (a, b) = (product(&one, 1, 3), product(&other, 1, 3));
        for ((sum, a), b) in product(&sum, 1, 3).iter().zip(a).zip(b) {
            assert!((sum - 0.5 * (a + b)).abs() < 1e-6);
        }
        for (sum, a) in product(&sum, 0, 2).iter().zip(product(&one, 0, 2)) {
            assert!((sum - 0.5 * a).abs() < 1e-6);
        }
        assert!(Lora::sum(&[], 1.0).is_err());
        let mut shallow = one.clone();
        shallow.layers.pop();
        assert!(Lora::sum(&[&shallow, &one], 1.0).is_err());
        let mut narrow = one.clone();
        narrow.layers[1][3].as_mut().unwrap().b.truncate(2);
        assert!(Lora::sum(&[&one, &narrow], 1.0).is_err());
    }
}
