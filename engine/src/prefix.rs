//! What was computed of the beginnings of token sequences, in chunks: a trie, so that what begins alike is held once.
//!
//! It knows nothing of what a chunk holds: a payload, and the bytes that its owner says it takes. What is asked for is
//! always a path from the beginning on, since what a model computes of a token depends on all before it; so a chunk
//! that has successors stays as long as they do, and only ends of paths are evicted.
//!
//! Which end goes is GreedyDual-Size (Cao and Irani, "Cost-Aware WWW Proxy Caching Algorithms", 1997): when it is used,
//! a chunk is worth `clock + cost / bytes`; the one worth least goes, and the clock rises to its worth. So what is long
//! unused falls behind the clock, the sooner the cheaper it is to compute again. Of equals the one unused longest goes.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use crate::message::TokenId;

/// Tokens of a chunk. A prompt that branches off in the middle of one computes half of it again on average, which is
/// less than one step's worth on a GPU; and so many tokens fill the pieces that prompts are computed in, on every
/// device. Smaller ones would save tokens of which nobody feels the time, and cost a pair of buffers more for every
/// layer; larger ones would miss short system prompts.
pub const CHUNK: usize = 64;

/// Tokens after which looking back takes as long as everything else that a model does with a token: about
/// `parameters / (2 · layers · width)`, 4 000 of a model of 0.1 billion parameters, 19 000 of 3, 27 000 of 7.
const DEAR: u64 = 16_384;

/// `cost / bytes` in whole numbers: so many stand for one token to a byte.
const SCALE: u64 = 1 << 40;

/// Chunks of sequences of several kinds `K`, which never serve each other.
pub struct Prefixes<K, P> {
    /// Most bytes of all payloads.
    budget: u64,
    /// Of all payloads, never above the budget.
    bytes: u64,
    nodes: HashMap<Id, Node<P>>,
    /// The first chunks of each kind that was ever put in.
    roots: Vec<(K, Children)>,
    /// Those without successors, the next to go first.
    ends: BTreeSet<Rank>,
    /// What the last evicted was worth, or one before it that was worth more.
    clock: u64,
    /// Uses so far, of which each has a number of its own.
    uses: u64,
    next: Id,
    counters: Counters,
}

/// What happened since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Tokens that were asked for and held.
    pub hit_tokens: u64,
    /// Tokens that were asked for and not held, in whole chunks or less.
    pub missed_tokens: u64,
    /// Chunks that went to make room.
    pub evicted_chunks: u64,
}

type Id = u64;
type Children = HashMap<Rc<[TokenId]>, Id>;

/// One chunk.
struct Node<P> {
    above: Above,
    tokens: Rc<[TokenId]>,
    children: Children,
    /// Chunks before it.
    depth: u64,
    payload: P,
    bytes: u64,
    rank: Rank,
}

/// What a chunk follows.
#[derive(Clone, Copy)]
enum Above {
    /// Nothing; by the place of its kind.
    Root(usize),
    Chunk(Id),
}

/// The order in which ends go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    worth: u64,
    /// The last use.
    used: u64,
    id: Id,
}

impl<K: PartialEq + Clone, P> Prefixes<K, P> {
    /// None yet, and never more than `budget` bytes.
    pub fn new(budget: u64) -> Self {
        Self {
            budget,
            bytes: 0,
            nodes: HashMap::new(),
            roots: Vec::new(),
            ends: BTreeSet::new(),
            clock: 0,
            uses: 0,
            next: 0,
            counters: Counters::default(),
        }
    }

    /// The payloads of the longest beginning of `tokens` that is held, a chunk each; counted as a hit of so many
    /// tokens and a miss of the others. They are used now.
    pub fn longest(&mut self, kind: &K, tokens: &[TokenId]) -> Vec<&P> {
        let path = self.walk(kind, tokens);
        let hit = path.len() * CHUNK;
        self.counters.hit_tokens += hit as u64;
        self.counters.missed_tokens += (tokens.len() - hit) as u64;
        self.used(path)
    }

    /// The same for who computes these tokens itself: neither a hit nor a miss.
    pub fn held(&mut self, kind: &K, tokens: &[TokenId]) -> Vec<&P> {
        let path = self.walk(kind, tokens);
        self.used(path)
    }

    /// Puts in the last chunk of `path`, which is whole chunks, in place of one that is there. Answers whether it is
    /// held then: not where a chunk before it is missing, or all of them together exceed the budget.
    pub fn insert(&mut self, kind: &K, path: &[TokenId], payload: P, bytes: u64) -> bool {
        let Some(start) = path.len().checked_sub(CHUNK).filter(|start| start.is_multiple_of(CHUNK)) else {
            return false;
        };
        let found = self.walk(kind, path);
        let (before, old) = found.split_at(found.len().min(start / CHUNK));
        let of_path: u64 = before.iter().map(|id| self.nodes[id].bytes).sum();
        if before.len() * CHUNK < start || of_path + bytes > self.budget {
            return false;
        }
        let above = before.last().copied();
        match old.first().copied() {
            Some(old) => self.replace(old, payload, bytes),
            None => self.attach(kind, above, &path[start..], payload, bytes),
        }
    }

    /// Drops the last chunk of `path` with all that follow it.
    pub fn remove(&mut self, kind: &K, path: &[TokenId]) {
        let found = self.walk(kind, path);
        let Some(id) = found.last().copied().filter(|_| found.len() * CHUNK == path.len()) else { return };
        let mut below = vec![id];
        let mut place = 0;
        while let Some(node) = below.get(place).and_then(|id| self.nodes.get(id)) {
            below.extend(node.children.values());
            place += 1;
        }
        below.into_iter().rev().for_each(|id| self.drop_end(id));
    }

    /// Drops all.
    pub fn clear(&mut self) {
        self.nodes.clear();
        self.roots.clear();
        self.ends.clear();
        self.bytes = 0;
    }

    /// Of all payloads.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What happened since the start.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The chunks that `tokens` begins with.
    fn walk(&self, kind: &K, tokens: &[TokenId]) -> Vec<Id> {
        let mut path = Vec::new();
        let mut children = self.roots.iter().find(|(known, _)| known == kind).map(|(_, children)| children);
        for chunk in tokens.chunks_exact(CHUNK) {
            let Some(id) = children.and_then(|children| children.get(chunk)) else { break };
            path.push(*id);
            children = self.nodes.get(id).map(|node| &node.children);
        }
        path
    }

    fn used(&mut self, path: Vec<Id>) -> Vec<&P> {
        for id in &path {
            self.touch(*id);
        }
        path.into_iter().filter_map(|id| self.nodes.get(&id)).map(|node| &node.payload).collect()
    }

    /// Uses a chunk now.
    fn touch(&mut self, id: Id) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        self.uses += 1;
        let old = std::mem::replace(&mut node.rank, rank(self.clock, self.uses, node.depth, node.bytes, id));
        let new = node.rank;
        if self.ends.remove(&old) {
            self.ends.insert(new);
        }
    }

    /// A chunk with another payload; those before both fit the budget.
    fn replace(&mut self, id: Id, payload: P, bytes: u64) -> bool {
        let Some(old) = self.nodes.get(&id).map(|node| node.bytes) else { return false };
        // What follows it has room of its own and may have to go, but not it.
        if !self.make_room(bytes.saturating_sub(old), Some(id)) {
            return false;
        }
        if let Some(node) = self.nodes.get_mut(&id) {
            (node.payload, node.bytes) = (payload, bytes);
            self.bytes = self.bytes - old + bytes;
        }
        self.touch(id);
        true
    }

    /// A chunk that is not there behind one that is, or at the beginning.
    fn attach(&mut self, kind: &K, above: Option<Id>, tokens: &[TokenId], payload: P, bytes: u64) -> bool {
        if !self.make_room(bytes, above) {
            return false;
        }
        let (id, tokens) = (self.next, Rc::<[TokenId]>::from(tokens));
        let above = above.map_or_else(|| Above::Root(self.root(kind)), Above::Chunk);
        let depth = match above {
            Above::Root(_) => 0,
            Above::Chunk(id) => self.nodes[&id].depth + 1,
        };
        if let Above::Chunk(above) = above {
            self.ends.remove(&self.nodes[&above].rank);
        }
        self.children(above).insert(Rc::clone(&tokens), id);
        self.next += 1;
        self.uses += 1;
        let rank = rank(self.clock, self.uses, depth, bytes, id);
        self.nodes.insert(id, Node { above, tokens, children: Children::new(), depth, payload, bytes, rank });
        self.ends.insert(rank);
        self.bytes += bytes;
        true
    }

    /// Evicts until `more` bytes have room; not `spared`, nor what it follows.
    fn make_room(&mut self, more: u64, spared: Option<Id>) -> bool {
        while self.bytes + more > self.budget {
            let Some(least) = self.ends.iter().find(|rank| Some(rank.id) != spared).copied() else { return false };
            self.clock = self.clock.max(least.worth);
            self.counters.evicted_chunks += 1;
            self.drop_end(least.id);
        }
        true
    }

    /// Drops a chunk that nothing follows.
    fn drop_end(&mut self, id: Id) {
        let Some(node) = self.nodes.remove(&id) else { return };
        self.ends.remove(&node.rank);
        self.bytes -= node.bytes;
        let children = self.children(node.above);
        children.remove(&node.tokens);
        if let (Above::Chunk(above), true) = (node.above, children.is_empty()) {
            self.ends.insert(self.nodes[&above].rank);
        }
    }

    /// The place of a kind.
    fn root(&mut self, kind: &K) -> usize {
        self.roots.iter().position(|(known, _)| known == kind).unwrap_or_else(|| {
            self.roots.push((kind.clone(), Children::new()));
            self.roots.len() - 1
        })
    }

    fn children(&mut self, above: Above) -> &mut Children {
        match above {
            Above::Root(place) => &mut self.roots[place].1,
            Above::Chunk(id) => &mut self.nodes.get_mut(&id).expect("what a chunk follows is held").children,
        }
    }
}

/// Of a chunk that is used now.
fn rank(clock: u64, used: u64, depth: u64, bytes: u64, id: Id) -> Rank {
    Rank { worth: clock.saturating_add(gain(depth, bytes)), used, id }
}

/// Tokens that need no computing for each byte: those of the chunk, and more for what they look back at.
fn gain(depth: u64, bytes: u64) -> u64 {
    let chunk = CHUNK as u64;
    (chunk * SCALE / DEAR).saturating_mul(DEAR + depth * chunk) / bytes.max(1)
}

#[cfg(test)]
#[path = "prefix_tests.rs"]
mod tests;
