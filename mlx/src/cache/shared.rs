//! Keys and values of several sequences in the same buffers, a row for each, so that a step attends for all of them at
//! once: row by row, sixteen sequences would start sixteen times as many kernels in each layer.
//!
//! Each sequence writes behind its own last token; what lies behind that in its row is seen by nobody. A sequence
//! that is not among those of a step keeps its row, where the step leaves something behind its last token, which its next
//! own step overwrites.
//!
//! Rows are as long as the longest needs. So a sequence that is much longer than the others keeps buffers of its own, and
//! all rows have room for at most half as much again as their sequences would take alone: see [`at_most`].

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use mlx_rs::error::{Exception, Result};
use mlx_rs::{Array, ops, transforms};

use super::frozen::with_room;
use super::{Buffer, Cache, FullCache, plain_room};
use crate::array::{block, write};

/// The buffers of all layers.
pub struct Table {
    /// Keys and values, `[slots, heads, room, dims]`.
    layers: Vec<[Buffer; 2]>,
    /// Tokens of the sequence in each slot; `None` where nobody sits.
    lens: Vec<Option<i32>>,
    /// Tokens that a row has room for.
    room: i32,
    /// Where a step writes.
    step: Option<Places>,
    /// Whether the device has a kernel for one token of each row that sees only some keys.
    has_kernel: bool,
}

/// What is the same in all layers of a step.
pub struct Places {
    /// `[slots, 1, 1, 1]`: where the new token of each slot goes.
    pub at: Array,
    /// `[slots, 1, 1, room]`: which tokens it sees, itself included.
    pub seen: Array,
}

/// A sequence's row of a table, free again when this is dropped.
pub struct Seat {
    table: Rc<RefCell<Table>>,
    slot: usize,
}

impl Seat {
    /// Its row.
    pub fn slot(&self) -> usize {
        self.slot
    }

    /// Tokens of its sequence.
    pub fn len(&self) -> i32 {
        self.table.borrow().lens[self.slot].unwrap_or(0)
    }

    /// Takes back all but the first `len` tokens.
    pub fn cut(&self, len: i32) {
        let lens = &mut self.table.borrow_mut().lens;
        lens[self.slot] = lens[self.slot].map(|old| old.min(len));
    }

    /// The keys and values of these tokens, of one layer; views.
    pub fn rows(&self, layer: usize, tokens: Range<i32>) -> Result<[Array; 2]> {
        let table = self.table.borrow();
        let of = |buffer: &Buffer| {
            let slot = self.slot as i32;
            block(whole(buffer.as_ref())?, slot..slot + 1, tokens.clone())
        };
        let [keys, values] = &table.layers[layer];
        Ok([of(keys)?, of(values)?])
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.table.borrow_mut().lens[self.slot] = None;
    }
}

impl Table {
    fn new(has_kernel: bool) -> Self {
        Self { layers: Vec::new(), lens: Vec::new(), room: 0, step: None, has_kernel }
    }

    /// Whether the device has a kernel for one token of each row that sees only some keys.
    pub fn has_kernel(&self) -> bool {
        self.has_kernel
    }

    /// Rows of the buffers.
    pub fn slots(&self) -> usize {
        self.lens.len()
    }

    /// Tokens before the next one, of each slot; 0 where nobody sits.
    pub fn offsets(&self) -> Vec<i32> {
        self.lens.iter().map(|len| len.unwrap_or(0)).collect()
    }

    /// Prepares a step of one token for each slot.
    pub fn begin(&mut self) -> Result<()> {
        let (slots, offsets) = (self.slots() as i32, self.offsets());
        let at = Array::from_slice(&offsets, &[slots, 1, 1, 1]);
        let places = Array::from_iter(0..self.room, &[1, 1, 1, self.room]);
        self.step = Some(Places { seen: places.le(&at)?, at });
        Ok(())
    }

    /// Appends `keys` and `values` of one token for each slot, `[slots, heads, 1, dims]`; answers those of all tokens,
    /// `[slots, heads, room, dims]`.
    pub fn update(&mut self, layer: usize, keys: &Array, values: &Array) -> Result<[Array; 2]> {
        let at = ops::broadcast_to(&self.places()?.at, keys.shape())?;
        let mut put = |place: usize, new: &Array| {
            let slot = &mut self.layers[layer][place];
            let written = {
                // The handle must be gone when the graph runs: MLX writes in place only what nothing else holds.
                let buffer = slot.take();
                whole(buffer.as_ref())?.put_along_axis(&at, new, 2)?
            };
            Ok::<Array, Exception>(slot.insert(written).clone())
        };
        Ok([put(0, keys)?, put(1, values)?])
    }

    /// What is the same in all layers of the step.
    pub fn places(&self) -> Result<&Places> {
        self.step.as_ref().ok_or_else(|| Exception::custom("a table was asked for a step that it is not in"))
    }

    /// Counts the token that was appended for these slots.
    pub fn end(&mut self, slots: &[usize]) {
        for slot in slots {
            self.lens[*slot] = self.lens[*slot].map(|len| len + 1);
        }
        self.step = None;
    }

    /// Room that a row needs for a step to write behind the longest sequence: it writes in every row, also in those of
    /// sequences that take no part in it.
    fn least_room(&self) -> i32 {
        self.lens.iter().flatten().map(|len| plain_room(len + 1)).max().unwrap_or(0)
    }

    /// Slots where somebody sits.
    fn taken(&self) -> usize {
        self.lens.iter().flatten().count()
    }

    /// Gives it more rows and more room in them, where it has less.
    fn grow(&mut self, slots: usize, room: i32) -> Result<()> {
        let (slots, room) = (slots.max(self.slots()), room.max(self.room));
        let (more_slots, more_room) = ((slots - self.slots()) as i32, room - self.room);
        for buffer in self.layers.iter_mut().flatten().filter(|_| more_slots > 0 || more_room > 0) {
            let Some(old) = buffer.take() else { continue };
            *buffer = Some(ops::pad(&old, &[(0, more_slots), (0, 0), (0, more_room), (0, 0)], None, None)?);
        }
        self.lens.resize(slots, None);
        self.room = room;
        Ok(())
    }

    /// Copies one layer of a sequence into a slot, all of its row.
    fn fill(&mut self, layer: usize, slot: usize, [keys, values]: [Array; 2]) -> Result<()> {
        if self.layers.len() <= layer {
            self.layers.resize_with(layer + 1, Default::default);
        }
        for (place, own) in [keys, values].into_iter().enumerate() {
            let row = with_room(&[&own], self.room)?;
            let buffer = if let Some(buffer) = self.layers[layer][place].take() {
                buffer
            } else {
                let mut shape = row.shape().to_vec();
                shape[0] = self.slots() as i32;
                ops::zeros_dtype(&shape, row.dtype())?
            };
            self.layers[layer][place] = Some(write(buffer, &row, [slot as i32, 0, 0, 0])?);
        }
        Ok(())
    }
}

fn whole(buffer: Option<&Array>) -> Result<&Array> {
    buffer.ok_or_else(|| Exception::custom("a table has no such layer"))
}

/// Has those of `rows`, each with all caches of a sequence that takes a step, share a table where that pays; the others have
/// buffers of their own then. `None` where all have. `has_kernel` is what a new table is told of the device.
pub fn gather(rows: &mut [&mut [Cache]], has_kernel: bool) -> Result<Option<Rc<RefCell<Table>>>> {
    let sits = sitters(&rows.iter().map(|caches| eligible(caches)).collect::<Vec<_>>());
    for (caches, _) in rows.iter_mut().zip(&sits).filter(|(_, sits)| !**sits) {
        leave(caches)?;
    }
    let mut rows: Vec<&mut [Cache]> =
        rows.iter_mut().zip(&sits).filter(|(_, sits)| **sits).map(|(caches, _)| &mut **caches).collect();
    if rows.is_empty() {
        return Ok(None);
    }
    let room = rows.iter().map(|caches| plain_room(caches[0].len() + 1)).max().unwrap_or(0);
    let tokens = rows.iter().map(|caches| plain_room(caches[0].len() + 1)).sum::<i32>();
    // That which has most of them, if it is not too large for them.
    let here = |table: &Rc<RefCell<Table>>, caches: &[Cache]| {
        seat_of(caches).is_some_and(|seat| Rc::ptr_eq(&seat.table, table))
    };
    let tables = rows.iter().filter_map(|caches| seat_of(caches)).map(|seat| Rc::clone(&seat.table));
    let found = tables.map(|table| (rows.iter().filter(|caches| here(&table, caches)).count(), table));
    let found = found.max_by_key(|(seated, _)| *seated).filter(|(seated, table)| {
        let table = table.borrow();
        let slots = slots_for(table.taken() + rows.len() - seated).max(table.slots());
        is_worth(slots, room.max(table.room).max(table.least_room()), tokens)
    });
    let table = found.map_or_else(|| Rc::new(RefCell::new(Table::new(has_kernel))), |(_, table)| table);
    let coming = rows.iter().filter(|caches| !here(&table, caches)).count();
    let slots = slots_for(table.borrow().taken() + coming);
    let room = room.max(table.borrow().least_room());
    table.borrow_mut().grow(slots, room)?;
    for caches in rows.iter_mut().filter(|caches| !here(&table, caches)) {
        leave(caches)?;
        sit(caches, &table)?;
    }
    if coming > 0 {
        // Until what was copied is computed, views of it would have the next step copy all of it again.
        transforms::async_eval(table.borrow().layers.iter().flatten().flatten())?;
    }
    Ok(Some(table))
}

/// The place of a sequence in a table; `None` where it has buffers of its own.
pub fn seat_of(caches: &[Cache]) -> Option<&Seat> {
    match caches.first() {
        Some(Cache::Full(cache)) => cache.seat(),
        _ => None,
    }
}

/// Gives a sequence buffers of its own again.
pub fn leave(caches: &mut [Cache]) -> Result<()> {
    if seat_of(caches).is_none() {
        return Ok(());
    }
    let full = |cache: &mut Cache| if let Cache::Full(cache) = cache { cache.leave() } else { Ok(()) };
    caches.iter_mut().try_for_each(full)?;
    transforms::async_eval(caches.iter().flat_map(Cache::state))
}

/// Takes a free slot, which there must be.
fn sit(caches: &mut [Cache], table: &Rc<RefCell<Table>>) -> Result<()> {
    let free = table.borrow().lens.iter().position(Option::is_none);
    let slot = free.ok_or_else(|| Exception::custom("a table has no free row"))?;
    let len = caches.first().map_or(0, Cache::len);
    for (layer, cache) in caches.iter().enumerate() {
        if let Cache::Full(cache) = cache {
            table.borrow_mut().fill(layer, slot, cache.rows(0..len)?)?;
        }
    }
    table.borrow_mut().lens[slot] = Some(len);
    let seat = Rc::new(Seat { table: Rc::clone(table), slot });
    for (layer, cache) in caches.iter_mut().enumerate() {
        *cache = Cache::Full(FullCache::seated(Rc::clone(&seat), layer));
    }
    Ok(())
}

/// Tokens of a sequence that may sit: one whose layers all keep every token, as plain numbers.
fn eligible(caches: &[Cache]) -> Option<i32> {
    let is_plain = |cache: &Cache| matches!(cache, Cache::Full(cache) if cache.len() > 0 || cache.seat().is_some());
    caches.first().filter(|_| caches.iter().all(is_plain)).map(Cache::len)
}

/// Which of sequences with so many tokens share a table, `None` being one that cannot: the shortest, and as many as it is
/// worth for.
fn sitters(lens: &[Option<i32>]) -> Vec<bool> {
    let mut order: Vec<(i32, usize)> =
        lens.iter().enumerate().filter_map(|(row, len)| Some((plain_room(len.as_ref()? + 1), row))).collect();
    order.sort_unstable();
    let worth = |count: &usize| {
        let tokens = order[..*count].iter().map(|(room, _)| room).sum();
        is_worth(slots_for(*count), order[count - 1].0, tokens)
    };
    let count = (2..=order.len()).rev().find(worth).unwrap_or(0);
    let mut sits = vec![false; lens.len()];
    for (_, row) in &order[..count] {
        sits[*row] = true;
    }
    sits
}

/// Whether a table of so many rows is not too large for sequences that would take room for so many tokens.
fn is_worth(slots: usize, room: i32, tokens: i32) -> bool {
    slots as u64 * u64::from(room.unsigned_abs()) <= at_most(u64::from(tokens.unsigned_abs()))
}

/// Of a table, in whatever is counted, for sequences that would take so much with buffers of their own.
pub fn at_most(alone: u64) -> u64 {
    alone + alone / 2
}

/// Rows for so many sequences, at most a quarter more: where one more is needed, all are copied.
fn slots_for(count: usize) -> usize {
    count.next_multiple_of(1 << (count / 4).max(1).ilog2())
}

#[cfg(test)]
#[path = "shared_tests.rs"]
mod tests;
