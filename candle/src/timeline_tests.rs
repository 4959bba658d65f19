//! Which timeline a prompt goes on from, and which stay.

use candle_core::{DType, Device};

use super::*;
use crate::cache::Account;

fn numbers(from: TokenId, count: usize) -> Vec<TokenId> {
    (from..).take(count).collect()
}

#[track_caller]
fn check(kept: &[&[TokenId]], prompt: &[TokenId], expected: Option<(usize, usize, bool)>) {
    let expected = expected.map(|(place, len, is_copied)| Reuse { place, len, is_copied });
    assert_eq!(choose(kept, prompt), expected);
}

#[test]
fn the_longest_beginning_serves_but_for_the_last_token() {
    let (long, short) = (numbers(0, 200), numbers(0, 100));
    check(&[], &long, None);
    check(&[&long], &[], None);
    check(&[&numbers(1, 200)], &long, None);
    // The whole of a timeline, then all of the prompt but its last token.
    check(&[&short], &long, Some((0, 100, false)));
    check(&[&long], &long, Some((0, 199, false)));
    check(&[&long, &short], &long, Some((0, 199, false)));
    check(&[&short, &short], &long, Some((1, 100, false)));
}

#[test]
fn a_branch_leaves_the_other_if_much_of_it_would_be_lost() {
    let kept = numbers(0, 100);
    for (len, expected) in [
        (LEAST - 1, None),
        (LEAST, Some((0, LEAST, true))),
        (100 - LEAST, Some((0, 100 - LEAST, true))),
        (101 - LEAST, Some((0, 101 - LEAST, false))),
    ] {
        let prompt = [&kept[..len], &[1000, 1001]].concat();
        check(&[&kept], &prompt, expected);
    }
}

fn timeline(tokens: Vec<TokenId>, account: &Rc<Account>) -> Timeline {
    let mut cache = Cache::new(account);
    let new = Tensor::zeros((1, tokens.len(), 2), DType::F32, &Device::Cpu).unwrap();
    cache.append([&new, &new]).unwrap();
    Timeline { tokens, caches: vec![cache] }
}

fn lens(kept: &Kept) -> Vec<usize> {
    kept.timelines.borrow().iter().map(|timeline| timeline.tokens.len()).collect()
}

#[test]
fn few_are_kept_and_the_one_used_last_the_longest() {
    let (kept, account) = (Kept::new(1 << 20), Rc::new(Account::default()));
    let put = |tokens| kept.put(timeline(tokens, &account));
    put(numbers(0, LEAST - 1));
    assert_eq!(lens(&kept), [0; 0]);
    for round in 0..5 {
        put(numbers(1000 * round, 100 + round as usize));
    }
    assert_eq!(lens(&kept), [101, 102, 103, 104]);
    // One that is used comes back as the last; one that grew stands for what it was.
    drop(kept.begin(&numbers(1000, 200), Vec::new).unwrap());
    assert_eq!(lens(&kept), [102, 103, 104, 101]);
    put(numbers(3000, 150));
    assert_eq!(lens(&kept), [102, 104, 101, 150]);
    // A branch stands beside its origin.
    drop(kept.begin(&[numbers(3000, 80), vec![0]].concat(), Vec::new).unwrap());
    assert_eq!(lens(&kept), [104, 101, 150, 80]);
}

#[test]
fn no_more_bytes_are_kept_than_may_be() {
    let account = Rc::new(Account::default());
    let one = timeline(numbers(0, 100), &account).bytes();
    assert_eq!(account.bytes().0, 0);
    let kept = Kept::new(2 * one);
    for from in [0, 1000, 2000] {
        kept.put(timeline(numbers(from, 100), &account));
    }
    assert_eq!((lens(&kept).len(), account.bytes().0), (2, 2 * one));
    kept.put(timeline(numbers(0, 1000), &account));
    assert_eq!((lens(&kept).len(), account.bytes().0), (0, 0));
}

#[test]
fn what_failed_or_lost_its_model_is_not_kept() {
    let (kept, account) = (Kept::new(1 << 20), Rc::new(Account::default()));
    let mut torn = timeline(numbers(0, 100), &account);
    torn.tokens.push(7);
    kept.put(torn);
    assert_eq!(lens(&kept), [0; 0]);
    kept.put(timeline(numbers(0, 100), &account));
    let mut failed = kept.begin(&numbers(0, 100), Vec::new).unwrap();
    failed.forget();
    drop(failed);
    assert_eq!(lens(&kept), [0; 0]);
    kept.put(timeline(numbers(0, 100), &account));
    let running = kept.begin(&numbers(0, 100), Vec::new).unwrap();
    drop(kept);
    drop(running);
    assert_eq!(account.bytes().0, 0);
}
