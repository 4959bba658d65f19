use std::path::Path;

use protocol::ModelId;

use super::super::store::Store;
use super::*;
use crate::library::manifest::Hash;

const FIRST: u64 = 10;
const SECOND: u64 = 2 * SEGMENT + 5;

/// A board of two files, all open.
fn board(folder: &Path) -> (Store, Board) {
    let store = Store::open(folder, &ModelId("org/name".into())).unwrap();
    let fact = |path: &str, size| FileFact { path: path.into(), size, hash: Hash::Sha256(String::new()) };
    let open = |fact: FileFact| {
        let (part, found) = store.part(&fact).unwrap();
        (fact, part, found)
    };
    let mut board = Board::new([fact("a", FIRST), fact("b", SECOND)].map(open).into());
    board.open(2);
    (store, board)
}

fn span(claim: Option<Claim>) -> Option<(usize, u64, u64)> {
    claim.map(|claim| (claim.file, claim.from, claim.to))
}

#[test]
fn every_byte_is_claimed_once() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, mut board) = board(folder.path());
    let first = board.claim().unwrap();
    assert_eq!(span(Some(first.clone())), Some((0, 0, FIRST)));
    assert_eq!(span(board.claim()), Some((1, 0, SEGMENT)));
    let middle = board.claim().unwrap();
    assert_eq!(span(Some(middle.clone())), Some((1, SEGMENT, 2 * SEGMENT)));
    assert_eq!(span(board.claim()), Some((1, 2 * SEGMENT, SECOND)));
    assert_eq!(board.claim(), None);
    // One connection fails after some bytes; the next goes on behind them.
    board.note(1, 1, 100);
    board.release(&middle);
    assert_eq!(span(board.claim()), Some((1, SEGMENT + 100, 2 * SEGMENT)));
    board.note(0, 0, FIRST);
    board.release(&first);
    assert_eq!(board.claim(), None);
    assert_eq!((board.bytes_there(), board.missing()), (FIRST + 100, SECOND - 100));
}

#[test]
fn a_file_in_one_piece_has_one_connection() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, mut board) = board(folder.path());
    board.note(0, 0, FIRST);
    let (first, second) = (board.claim().unwrap(), board.claim().unwrap());
    board.comes_in_one_piece(1);
    board.release(&first);
    assert_eq!(board.claim(), None, "another is still at it");
    board.release(&second);
    assert_eq!(span(board.claim()), Some((1, 0, SECOND)));
    assert_eq!(board.claim(), None);
}

#[test]
fn what_is_not_open_is_neither_fetched_nor_hashed_nor_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, mut board) = board(folder.path());
    board.open(1);
    board.note(1, 0, 7);
    let claim = board.claim().unwrap();
    assert_eq!(board.claim(), None);
    board.note(0, 0, FIRST);
    board.release(&claim);
    let unhashed = board.unhashed().unwrap();
    assert_eq!((unhashed.file, unhashed.from, unhashed.to), (0, 0, FIRST));
    board.verified(0);
    assert!(board.is_done() && board.unhashed().is_none());
    board.open(2);
    assert!(!board.is_done());
    assert_eq!(board.unhashed().unwrap().to, 7);
}

#[test]
fn a_hash_follows_bytes_without_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, mut board) = board(folder.path());
    board.verified(0);
    board.note(1, 1, SEGMENT);
    assert!(board.unhashed().is_none());
    board.note(1, 0, 50);
    assert_eq!(board.unhashed().unwrap().to, 50);
    board.hashed(1, 50);
    assert!(board.unhashed().is_none());
    board.note(1, 0, SEGMENT);
    let unhashed = board.unhashed().unwrap();
    assert_eq!((unhashed.from, unhashed.to), (50, 2 * SEGMENT));
}

#[test]
fn a_damaged_file_is_fetched_again_and_what_is_told_never_falls() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut board) = board(folder.path());
    let part = || store.part(&FileFact { path: "a".into(), size: FIRST, hash: Hash::Sha256(String::new()) }).unwrap().0;
    for _ in 1..MAX_DAMAGES {
        let claim = board.claim().unwrap();
        board.note(0, 0, FIRST);
        board.release(&claim);
        assert_eq!(board.told().done_bytes, FIRST);
        board.damaged(0, part()).unwrap();
        assert_eq!((board.bytes_there(), board.told().done_bytes), (0, FIRST));
    }
    assert_eq!(board.told().refetched_bytes, FIRST * u64::from(MAX_DAMAGES - 1));
    let error = board.damaged(0, part()).unwrap_err();
    assert!(matches!(error, PullError::Damaged { path, .. } if path == "a"));
}
