//! Tests of `second.rs`: which tokens and which gaps lie in a time.

use super::*;

#[test]
fn a_span_counts_its_tokens_and_the_gaps_that_reach_into_it() {
    let zero = Instant::now();
    let at = |ms| zero + Duration::from_millis(ms);
    let times = [0, 100, 200, 900, 1000, 1100, 1900].map(at);
    let before = Span::of(&times, at(0), at(500));
    assert_eq!((before.rate, before.gap_ms), (6.0, 700.0), "the gap that begins in it");
    let meanwhile = Span::of(&times, at(500), at(1500));
    assert_eq!((meanwhile.rate, meanwhile.gap_ms), (3.0, 800.0), "the gaps that end or begin in it");
    let quiet = Span::of(&times, at(950), at(1050));
    assert_eq!((quiet.rate, quiet.gap_ms), (10.0, 100.0));
}

#[test]
fn a_stream_that_ends_before_the_load_is_no_figure() {
    let watched = Instant::now();
    let at = |ms| watched + Duration::from_millis(ms);
    let load = Load { watched, begin: at(100), end: at(200) };
    let error = print(&[at(50), at(150)], load).unwrap_err();
    assert_eq!(error.to_string(), "the stream ended before the second model was loaded");
}
