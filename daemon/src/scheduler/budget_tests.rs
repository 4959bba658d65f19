use std::time::Duration;

use protocol::ModelId;

use super::*;
use crate::backend::Backend;

fn key(name: &str) -> Key {
    Key { id: ModelId(name.into()), backend: Backend::Mlx }
}

/// One that is idle since so many seconds, or in use.
fn holder(name: &str, bytes: u64, idle_s: Option<u64>) -> Holder {
    let start = Instant::now();
    let idle_since = idle_s.map(|seconds| start + Duration::from_secs(100 - seconds));
    Holder { key: key(name), model_bytes: bytes, sequence_bytes: 0, prefix_bytes: 0, idle_since, is_pinned: false }
}

fn check(needed: u64, holders: &[Holder], room: &Room) {
    assert_eq!(&find(100, needed, &key("new"), holders), room, "{needed} beside {holders:?}");
}

fn evict(names: &[&str]) -> Room {
    Room::Evict(names.iter().map(|name| key(name)).collect())
}

#[test]
fn what_fits_disturbs_nobody() {
    check(100, &[], &Room::There);
    check(40, &[holder("a", 60, Some(9))], &Room::There);
    assert_eq!(find(0, u64::MAX, &key("new"), &[]), Room::There, "without a budget everything fits");
}

#[test]
fn what_never_fits_is_told() {
    check(101, &[], &Room::Never(0));
    let pinned = Holder { is_pinned: true, ..holder("a", 60, Some(9)) };
    check(41, &[pinned], &Room::Never(60));
    // What it holds itself cannot be given back for it.
    assert_eq!(find(100, 41, &key("a"), &[holder("a", 60, None)]), Room::Never(60));
    // But what runs on it ends.
    let running = Holder { sequence_bytes: 10, ..holder("a", 50, None) };
    assert_eq!(find(100, 41, &key("a"), &[running]), Room::Later);
}

#[test]
fn the_least_recently_used_goes_and_no_more_than_needed() {
    let holders = [holder("a", 30, Some(1)), holder("b", 30, Some(9)), holder("c", 30, Some(5))];
    check(40, &holders, &evict(&["b"]));
    check(50, &holders, &evict(&["b", "c"]));
    check(100, &holders, &evict(&["b", "c", "a"]));
}

#[test]
fn those_in_use_are_waited_for() {
    let holders = [holder("a", 50, None), holder("b", 40, Some(9))];
    check(50, &holders, &evict(&["b"]));
    check(60, &holders, &Room::Later);
}

#[test]
fn kept_prefixes_go_before_models() {
    let keeping = Holder { prefix_bytes: 20, ..holder("a", 40, None) };
    let idle = holder("b", 30, Some(9));
    check(30, &[keeping.clone(), idle.clone()], &Room::Trim(vec![key("a")]));
    // All of them together are not enough, but the other model is.
    check(31, &[keeping.clone(), idle.clone()], &evict(&["b"]));
    // Neither is: what is left is known when they are given back.
    check(55, &[keeping, idle], &Room::Trim(vec![key("a")]));
}
