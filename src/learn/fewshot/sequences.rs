//! The training sequences of a grid task. There may be a hundred thousand, and a training takes a few hundred. So all
//! are drawn first, as recipes, and only those that are taken are written out.

use super::augment::{self, Colours, Transform};
use super::grid::Grid;
use super::self_edit::SelfEdit;
use super::serialise;
use super::task::{MOST_SEQUENCES, Pair, left_out, length_of, recoloured};
use crate::learn::ports::model::Turn;
use crate::learn::ports::watch::Watch;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::collections::HashSet;

/// Recoloured copies of each grid task, in addition to the task in its own colours.
const RECOLOURED: usize = 3;
/// So many sequences are looked at before the question whether to stop.
const ASKED_EVERY: usize = 64;

/// How a sequence is made of the demonstrations.
#[derive(Debug, Clone)]
pub struct Recipe {
    transform: usize,
    /// The demonstrations in the order of their turns.
    turns: Vec<usize>,
    colours: Colours,
}

/// Every demonstration in every transform that does not make it too large.
pub struct Forms(Vec<Vec<Option<Pair<Grid>>>>);

impl Forms {
    fn new(pairs: &[Pair<Grid>], transforms: &[Transform]) -> Self {
        let both = |transform: &Transform, pair: &Pair<Grid>| {
            Some(Pair {
                input: transform.apply(&pair.input)?,
                output: transform.apply(&pair.output)?,
            })
        };
        let forms = transforms.iter().map(|transform| {
            let of_each = pairs.iter().map(|pair| both(transform, pair));
            of_each.collect::<Vec<_>>()
        });
        Forms(forms.collect())
    }

    fn pairs<'f>(&'f self, recipe: &'f Recipe) -> impl Iterator<Item = &'f Pair<Grid>> {
        let forms = &self.0[recipe.transform];
        // Only tasks that have all forms are drawn.
        let numbers = recipe.turns.iter();
        numbers.filter_map(move |nth| forms[*nth].as_ref())
    }

    /// The length of the sequence as [`length_of`] has it, without writing it.
    pub fn length(&self, recipe: &Recipe) -> usize {
        let pairs = self.pairs(recipe);
        length_of(pairs.map(|p| [serialise::length(&p.input), serialise::length(&p.output)]))
    }

    pub fn write(&self, recipe: &Recipe) -> Vec<Turn> {
        let pairs = self.pairs(recipe);
        pairs
            .map(|pair| recoloured(pair, &recipe.colours))
            .collect()
    }
}

/// Two lists: the sequences of the task itself, and those with transforms, other colours or fewer demonstrations. When
/// `watch` wants it stopped, only those drawn so far.
pub fn recipes(
    pairs: &[Pair<Grid>],
    edit: &SelfEdit,
    rng: &mut ChaCha8Rng,
    watch: &dyn Watch,
) -> (Forms, Vec<Recipe>, Vec<Recipe>) {
    let data = &edit.data_generation;
    let mut transforms = vec![Transform::Identity];
    let wanted = [
        (data.use_basic_augmentations, augment::basic(rng)),
        (data.use_size_augmentations, augment::size()),
        (data.use_chain_augmentations, augment::chain()),
        (data.use_repeat_augmentations, augment::repeat()),
    ];
    let wanted = wanted.into_iter().filter(|(on, _)| *on);
    transforms.extend(wanted.flat_map(|(_, transforms)| transforms));
    let forms = Forms::new(pairs, &transforms);
    let (mut own, mut others) = (Vec::new(), Vec::new());
    let numbers: Vec<usize> = (0..pairs.len()).collect();
    for turns in left_out(&numbers) {
        if !own.is_empty() && watch.stopped() {
            break;
        }
        for transform in 0..transforms.len() {
            // A transform is skipped if any grid of the task would become too large.
            if turns.iter().any(|nth| forms.0[transform][*nth].is_none()) {
                continue;
            }
            let own_colours = Recipe {
                transform,
                turns: turns.clone(),
                colours: Colours::same(),
            };
            // The first transform is the identity.
            match transform == 0 && turns.len() == pairs.len() {
                true => own.push(own_colours),
                false => others.push(own_colours),
            }
            for _ in 0..RECOLOURED {
                let colours = Colours::shuffled(rng);
                let mut turns = turns.clone();
                let asked = turns.len() - 1;
                turns[..asked].shuffle(rng);
                others.push(Recipe {
                    transform,
                    turns,
                    colours,
                });
            }
        }
    }
    (forms, own, others)
}

/// What comes until `watch` wants it stopped, and the first in any case.
pub fn until<T>(watch: &dyn Watch, all: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
    let numbered = all.enumerate();
    let before =
        numbered.take_while(|(nth, _)| nth % ASKED_EVERY != 0 || *nth == 0 || !watch.stopped());
    before.map(|(_, item)| item)
}

/// Different sequences, at most `most` and at most [`MOST_SEQUENCES`]. After the first, `watch` may end them.
pub fn distinct(
    sequences: impl Iterator<Item = Vec<Turn>>,
    most: usize,
    watch: &dyn Watch,
) -> Vec<Vec<Turn>> {
    let (mut seen, mut found) = (HashSet::new(), Vec::new());
    for turns in sequences {
        if seen.insert(turns.clone()) {
            found.push(turns);
        }
        if found.len() >= most.min(MOST_SEQUENCES) || watch.stopped() {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::task::{FewShot, Task};
    use super::*;
    use crate::learn::ports::model::TrainingText;
    use rand::SeedableRng;

    /// The same sequences, all of them written out at once.
    fn all(pairs: &[Pair<Grid>], transforms: &[Transform], rng: &mut ChaCha8Rng) -> Vec<Vec<Turn>> {
        let (mut own, mut others) = (Vec::new(), Vec::new());
        for task in left_out(pairs) {
            for transform in transforms {
                let whole = task.iter().map(|pair| {
                    Some(Pair {
                        input: transform.apply(&pair.input)?,
                        output: transform.apply(&pair.output)?,
                    })
                });
                let Some(whole) = whole.collect::<Option<Vec<_>>>() else {
                    continue;
                };
                let written = |colours: &Colours| -> Vec<Turn> {
                    whole.iter().map(|pair| recoloured(pair, colours)).collect()
                };
                match *transform == Transform::Identity && whole.len() == pairs.len() {
                    true => own.push(written(&Colours::same())),
                    false => others.push(written(&Colours::same())),
                }
                for _ in 0..RECOLOURED {
                    let mut turns = written(&Colours::shuffled(rng));
                    let asked = turns.len() - 1;
                    turns[..asked].shuffle(rng);
                    others.push(turns);
                }
            }
        }
        others.shuffle(rng);
        own.extend(others);
        own
    }

    #[test]
    fn the_sequences_are_those_of_all_written_out() {
        let grid = |n: usize| {
            // The third is too large to be doubled.
            let size = if n == 2 { 16 } else { 2 };
            Grid::build(size, size + 1, |y, x| ((n + y + 2 * x) % 10) as u8).unwrap()
        };
        let pair = |n| Pair {
            input: grid(n),
            output: grid(n),
        };
        let pairs: Vec<Pair<Grid>> = (0..4).map(pair).collect();
        let mut edit = SelfEdit::default();
        edit.data_generation.use_basic_augmentations = true;
        edit.data_generation.use_size_augmentations = true;
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let transforms = [
            vec![Transform::Identity],
            augment::basic(&mut rng),
            augment::size(),
        ]
        .concat();
        let window = 1000;
        let mut seen = HashSet::new();
        let mut expected = all(&pairs, &transforms, &mut rng);
        expected.retain(|turns| {
            let sides = turns.iter().map(|t| [t.user.len(), t.assistant.len()]);
            length_of(sides) <= window && seen.insert(turns.clone())
        });
        expected.truncate(60);

        let task = Task::Grid(FewShot {
            train: pairs,
            test: Vec::new(),
        });
        let texts = task.training(&edit, None, 60, window, 5);
        let found: HashSet<Vec<Turn>> = texts.into_iter().map(turns).collect();
        assert_eq!(found, expected.into_iter().collect::<HashSet<_>>());
        assert_eq!(found.len(), 60);
        // When there is no more time, one is enough.
        let mut late = task.training_until(&edit, None, 60, window, 5, &|| true);
        assert_eq!(late.len(), 1);
        assert!(found.contains(&turns(late.remove(0))));
    }

    fn turns(text: TrainingText) -> Vec<Turn> {
        match text {
            TrainingText::Conversation { turns, .. } => turns,
            other => panic!("{other:?}"),
        }
    }
}
