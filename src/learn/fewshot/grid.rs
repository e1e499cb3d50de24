//! A grid of colours in ARC's JSON format: rows of whole numbers from 0 to 9.

use serde::{Deserialize, Serialize};

/// The largest number of rows, and of columns.
pub const MOST: usize = 30;
/// Colours are the numbers below this.
pub const COLOURS: u8 = 10;

/// A rectangle of 1 to [`MOST`] rows with 1 to [`MOST`] cells each; every cell is a colour from 0 to 9.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<Vec<i64>>")]
pub struct Grid(Vec<Vec<u8>>);

/// Why rows of numbers are not a grid. Rows and columns are counted from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GridError {
    #[error("a grid has 1 to {MOST} rows, not {0}")]
    Rows(usize),
    #[error("a row has 1 to {MOST} cells, not {0}")]
    Columns(usize),
    #[error("row {row} has {found} cells where row 0 has {expected}")]
    Ragged {
        row: usize,
        found: usize,
        expected: usize,
    },
    #[error("cell {column} of row {row} is {found}; a cell is a whole number from 0 to 9")]
    Colour {
        row: usize,
        column: usize,
        found: i64,
    },
}

impl Grid {
    pub fn new(rows: Vec<Vec<u8>>) -> Result<Self, GridError> {
        Grid::try_from(widened(rows))
    }

    pub fn rows(&self) -> &[Vec<u8>] {
        &self.0
    }

    pub fn height(&self) -> usize {
        self.0.len()
    }

    pub fn width(&self) -> usize {
        self.0[0].len()
    }

    /// A grid of this shape whose cells are `cell(row, column)`; `None` if a grid may not have the shape or a cell is
    /// no colour.
    pub fn build(height: usize, width: usize, cell: impl Fn(usize, usize) -> u8) -> Option<Self> {
        let row = |y| (0..width).map(|x| cell(y, x)).collect();
        Grid::new((0..height).map(row).collect()).ok()
    }

    /// The grid with every cell replaced by `colour` of it, which must be 0 to 9.
    pub fn recolour(&self, colour: impl Fn(u8) -> u8) -> Self {
        let row = |row: &Vec<u8>| row.iter().map(|c| colour(*c)).collect();
        Grid(self.0.iter().map(row).collect())
    }
}

impl TryFrom<Vec<Vec<i64>>> for Grid {
    type Error = GridError;

    fn try_from(rows: Vec<Vec<i64>>) -> Result<Self, GridError> {
        if rows.is_empty() || rows.len() > MOST {
            return Err(GridError::Rows(rows.len()));
        }
        let expected = rows[0].len();
        if expected == 0 || expected > MOST {
            return Err(GridError::Columns(expected));
        }
        let checked = rows.into_iter().enumerate().map(|(y, row)| {
            if row.len() != expected {
                return Err(GridError::Ragged {
                    row: y,
                    found: row.len(),
                    expected,
                });
            }
            let cells = row.into_iter().enumerate().map(|(x, cell)| {
                match u8::try_from(cell).ok().filter(|c| *c < COLOURS) {
                    Some(colour) => Ok(colour),
                    None => Err(GridError::Colour {
                        row: y,
                        column: x,
                        found: cell,
                    }),
                }
            });
            cells.collect()
        });
        Ok(Grid(checked.collect::<Result<_, _>>()?))
    }
}

fn widened(rows: Vec<Vec<u8>>) -> Vec<Vec<i64>> {
    let row = |row: Vec<u8>| row.into_iter().map(i64::from).collect();
    rows.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Grid, String> {
        serde_json::from_str(text).map_err(|e| e.to_string())
    }

    #[test]
    fn what_arc_writes_is_read_and_written_back() {
        let text = "[[0,1],[9,3],[4,4]]";
        let grid = read(text).unwrap();
        assert_eq!((grid.height(), grid.width()), (3, 2));
        assert_eq!(serde_json::to_string(&grid).unwrap(), text);
    }

    #[test]
    fn what_is_no_grid_is_refused_with_its_reason() {
        let long = format!("[[{}0]]", "0,".repeat(30));
        let tall = format!("[{}[0]]", "[0],".repeat(30));
        for (text, reason) in [
            ("[]", "1 to 30 rows, not 0"),
            ("[[]]", "1 to 30 cells, not 0"),
            (&long, "1 to 30 cells, not 31"),
            (&tall, "1 to 30 rows, not 31"),
            ("[[1,2],[3]]", "row 1 has 1 cells where row 0 has 2"),
            ("[[1,10]]", "cell 1 of row 0 is 10"),
            ("[[1],[-1]]", "cell 0 of row 1 is -1"),
            ("[[1.5]]", "floating point"),
            ("[[\"1\"]]", "string"),
            ("[1]", "integer"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
