//! What a step computes for several sequences, as each of them holds its part: all in one array, until somebody needs a
//! part alone.

use std::rc::Rc;

use mlx_rs::Array;
use mlx_rs::error::Result;
use mlx_rs::ops;

use crate::array::part;

/// One row of an array, whose other rows other sequences may have. Dropping it leaves them theirs.
#[derive(Clone)]
pub struct Share {
    /// Rows along the first axis; a single one may lack that.
    all: Rc<Array>,
    row: i32,
}

impl Share {
    /// An array with one row.
    pub fn whole(array: Array) -> Self {
        Self { all: Rc::new(array), row: 0 }
    }

    /// The rows of an array, one by one.
    pub fn each(array: Array) -> impl Iterator<Item = Self> {
        let all = Rc::new(array);
        (0..all.shape().first().copied().unwrap_or(1)).map(move |row| Self { all: Rc::clone(&all), row })
    }

    /// This row, with the first axis.
    pub fn alone(&self) -> Result<Array> {
        together([self])
    }
}

/// The rows of `shares` as one array. Nothing is computed where they are all rows of one array in their order; else
/// those that follow each other in one array stay together.
pub fn together<'a>(shares: impl IntoIterator<Item = &'a Share>) -> Result<Array> {
    // An array, its first row, and the row behind the last.
    let mut runs: Vec<(&Rc<Array>, i32, i32)> = Vec::new();
    for Share { all, row } in shares {
        match runs.last_mut() {
            Some((run, _, end)) if Rc::ptr_eq(run, all) && end == row => *end += 1,
            _ => runs.push((all, *row, row + 1)),
        }
    }
    let rows = |(all, start, end): &(&Rc<Array>, i32, i32)| match *all.shape() {
        [] => all.reshape(&[1]),
        [count, ..] if (0, count) == (*start, *end) => Ok(all.as_ref().clone()),
        _ => part(all, *start, *end),
    };
    match runs.as_slice() {
        [(all, ..)] if all.ndim() == 0 => Ok(all.as_ref().clone()),
        [run] => rows(run),
        runs => ops::concatenate(&runs.iter().map(rows).collect::<Result<Vec<_>>>()?, 0),
    }
}

#[cfg(test)]
#[path = "share_tests.rs"]
mod tests;
