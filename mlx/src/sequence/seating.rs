//! In which order the sequences of a step are its rows, and which of them share buffers.

use std::cell::RefCell;
use std::rc::Rc;

use mlx_rs::Array;
use mlx_rs::error::Result as MlxResult;

use super::Sequence;
use super::share::{Share, together};
use crate::array::tokens;
use crate::cache::{self, Batch, Cache, Table};
use crate::device::Sharing;
use crate::models::Model;

/// Of one step.
pub struct Seating {
    /// Those that share are its rows first, idle ones too.
    table: Option<Rc<RefCell<Table>>>,
    /// The row of each sequence.
    places: Vec<usize>,
    /// All rows, those that nobody asks for included.
    rows: usize,
    /// Those of them behind the last sequence.
    spare: usize,
}

impl Seating {
    /// Has the sequences share buffers where that pays.
    pub fn of(sequences: &mut [&mut Sequence], sharing: Option<Sharing>) -> MlxResult<Self> {
        let mut caches: Vec<&mut [Cache]> =
            sequences.iter_mut().map(|sequence| sequence.caches.as_mut_slice()).collect();
        let table = match sharing {
            Some(sharing) => cache::gather(&mut caches, sharing.has_kernel)?,
            None => caches.iter_mut().try_for_each(|caches| cache::leave(caches)).map(|()| None)?,
        };
        let mut used = table.as_ref().map_or(0, |table| table.borrow().slots());
        let mut next = || {
            used += 1;
            used - 1
        };
        let places = sequences.iter().map(|sequence| sequence.slot().unwrap_or_else(&mut next)).collect();
        let least = sharing.filter(|_| table.is_some()).map_or(0, |sharing| sharing.least_rows);
        let rows = used.max(least);
        Ok(Self { table, places, rows, spare: rows - used })
    }

    /// All rows of the step.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Those of the sequences among the rows of `array`, in their order.
    pub fn shares(&self, array: Array) -> Vec<Share> {
        let all: Vec<Share> = Share::each(array).collect();
        self.places.iter().filter_map(|place| all.get(*place).cloned()).collect()
    }

    /// The input of each row; of one that nobody asks for, any token.
    fn inputs(&self, sequences: &[&mut Sequence]) -> MlxResult<Array> {
        if self.table.is_none() {
            return together(sequences.iter().map(|sequence| &sequence.input));
        }
        let mut inputs: Vec<Share> = Share::each(tokens(&vec![0; self.rows])).collect();
        for (place, sequence) in self.places.iter().zip(sequences) {
            inputs[*place] = sequence.input.clone();
        }
        together(&inputs)
    }

    /// The model's last vectors of all rows, after each sequence's input.
    pub fn hidden(&self, sequences: &mut [&mut Sequence], model: &dyn Model) -> MlxResult<Array> {
        let ids = self.inputs(sequences)?.reshape(&[self.rows as i32, 1])?;
        let Some(table) = &self.table else {
            let caches = sequences.iter_mut().map(|sequence| sequence.caches.as_mut_slice());
            return model.hidden_of(&ids, &mut Batch::of(caches.collect()));
        };
        let (seated, own): (Vec<_>, Vec<_>) = sequences.iter_mut().partition(|sequence| sequence.slot().is_some());
        let own = own.into_iter().map(|sequence| sequence.caches.as_mut_slice()).collect();
        table.borrow_mut().begin()?;
        let hidden = model.hidden_of(&ids, &mut Batch::sharing(table.borrow_mut(), own, self.spare))?;
        table.borrow_mut().end(&seated.iter().filter_map(|sequence| sequence.slot()).collect::<Vec<_>>());
        Ok(hidden)
    }
}
