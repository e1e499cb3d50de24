//! Grids as text: one digit per cell, one line per row. A tokenizer that splits digits (as in the Qwen and SmolLM2
//! families) then makes exactly one token of a cell, whatever its neighbours are.

use super::grid::Grid;

/// The grid as text, without a final line break.
pub fn write(grid: &Grid) -> String {
    let row = |row: &Vec<u8>| row.iter().map(|c| char::from(b'0' + c)).collect();
    let rows: Vec<String> = grid.rows().iter().map(row).collect();
    rows.join("\n")
}

/// Bytes of the grid's text.
pub fn length(grid: &Grid) -> usize {
    grid.height() * (grid.width() + 1) - 1
}

/// The grid in the text; `None` if the text is anything but a grid.
pub fn read(text: &str) -> Option<Grid> {
    let cell = |c: char| c.to_digit(10).map(|d| d as u8);
    let row = |line: &str| line.trim().chars().map(cell).collect::<Option<Vec<u8>>>();
    let rows = text.trim().lines().map(row).collect::<Option<Vec<_>>>()?;
    Grid::new(rows).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::fewshot::augment::tests::grids;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(grid in grids()) {
            let text = write(&grid);
            prop_assert_eq!(text.len(), length(&grid));
            prop_assert_eq!(read(&text), Some(grid));
        }

        #[test]
        fn nothing_that_a_model_says_panics(text in ".{0,80}") {
            read(&text);
        }
    }

    #[test]
    fn only_whole_grids_are_read() {
        assert!(read(" 012\n345 \n").is_some());
        for text in [
            "",
            "The answer is 1",
            "12\n3",
            "1 2\n3 4",
            "1,2",
            "12\n\n34",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }
}
