//! Transformed views of a task (SEAL's few-shot tools, after Akyürek et al., arXiv 2411.07279). A transform is
//! applied to every grid of the task; its inverse maps the answer back.
//!
//! Unlike in the original tools, a translation wraps around, so that no cell is lost and the translation has an
//! inverse.

use super::grid::{COLOURS, Grid};
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// A change of a grid's cells or shape. Colours stay.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Transform {
    Identity,
    /// A clockwise rotation by this many quarter turns.
    Rotate(u8),
    /// The first row becomes the last.
    FlipRows,
    /// The first column becomes the last.
    FlipColumns,
    Transpose,
    /// The grid with its mirror image below it.
    ReflectRows,
    /// The grid with its mirror image to its right.
    ReflectColumns,
    /// A shift down and to the right; cells that leave one edge enter at the opposite edge.
    Translate {
        rows: usize,
        columns: usize,
    },
    /// Every cell becomes twice as high …
    DoubleHeight,
    /// … or wide …
    DoubleWidth,
    /// … or both.
    DoubleBoth,
    /// The grid twice, one below the other …
    RepeatRows,
    /// … or side by side …
    RepeatColumns,
    /// … or four times.
    RepeatBoth,
    /// These transforms, one after another.
    Chain(Vec<Transform>),
}

use Transform as T;

impl Transform {
    /// The transformed grid; `None` if it would be larger than a grid may be.
    pub fn apply(&self, g: &Grid) -> Option<Grid> {
        let (h, w, c) = (g.height(), g.width(), g.rows());
        match self {
            T::Identity => Some(g.clone()),
            T::Rotate(turns) => match turns % 4 {
                1 => Grid::build(w, h, |y, x| c[h - 1 - x][y]),
                2 => Grid::build(h, w, |y, x| c[h - 1 - y][w - 1 - x]),
                3 => Grid::build(w, h, |y, x| c[x][w - 1 - y]),
                _ => Some(g.clone()),
            },
            T::FlipRows => Grid::build(h, w, |y, x| c[h - 1 - y][x]),
            T::FlipColumns => Grid::build(h, w, |y, x| c[y][w - 1 - x]),
            T::Transpose => Grid::build(w, h, |y, x| c[x][y]),
            T::ReflectRows => Grid::build(2 * h, w, |y, x| c[y.min(2 * h - 1 - y)][x]),
            T::ReflectColumns => Grid::build(h, 2 * w, |y, x| c[y][x.min(2 * w - 1 - x)]),
            T::Translate { rows, columns } => {
                let (down, right) = (h - rows % h, w - columns % w);
                Grid::build(h, w, |y, x| c[(y + down) % h][(x + right) % w])
            }
            T::DoubleHeight => Grid::build(2 * h, w, |y, x| c[y / 2][x]),
            T::DoubleWidth => Grid::build(h, 2 * w, |y, x| c[y][x / 2]),
            T::DoubleBoth => Grid::build(2 * h, 2 * w, |y, x| c[y / 2][x / 2]),
            T::RepeatRows => Grid::build(2 * h, w, |y, x| c[y % h][x]),
            T::RepeatColumns => Grid::build(h, 2 * w, |y, x| c[y][x % w]),
            T::RepeatBoth => Grid::build(2 * h, 2 * w, |y, x| c[y % h][x % w]),
            T::Chain(links) => links.iter().try_fold(g.clone(), |g, link| link.apply(&g)),
        }
    }

    /// The grid that `apply` maps to this one; `None` if there is no such grid.
    pub fn invert(&self, g: &Grid) -> Option<Grid> {
        let (h, w, c) = (g.height(), g.width(), g.rows());
        let before = match self {
            T::Identity => return Some(g.clone()),
            T::Rotate(turns) => return T::Rotate(4 - turns % 4).apply(g),
            T::FlipRows | T::FlipColumns | T::Transpose => return self.apply(g),
            T::Translate { rows, columns } => {
                let (rows, columns) = (h - rows % h, w - columns % w);
                return T::Translate { rows, columns }.apply(g);
            }
            T::Chain(links) => {
                let mut back = links.iter().rev();
                return back.try_fold(g.clone(), |g, link| link.invert(&g));
            }
            T::ReflectRows | T::RepeatRows => Grid::build(h / 2, w, |y, x| c[y][x]),
            T::ReflectColumns | T::RepeatColumns => Grid::build(h, w / 2, |y, x| c[y][x]),
            T::RepeatBoth => Grid::build(h / 2, w / 2, |y, x| c[y][x]),
            T::DoubleHeight => Grid::build(h / 2, w, |y, x| c[2 * y][x]),
            T::DoubleWidth => Grid::build(h, w / 2, |y, x| c[y][2 * x]),
            T::DoubleBoth => Grid::build(h / 2, w / 2, |y, x| c[2 * y][2 * x]),
        };
        // An enlarging transform has an inverse only for grids that it can produce.
        before.filter(|before| self.apply(before).as_ref() == Some(g))
    }
}

/// Rotations, flips, reflections, a translation, the transpose.
pub fn basic(rng: &mut ChaCha8Rng) -> Vec<Transform> {
    let translate = T::Translate {
        rows: rng.random_range(1..5),
        columns: rng.random_range(1..5),
    };
    let mut all = vec![T::Rotate(1), T::Rotate(2), T::Rotate(3), T::FlipRows];
    all.extend([T::FlipColumns, T::Transpose, translate]);
    all.extend([T::ReflectRows, T::ReflectColumns]);
    all
}

/// Height, width and both doubled.
pub fn size() -> Vec<Transform> {
    vec![T::DoubleHeight, T::DoubleWidth, T::DoubleBoth]
}

/// A rotation, flip or transpose, followed by doubling height and width.
pub fn chain() -> Vec<Transform> {
    let first = [T::Rotate(1), T::Rotate(2), T::Rotate(3)];
    let first = first
        .into_iter()
        .chain([T::FlipRows, T::FlipColumns, T::Transpose]);
    first.map(|f| T::Chain(vec![f, T::DoubleBoth])).collect()
}

/// The grid repeated below, to the right, and both.
pub fn repeat() -> Vec<Transform> {
    vec![T::RepeatRows, T::RepeatColumns, T::RepeatBoth]
}

/// The transforms that a question is asked in. All are invertible for every grid.
pub fn views() -> Vec<Transform> {
    let mut all = vec![T::Identity, T::Transpose, T::FlipRows, T::FlipColumns];
    all.extend([T::Rotate(1), T::Rotate(2), T::Rotate(3)]);
    all
}

/// A permutation of the colours. 0, the background, stays.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Colours([u8; COLOURS as usize]);

impl Colours {
    pub fn same() -> Self {
        Colours(std::array::from_fn(|c| c as u8))
    }

    pub fn shuffled(rng: &mut ChaCha8Rng) -> Self {
        let mut colours = Colours::same();
        colours.0[1..].shuffle(rng);
        colours
    }

    pub fn apply(&self, grid: &Grid) -> Grid {
        grid.recolour(|c| self.0[usize::from(c)])
    }

    pub fn invert(&self, grid: &Grid) -> Grid {
        let back = |c: u8| self.0.iter().position(|to| *to == c);
        grid.recolour(|c| back(c).expect("a permutation reaches every colour") as u8)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;

    /// Any grid of at most twelve by twelve cells.
    pub fn grids() -> impl Strategy<Value = Grid> {
        (1usize..13, 1usize..13).prop_flat_map(|(height, width)| {
            let row = proptest::collection::vec(0u8..10, width);
            let rows = proptest::collection::vec(row, height);
            rows.prop_map(|rows| Grid::new(rows).unwrap())
        })
    }

    fn all(rng: &mut ChaCha8Rng) -> Vec<Transform> {
        let parts = [basic(rng), size(), chain(), repeat(), views()];
        let mut all: Vec<Transform> = parts.into_iter().flatten().collect();
        all.push(T::Chain(vec![
            T::Transpose,
            T::ReflectColumns,
            T::RepeatRows,
        ]));
        all
    }

    fn grid(rows: &[&str]) -> Grid {
        crate::learn::fewshot::serialise::read(&rows.join("\n")).unwrap()
    }

    proptest! {
        #[test]
        fn what_is_done_is_undone(grid in grids(), seed in 0u64..1000) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            for transform in all(&mut rng) {
                let Some(there) = transform.apply(&grid) else {
                    prop_assert!(grid.height() * 4 > 30 || grid.width() * 4 > 30);
                    continue;
                };
                let back = transform.invert(&there);
                prop_assert_eq!(back.as_ref(), Some(&grid), "{:?}", transform);
            }
            let colours = Colours::shuffled(&mut rng);
            prop_assert_eq!(colours.invert(&colours.apply(&grid)), grid);
        }

        #[test]
        fn no_inverse_panics_on_what_nothing_made(grid in grids(), seed in 0u64..1000) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            for transform in all(&mut rng) {
                if let Some(before) = transform.invert(&grid) {
                    let there = transform.apply(&before);
                    prop_assert_eq!(there.as_ref(), Some(&grid));
                }
            }
        }

        #[test]
        fn the_background_keeps_its_colour(grid in grids(), seed in 0u64..1000) {
            let colours = Colours::shuffled(&mut ChaCha8Rng::seed_from_u64(seed));
            let there = colours.apply(&grid);
            for (a, b) in grid.rows().iter().flatten().zip(there.rows().iter().flatten()) {
                prop_assert_eq!(*a == 0, *b == 0);
            }
        }
    }

    #[test]
    fn each_does_what_its_name_says() {
        let g = grid(&["123", "456"]);
        let result = |t: Transform| t.apply(&g).unwrap();
        assert_eq!(result(T::Rotate(1)), grid(&["41", "52", "63"]));
        assert_eq!(result(T::Rotate(2)), grid(&["654", "321"]));
        assert_eq!(result(T::Rotate(3)), grid(&["36", "25", "14"]));
        assert_eq!(result(T::FlipRows), grid(&["456", "123"]));
        assert_eq!(result(T::FlipColumns), grid(&["321", "654"]));
        assert_eq!(result(T::Transpose), grid(&["14", "25", "36"]));
        assert_eq!(result(T::ReflectRows), grid(&["123", "456", "456", "123"]));
        assert_eq!(result(T::ReflectColumns), grid(&["123321", "456654"]));
        let (rows, columns) = (1, 1);
        assert_eq!(
            result(T::Translate { rows, columns }),
            grid(&["645", "312"])
        );
        assert_eq!(result(T::DoubleHeight), grid(&["123", "123", "456", "456"]));
        assert_eq!(result(T::DoubleWidth), grid(&["112233", "445566"]));
        assert_eq!(result(T::RepeatRows), grid(&["123", "456", "123", "456"]));
        assert_eq!(result(T::RepeatColumns), grid(&["123123", "456456"]));
        let chain = T::Chain(vec![T::FlipRows, T::RepeatColumns]);
        assert_eq!(result(chain), grid(&["456456", "123123"]));
        assert_eq!(T::DoubleBoth.invert(&grid(&["12", "34"])), None);
        assert_eq!(T::RepeatRows.invert(&grid(&["1", "2", "1"])), None);
        let large = Grid::build(16, 16, |_, _| 1).unwrap();
        assert_eq!(T::DoubleBoth.apply(&large), None);
    }
}
