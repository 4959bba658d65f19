//! Every architecture with a kept beginning of its prompt: the tokens and nearly the logits of one without.

use std::path::Path;

use engine::backend::Backend;
use engine::message::{Load, TokenId};
use talkied_mlx::Mlx;

use crate::reference::{self, Row};
use crate::{difference, submission};

/// Largest difference of a logit, as a share of the range of all logits. Pieces of a prompt end where they would without
/// the kept part on a processor; on a GPU a piece of other length may be rounded otherwise.
const TOLERANCE: f32 = 1e-3;

/// Bytes kept of each row at most.
const MUCH: u64 = 256 << 20;

const TOKENS: usize = 6;

#[test]
fn a_kept_beginning_changes_no_row() {
    let rows = reference::rows();
    let folder = reference::made(&rows);
    let mut largest = 0.0_f32;
    for (place, row) in rows.iter().enumerate() {
        let difference = compare(row, &folder.join(place.to_string()));
        assert!(difference <= TOLERANCE, "{}, {}: {difference:.1e}", row.architecture, row.name);
        largest = largest.max(difference);
    }
    eprintln!("{} rows, largest difference {largest:.1e}", rows.len());
}

/// The largest difference over a conversation that goes on and one that branches off in the middle.
fn compare(row: &Row, folder: &Path) -> f32 {
    let [mut cold, mut warm] = [0, MUCH].map(|prefix_bytes| {
        let mut mlx = Mlx::new();
        mlx.load(&Load { prefix_bytes, ..Load::new(folder.to_owned()) }, &mut |_, _| {}).unwrap();
        mlx
    });
    let first: Vec<TokenId> = (0..230).map(|place| (place * 37 + place * place / 5) % 160).collect();
    let answer = cold.tokens(&submission(&first, TOKENS, row.kv_bits())).unwrap();
    let longer = [first.as_slice(), &answer, &first[..40]].concat();
    let branched = [&first[..150], &first[10..90]].concat();
    let mut largest = 0.0_f32;
    for (prompt, kept) in [(&first, 0), (&longer, 192), (&branched, 128), (&longer, 256), (&branched, 192)] {
        let submission = submission(prompt, TOKENS, row.kv_bits());
        let words = format!("{}, {}, {} tokens", row.architecture, row.name, prompt.len());
        let begun = warm.begin(&submission).unwrap();
        assert_eq!(warm.computed(&begun), kept, "{words}");
        assert_eq!(warm.tokens(&submission).unwrap(), cold.tokens(&submission).unwrap(), "{words}");
        let logits = [&warm, &cold].map(|mlx| mlx.logits_after(&submission).unwrap());
        largest = largest.max(difference(&logits[0], &logits[1]));
    }
    warm.trim();
    assert_eq!(warm.memory().prefix_bytes, 0);
    largest
}
