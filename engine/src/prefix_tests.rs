//! The trie against a plain list of all paths, and single rules by example.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Chunks of one token each.
fn tokens(chunks: &[u32]) -> Vec<TokenId> {
    chunks.iter().flat_map(|token| [*token; CHUNK]).collect()
}

fn of(budget: u64) -> Prefixes<u8, u32> {
    Prefixes::new(budget)
}

/// Puts in all chunks of a path that are not there, of ten bytes each; the payload is the chunk's token.
fn put(prefixes: &mut Prefixes<u8, u32>, chunks: &[u32]) {
    let path = tokens(chunks);
    for (place, token) in chunks.iter().enumerate() {
        let path = &path[..(place + 1) * CHUNK];
        if prefixes.held(&0, path).len() <= place {
            assert!(prefixes.insert(&0, path, *token, 10));
        }
    }
}

fn longest(prefixes: &mut Prefixes<u8, u32>, chunks: &[u32]) -> Vec<u32> {
    prefixes.longest(&0, &tokens(chunks)).into_iter().copied().collect()
}

#[test]
fn what_begins_alike_is_held_once() {
    let mut prefixes = of(1000);
    put(&mut prefixes, &[1, 2, 3]);
    put(&mut prefixes, &[1, 2, 4, 5]);
    assert_eq!(prefixes.bytes(), 50);
    assert_eq!(longest(&mut prefixes, &[1, 2, 4, 6]), [1, 2, 4]);
    assert_eq!(longest(&mut prefixes, &[2, 1]), [0_u32; 0]);
    let counters = Counters { hit_tokens: 3 * 64, missed_tokens: 3 * 64, evicted_chunks: 0 };
    assert_eq!(prefixes.counters(), counters);
}

#[test]
fn a_chunk_that_differs_in_one_token_is_another() {
    let mut prefixes = of(1000);
    put(&mut prefixes, &[1, 2]);
    let mut other = tokens(&[1, 2]);
    other[2 * CHUNK - 1] = 9;
    assert_eq!(prefixes.longest(&0, &other), [&1]);
    // Less than a chunk is none.
    assert_eq!(prefixes.longest(&0, &tokens(&[1])[..CHUNK - 1]), [&0_u32; 0]);
}

#[test]
fn kinds_do_not_serve_each_other() {
    let mut prefixes = of(1000);
    put(&mut prefixes, &[1, 2]);
    assert!(prefixes.longest(&1, &tokens(&[1, 2])).is_empty());
    assert!(!prefixes.insert(&1, &tokens(&[1, 2]), 7, 10), "its first chunk is of another kind");
}

#[test]
fn a_chunk_needs_those_before_it_and_whole_chunks() {
    let mut prefixes = of(1000);
    assert!(!prefixes.insert(&0, &tokens(&[1, 2]), 2, 10));
    assert!(!prefixes.insert(&0, &[], 2, 10));
    assert!(!prefixes.insert(&0, &tokens(&[1])[1..], 2, 10));
    assert_eq!(prefixes.bytes(), 0);
}

#[test]
fn the_end_unused_longest_goes_first_and_its_beginning_with_nobody() {
    let mut prefixes = of(40);
    put(&mut prefixes, &[1, 2]);
    put(&mut prefixes, &[3, 4]);
    assert_eq!(longest(&mut prefixes, &[1, 2]), [1, 2]);
    put(&mut prefixes, &[1, 5]);
    assert_eq!(longest(&mut prefixes, &[3, 4]), [3]);
    put(&mut prefixes, &[1, 6]);
    assert_eq!(longest(&mut prefixes, &[1, 2]), [1]);
    assert_eq!(longest(&mut prefixes, &[1, 5]), [1, 5]);
    // 3 is the end of its path now, and was used before 5 and 6.
    put(&mut prefixes, &[1, 6, 7]);
    assert_eq!(longest(&mut prefixes, &[3]), [0_u32; 0]);
    assert_eq!((prefixes.bytes(), prefixes.counters().evicted_chunks), (40, 3));
}

#[test]
fn what_is_dearer_to_compute_stays_longer_but_not_for_ever() {
    let mut prefixes = of(10_030);
    // The last of a long path looks back at 64 000 tokens, and so costs nearly five times as much as a first one.
    let long: Vec<u32> = (100..1100).collect();
    put(&mut prefixes, &long);
    // Three short ones have room beside it, and a clock that each three of them put forward by one's cost.
    let lost = (0..50).find(|first| {
        put(&mut prefixes, &[*first]);
        prefixes.walk(&0, &tokens(&long)).len() < 1000
    });
    assert!(lost.is_some_and(|lost| (12..18).contains(&lost)), "{lost:?}");
}

#[test]
fn bytes_count_against_a_chunk() {
    let mut prefixes = of(100);
    assert!(prefixes.insert(&0, &tokens(&[1]), 1, 80));
    assert!(prefixes.insert(&0, &tokens(&[2]), 2, 10));
    prefixes.longest(&0, &tokens(&[1]));
    assert!(prefixes.insert(&0, &tokens(&[3]), 3, 20));
    assert_eq!(prefixes.longest(&0, &tokens(&[2])), [&2], "older, and worth eight times as much for its bytes");
    assert!(prefixes.longest(&0, &tokens(&[1])).is_empty());
}

#[test]
fn a_path_that_exceeds_the_budget_pushes_nothing_out() {
    let mut prefixes = of(30);
    put(&mut prefixes, &[1]);
    put(&mut prefixes, &[2]);
    assert!(!prefixes.insert(&0, &tokens(&[2, 3]), 3, 21));
    assert!(!prefixes.insert(&0, &tokens(&[4]), 4, 31));
    assert_eq!((prefixes.bytes(), prefixes.counters().evicted_chunks), (20, 0));
    assert!(prefixes.insert(&0, &tokens(&[2, 3]), 3, 20));
    assert!(longest(&mut prefixes, &[1]).is_empty());
}

#[test]
fn a_payload_is_replaced_with_its_bytes() {
    let mut prefixes = of(30);
    put(&mut prefixes, &[1, 2]);
    assert!(prefixes.insert(&0, &tokens(&[1]), 7, 20));
    assert_eq!(longest(&mut prefixes, &[1, 2]), [7, 2]);
    assert!(prefixes.insert(&0, &tokens(&[1]), 8, 25));
    assert_eq!((longest(&mut prefixes, &[1, 2]), prefixes.bytes()), (vec![8], 25));
    assert!(!prefixes.insert(&0, &tokens(&[1]), 9, 31));
    assert_eq!(longest(&mut prefixes, &[1]), [8]);
}

#[test]
fn a_removal_takes_what_follows_and_nothing_else() {
    let mut prefixes = of(1000);
    put(&mut prefixes, &[1, 2, 3]);
    put(&mut prefixes, &[1, 2, 4]);
    put(&mut prefixes, &[1, 5]);
    prefixes.remove(&0, &tokens(&[1, 9]));
    assert_eq!(prefixes.bytes(), 50);
    prefixes.remove(&0, &tokens(&[1, 2]));
    assert_eq!((longest(&mut prefixes, &[1, 2, 3]), prefixes.bytes()), (vec![1], 20));
    prefixes.clear();
    assert_eq!((longest(&mut prefixes, &[1]).len(), prefixes.bytes()), (0, 0));
}

/// One path of the list.
#[derive(Debug, Clone)]
struct Entry {
    kind: u8,
    chunks: Vec<u32>,
    payload: u32,
    bytes: u64,
    worth: u64,
    used: u64,
}

/// The same by looking at everything each time.
#[derive(Debug, Default)]
struct List {
    budget: u64,
    entries: Vec<Entry>,
    clock: u64,
    uses: u64,
}

impl List {
    fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.bytes).sum()
    }

    fn place(&self, kind: u8, chunks: &[u32]) -> Option<usize> {
        self.entries.iter().position(|entry| entry.kind == kind && entry.chunks == chunks)
    }

    fn touch(&mut self, place: usize) {
        self.uses += 1;
        let entry = &mut self.entries[place];
        entry.worth = self.clock + gain(entry.chunks.len() as u64 - 1, entry.bytes);
        entry.used = self.uses;
    }

    fn longest(&mut self, kind: u8, chunks: &[u32]) -> Vec<u32> {
        let places: Vec<_> = (1..=chunks.len()).map_while(|len| self.place(kind, &chunks[..len])).collect();
        for place in &places {
            self.touch(*place);
        }
        places.iter().map(|place| self.entries[*place].payload).collect()
    }

    fn is_followed(&self, entry: &Entry) -> bool {
        let follows =
            |other: &Entry| other.chunks.len() > entry.chunks.len() && other.chunks.starts_with(&entry.chunks);
        self.entries.iter().any(|other| other.kind == entry.kind && follows(other))
    }

    fn insert(&mut self, kind: u8, chunks: &[u32], payload: u32, bytes: u64) -> bool {
        let before: Option<Vec<_>> = (1..chunks.len()).map(|len| self.place(kind, &chunks[..len])).collect();
        let Some(before) = before.filter(|_| !chunks.is_empty()) else { return false };
        if before.iter().map(|place| self.entries[*place].bytes).sum::<u64>() + bytes > self.budget {
            return false;
        }
        let mut new = Entry { kind, chunks: chunks.to_vec(), payload, bytes, worth: 0, used: 0 };
        if let Some(old) = self.place(kind, chunks) {
            new.bytes = new.bytes.max(self.entries[old].bytes);
            self.entries[old] = new;
        } else {
            self.entries.push(new);
        }
        while self.bytes() > self.budget {
            let goes = |entry: &&Entry| !self.is_followed(entry) && (entry.kind, &*entry.chunks) != (kind, chunks);
            let least = self.entries.iter().filter(goes).min_by_key(|entry| (entry.worth, entry.used)).unwrap();
            let least = least.clone();
            self.clock = self.clock.max(least.worth);
            self.entries.retain(|entry| (entry.kind, &entry.chunks) != (least.kind, &least.chunks));
        }
        let place = self.place(kind, chunks).unwrap();
        self.entries[place].bytes = bytes;
        self.touch(place);
        true
    }

    fn remove(&mut self, kind: u8, chunks: &[u32]) {
        if self.place(kind, chunks).is_some() {
            self.entries.retain(|entry| entry.kind != kind || !entry.chunks.starts_with(chunks));
        }
    }
}

/// What is done to both.
#[derive(Debug, Clone)]
enum Deed {
    Insert(u8, Vec<u32>, u64),
    Longest(u8, Vec<u32>),
    Remove(u8, Vec<u32>),
    Clear,
}

fn deed() -> impl Strategy<Value = Deed> {
    let path = || vec(0_u32..3, 0..5);
    prop_oneof![
        12 => (0_u8..2, path(), 0_u64..40).prop_map(|(kind, path, bytes)| Deed::Insert(kind, path, bytes)),
        6 => (0_u8..2, path()).prop_map(|(kind, path)| Deed::Longest(kind, path)),
        1 => (0_u8..2, path()).prop_map(|(kind, path)| Deed::Remove(kind, path)),
        1 => Just(Deed::Clear),
    ]
}

/// That every chunk can be reached, and what stands in several places agrees.
fn check_whole(prefixes: &Prefixes<u8, u32>) {
    assert!(prefixes.bytes <= prefixes.budget);
    let mut reached = 0;
    let mut bytes = 0;
    let mut ends = BTreeSet::new();
    let mut open: Vec<Id> = prefixes.roots.iter().flat_map(|(_, children)| children.values().copied()).collect();
    while let Some(id) = open.pop() {
        let node = &prefixes.nodes[&id];
        open.extend(node.children.values());
        reached += 1;
        bytes += node.bytes;
        if node.children.is_empty() {
            ends.insert(node.rank);
        }
    }
    assert_eq!((reached, bytes), (prefixes.nodes.len(), prefixes.bytes));
    assert_eq!(ends, prefixes.ends);
}

proptest! {
    #[test]
    fn it_is_a_list_of_all_paths(budget in 0_u64..150, deeds in vec(deed(), 1..60)) {
        let mut prefixes = of(budget);
        let mut list = List { budget, ..List::default() };
        for (number, deed) in (0_u32..).zip(deeds) {
            match deed {
                Deed::Insert(kind, path, bytes) => {
                    // Whole paths, else hardly any would have its beginning.
                    for len in 1..=path.len() {
                        let held = prefixes.insert(&kind, &tokens(&path[..len]), number, bytes);
                        prop_assert_eq!(held, list.insert(kind, &path[..len], number, bytes));
                    }
                }
                Deed::Longest(kind, path) => {
                    let found: Vec<u32> = prefixes.longest(&kind, &tokens(&path)).into_iter().copied().collect();
                    prop_assert_eq!(found, list.longest(kind, &path));
                }
                Deed::Remove(kind, path) => {
                    prefixes.remove(&kind, &tokens(&path));
                    list.remove(kind, &path);
                }
                Deed::Clear => {
                    prefixes.clear();
                    list.entries.clear();
                }
            }
            check_whole(&prefixes);
            prop_assert_eq!(prefixes.bytes(), list.bytes());
        }
    }
}
