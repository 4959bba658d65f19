use super::view::Reading;
use super::view::tests::{ended, reading, resident, running};
use super::*;

fn busy() -> (Reading, Reading) {
    let (mut before, mut now) = (reading(600_000), reading(601_000));
    now.metrics.residents = vec![resident("large-model-of-some-length")];
    now.metrics.memory_bytes = Some(33_000_000);
    now.metrics.requests = vec![ended("large-model-of-some-length", 2)];
    before.status.requests = vec![running("req_0", "large-model-of-some-length", 0)];
    now.status.requests = vec![running("req_0", "large-model-of-some-length", 140)];
    (before, now)
}

fn shown(width: Option<usize>) -> String {
    let (before, now) = busy();
    anstream::adapter::strip_str(&picture(&View::new(Some(&before), &now), width)).to_string()
}

#[test]
fn a_busy_daemon() {
    insta::assert_snapshot!("top_wide", shown(None));
    insta::assert_snapshot!("top_on_20_columns", shown(Some(20)));
}

#[test]
fn the_head_fits_80_columns() {
    assert!(shown(Some(80)).lines().next().is_some_and(|line| line.contains("TOKENS/S")));
    let (_, now) = busy();
    let first = picture(&View::new(None, &now), Some(80));
    assert!(first.contains('–'), "without a reading before there are no rates: {first}");
}

#[test]
fn a_screen_gets_the_lines_that_it_has_room_for() {
    let text = "one\ntwo\nthree\nfour\n";
    assert_eq!(fitted(text, 80, 4), ["one", "two", "three", "four"]);
    assert_eq!(fitted(text, 80, 3), ["one", "two", "… 2 more lines"]);
    assert_eq!(fitted(text, 4, 4), ["one", "two", "thr…", "four"]);
    assert_eq!(fitted(text, 80, 1), ["… 4 more lines"]);
    assert_eq!(fitted(text, 80, 0), [] as [String; 0]);
}

#[test]
fn what_is_cut_keeps_its_colours_to_itself() {
    let line = format!("{GREEN}green and long{GREEN:#}");
    let [cut] = &fitted(&line, 6, 1)[..] else { panic!("one line") };
    assert_eq!(anstream::adapter::strip_str(cut).to_string(), "green…");
    assert!(cut.ends_with("\u{1b}[0m"), "{cut:?}");
}
