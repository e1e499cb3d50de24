//! From the two files to an adapter. The tensors decide the ranks; the configuration must agree with them.
//!
//! A [`Lora`] has one rank and one scale. Pairs of a lower rank are filled up with zeros, and pairs of another scale
//! have the difference multiplied into B, so every pair computes what its own rank and scale say. An adapter of one
//! rank and scale is taken over number by number.

use super::config::PeftConfig;
use super::patterns::Module;
use super::tensors::{self, Part, Part32, Parts};
use super::{CONFIG_FILE, WEIGHTS_FILE};
use crate::config::{ModelConfig, Projection};
use crate::error::{Error, Result};
use crate::lora::{Extras, Lora, LoraConfig, LoraPair, TableChange, TablePair};
use std::sync::Arc;

/// Reads an adapter that PEFT wrote.
///
/// # Errors
/// [`Error::Adapter`] if a file is damaged or is something else, if the adapter computes what this engine does not
/// (the entry or tensor is named), or if it does not fit `model`.
pub fn from_files(config_json: &[u8], safetensors: &[u8], model: &ModelConfig) -> Result<Lora> {
    let config = PeftConfig::read(config_json, model)?;
    let mut reader = Reader {
        parts: tensors::read(safetensors, model)?,
        config,
        model,
    };
    reader.check_coverage()?;
    let mut found = Vec::new();
    let mut extras = Extras {
        layers: (0..model.num_layers).map(|_| Default::default()).collect(),
        ..Default::default()
    };
    for layer in 0..model.num_layers {
        for projection in Projection::ALL {
            let module = Module::Linear(layer, projection);
            let (inputs, outputs) = model.features(projection);
            let Some(pair) = reader.pair(module, (Part::A, Part::B), (inputs, outputs))? else {
                continue;
            };
            let more = &mut extras.layers[layer][projection.index()];
            more.magnitude = reader.vector(module, Part::Magnitude, outputs)?;
            more.bias = reader.vector(module, Part::Bias, outputs)?;
            let scale = pair.scale();
            if let Some(bias) = &mut more.bias {
                bias.iter_mut().for_each(|x| *x *= scale);
            }
            found.push((layer, projection, pair));
        }
    }
    reader.tables(&mut extras)?;
    let extras = extras.or_none().map(Arc::new);
    if found.is_empty() && extras.is_none() {
        return Err(Error::Adapter(format!(
            "{WEIGHTS_FILE} holds no LoRA tensor"
        )));
    }
    let lora = join(found, extras, model)?;
    lora.validate(model)?;
    Ok(lora)
}

/// A pair as the files have it.
struct Pair {
    rank: usize,
    /// The scale is `alpha / rank`.
    alpha: f32,
    a: Vec<f32>,
    b: Vec<f32>,
}

impl Pair {
    fn scale(&self) -> f32 {
        self.alpha / self.rank as f32
    }
}

/// The most numbers (a gigabyte) that filling up lower ranks may lead to: one pair of a high rank makes all others as
/// large as itself.
const LARGEST_FILLED: usize = 1 << 28;

/// Puts pairs of any ranks and scales into an adapter of one.
fn join(
    found: Vec<(usize, Projection, Pair)>,
    extras: Option<Arc<Extras>>,
    model: &ModelConfig,
) -> Result<Lora> {
    let pairs = || found.iter().map(|(_, _, pair)| pair);
    // Without any pair the rank means nothing, whatever the configuration says.
    let rank = pairs().map(|p| p.rank).max().unwrap_or(1);
    let own: usize = pairs().map(|p| p.a.len() + p.b.len()).sum();
    let filled: usize = pairs()
        .map(|p| (p.a.len() + p.b.len()) / p.rank * rank)
        .sum();
    if filled > own.max(LARGEST_FILLED) {
        return Err(Error::Adapter(format!(
            "its pairs have ranks up to {rank}, and filled up to that rank they would be {filled} numbers; save it \
             with ranks that differ less"
        )));
    }
    let same = pairs().all(|p| p.rank == rank && p.alpha == found[0].2.alpha);
    // The largest scale, so that no B grows.
    let largest = pairs()
        .map(Pair::scale)
        .max_by(|x, y| x.abs().total_cmp(&y.abs()));
    let alpha = match (same, largest) {
        (true, Some(_)) => found[0].2.alpha,
        (_, scale) => scale.unwrap_or(1.0) * rank as f32,
    };
    let has = |p: &Projection| found.iter().any(|(_, q, _)| q == p);
    let config = LoraConfig {
        rank,
        alpha,
        targets: Projection::ALL.into_iter().filter(has).collect(),
    };
    let whole = config.scale();
    let mut layers: Vec<[Option<LoraPair>; 7]> =
        (0..model.num_layers).map(|_| Default::default()).collect();
    for (layer, projection, pair) in found {
        let factor = match same || whole == 0.0 {
            true => 1.0,
            false => pair.scale() / whole,
        };
        layers[layer][projection.index()] =
            Some(fill_up(pair, rank, factor, model.features(projection).0));
    }
    Ok(Lora {
        config,
        layers,
        extras,
    })
}

/// A pair of rank `rank`: zeros for the ranks that it does not have, and B times `factor`.
fn fill_up(mut pair: Pair, rank: usize, factor: f32, inputs: usize) -> LoraPair {
    if factor != 1.0 {
        pair.b.iter_mut().for_each(|x| *x *= factor);
    }
    if pair.rank < rank {
        pair.a.resize(rank * inputs, 0.0);
        let mut b = vec![0.0; pair.b.len() / pair.rank * rank];
        for (to, from) in b.chunks_exact_mut(rank).zip(pair.b.chunks_exact(pair.rank)) {
            to[..from.len()].copy_from_slice(from);
        }
        pair.b = b;
    }
    LoraPair {
        a: pair.a,
        b: pair.b,
    }
}

struct Reader<'a> {
    config: PeftConfig,
    parts: Parts,
    model: &'a ModelConfig,
}

impl Reader<'_> {
    /// Checks that every tensor belongs to a module that the configuration means, and to a computation that it
    /// names. PEFT would leave such a tensor out with a warning.
    fn check_coverage(&self) -> Result<()> {
        let config = &self.config;
        for ((module, part), tensor) in &self.parts {
            let name = &tensor.name;
            let wrong = |reason: String| Err(Error::Adapter(format!("tensor {name}: {reason}")));
            match part {
                Part::Whole | Part::Base => continue,
                Part::Bias if !config.lora_bias => {
                    return wrong(format!("{CONFIG_FILE} says that lora_bias is false"));
                }
                Part::Magnitude if !config.use_dora => {
                    return wrong(format!("{CONFIG_FILE} says that use_dora is false"));
                }
                _ => {}
            }
            let tied = *module == Module::Head && self.ties_pairs()?;
            if !tied && !config.targets.covers(*module)? {
                return wrong(format!(
                    "{CONFIG_FILE} does not give {} a pair (target_modules, exclude_modules, layers_to_transform, \
                     modules_to_save)",
                    module.name()
                ));
            }
            let (tables, dora) = (
                matches!(module, Module::Embedding | Module::Head),
                config.use_dora,
            );
            if tables && dora {
                return wrong("use_dora on embed_tokens or lm_head is not supported".into());
            }
            if tables && *part == Part::Bias {
                return wrong("lora_bias on lm_head is not supported".into());
            }
        }
        Ok(())
    }

    /// Whether PEFT gives a tied output projection the embedding's pair.
    fn ties_pairs(&self) -> Result<bool> {
        let tied = self.config.ensure_weight_tying && self.model.tie_word_embeddings;
        Ok(tied && self.config.targets.covers(Module::Embedding)?)
    }

    /// Takes a module's pair. `names` are its parts, `features` its inputs and outputs.
    fn pair(
        &mut self,
        module: Module,
        names: (Part, Part),
        features: (usize, usize),
    ) -> Result<Option<Pair>> {
        let taken = |parts: &mut Parts, part| parts.remove(&(module, part));
        let (a, b) = match (
            taken(&mut self.parts, names.0),
            taken(&mut self.parts, names.1),
        ) {
            (Some(a), Some(b)) => (a, b),
            (None, None) => match self.left_over(module) {
                Some(name) => {
                    return Err(Error::Adapter(format!(
                        "tensor {name} belongs to {}, which has no lora_A and lora_B",
                        module.name()
                    )));
                }
                None => return Ok(None),
            },
            (Some(one), None) | (None, Some(one)) => {
                return Err(Error::Adapter(format!(
                    "{} has only one of lora_A and lora_B ({})",
                    module.name(),
                    one.name
                )));
            }
        };
        let (rank, source) = self.config.rank_of(&module.name())?;
        let (inputs, outputs) = features;
        for (tensor, want) in [(&a, [rank, inputs]), (&b, [outputs, rank])] {
            if tensor.shape != want || rank == 0 {
                return Err(Error::Adapter(format!(
                    "tensor {} has shape {:?}, but {source} on this model takes {want:?}{}",
                    tensor.name,
                    tensor.shape,
                    if rank == 0 {
                        ", and a rank must be at least 1"
                    } else {
                        ""
                    }
                )));
            }
        }
        let alpha = self.config.plain_alpha(&module.name(), rank)?;
        Ok(Some(Pair {
            rank,
            alpha,
            a: a.data,
            b: b.data,
        }))
    }

    fn left_over(&self, module: Module) -> Option<&str> {
        let of = |(other, part): &(Module, Part)| {
            *other == module && !matches!(part, Part::Whole | Part::Base)
        };
        let left = self.parts.iter().find(|(key, _)| of(key));
        left.map(|(_, tensor)| tensor.name.as_str())
    }

    /// Takes a vector that the configuration asks for.
    fn vector(&mut self, module: Module, part: Part, len: usize) -> Result<Option<Vec<f32>>> {
        let (wanted, entry) = match part {
            Part::Bias => (self.config.lora_bias, "lora_bias"),
            _ => (self.config.use_dora, "use_dora"),
        };
        match self.parts.remove(&(module, part)) {
            None if wanted => Err(Error::Adapter(format!(
                "{CONFIG_FILE} says that {entry} is true, but {} has no such tensor in {WEIGHTS_FILE}",
                module.name()
            ))),
            None => Ok(None),
            Some(vector) => match vector.data.len() == len {
                true => Ok(Some(vector.data)),
                false => Err(Error::Adapter(format!(
                    "tensor {} has shape {:?}, this model takes [{len}]",
                    vector.name, vector.shape
                ))),
            },
        }
    }

    /// Reads what the adapter changes of the embedding and of the output projection.
    fn tables(&mut self, extras: &mut Extras) -> Result<()> {
        let (vocab, hidden) = (self.model.vocab_size, self.model.hidden_size);
        let mut embedding = self.whole(Module::Embedding)?;
        let names = (Part::EmbeddingA, Part::EmbeddingB);
        if let Some(pair) = self.pair(Module::Embedding, names, (vocab, hidden))? {
            let scale = pair.scale();
            // The table's rows are A's columns.
            let mut columns = transposed(&pair.b, hidden);
            columns.iter_mut().for_each(|x| *x *= scale);
            embedding.pair = Some(TablePair {
                rank: pair.rank,
                rows: transposed(&pair.a, pair.rank),
                columns,
            });
        }
        let mut head = self.whole(Module::Head)?;
        let ties_pairs = self.ties_pairs()?;
        match self.pair(Module::Head, (Part::A, Part::B), (hidden, vocab))? {
            Some(mut pair) => {
                let scale = pair.scale();
                pair.a.iter_mut().for_each(|x| *x *= scale);
                head.pair = Some(TablePair {
                    rank: pair.rank,
                    rows: pair.b,
                    columns: pair.a,
                });
            }
            None if ties_pairs => head.pair.clone_from(&embedding.pair),
            None => {}
        }
        if self.model.tie_word_embeddings {
            self.tie(&mut embedding, &mut head);
        }
        extras.embedding = (embedding != TableChange::default()).then_some(embedding);
        extras.head = (head != TableChange::default()).then_some(head);
        Ok(())
    }

    /// In a model of one table PEFT loads a table that is not in `modules_to_save` into both, and with
    /// `ensure_weight_tying` the others, too.
    fn tie(&self, embedding: &mut TableChange, head: &mut TableChange) {
        let own = |module| self.saves_whole(module) && !self.config.ensure_weight_tying;
        if head.whole.is_none() && !own(Module::Embedding) {
            head.whole.clone_from(&embedding.whole);
            head.is_copy = embedding.is_copy;
        } else if embedding.whole.is_none() && !self.saves_whole(Module::Head) {
            embedding.whole.clone_from(&head.whole);
            embedding.is_copy = head.is_copy;
        }
    }

    /// Takes a whole table.
    fn whole(&mut self, module: Module) -> Result<TableChange> {
        let want = [self.model.vocab_size, self.model.hidden_size];
        let (own, copy) = (
            self.parts.remove(&(module, Part::Whole)),
            self.parts.remove(&(module, Part::Base)),
        );
        if let (Some(own), Some(copy)) = (&own, &copy) {
            return Err(Error::Adapter(format!(
                "tensors {} and {} are both the whole weight of one module; send one",
                own.name, copy.name
            )));
        }
        let is_copy = own.is_none();
        match own.or(copy) {
            None if self.saves_whole(module) => Err(Error::Adapter(format!(
                "{CONFIG_FILE}: modules_to_save names {}, but {WEIGHTS_FILE} does not hold its weight",
                module.name()
            ))),
            None => Ok(TableChange::default()),
            Some(Part32 { data, shape, .. }) if shape == want => Ok(TableChange {
                whole: Some(data),
                is_copy,
                pair: None,
            }),
            Some(Part32 { name, shape, .. }) => Err(Error::Adapter(format!(
                "tensor {name} has shape {shape:?}, this model takes {want:?}; an adapter of a resized vocabulary \
                 belongs to another base"
            ))),
        }
    }

    fn saves_whole(&self, module: Module) -> bool {
        let name = module.name();
        let mut entries = self.config.targets.whole.iter();
        entries.any(|entry| super::patterns::is_ending(&name, entry))
    }
}

/// The transpose of a matrix of `rows` rows.
fn transposed(matrix: &[f32], rows: usize) -> Vec<f32> {
    let width = matrix.len() / rows;
    (0..width)
        .flat_map(|c| (0..rows).map(move |r| matrix[r * width + c]))
        .collect()
}
