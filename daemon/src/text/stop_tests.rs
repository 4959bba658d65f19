use proptest::prelude::*;

use super::*;

/// What is shown of the pieces, and the hit.
fn run(stops: &[&str], pieces: &[&str]) -> (Vec<String>, Option<String>, String) {
    let mut matcher = StopMatcher::new(stops.iter().map(ToString::to_string).collect());
    let mut hit = None;
    let mut shown = Vec::new();
    for piece in pieces {
        let found = matcher.push(*piece);
        shown.push(found.text);
        hit = hit.or(found.hit);
    }
    (shown, hit, matcher.finish())
}

#[test]
fn a_stop_sequence_across_pieces_is_found_and_never_shown() {
    let (shown, hit, rest) = run(&["</end>"], &["one<", "/e", "nd", "> two", "three"]);
    assert_eq!(shown, ["one", "", "", "", ""]);
    assert_eq!(hit.as_deref(), Some("</end>"));
    assert_eq!(rest, "");
}

#[test]
fn what_cannot_become_a_stop_sequence_any_more_is_shown_at_once() {
    let (shown, hit, rest) = run(&["</end>"], &["a<", "/e", "x", "<"]);
    assert_eq!(shown, ["a", "", "</ex", ""]);
    assert_eq!(hit, None);
    assert_eq!(rest, "<");
}

#[test]
fn a_sequence_that_begins_within_its_own_beginning_is_found() {
    let (shown, hit, _) = run(&["aab"], &["a", "a", "a", "b"]);
    assert_eq!(shown.concat(), "a");
    assert_eq!(hit.as_deref(), Some("aab"));
}

#[test]
fn the_sequence_complete_first_wins_and_of_those_the_longest() {
    let (shown, hit, _) = run(&["abcd", "bc"], &["xabcd"]);
    assert_eq!((shown.concat().as_str(), hit.as_deref()), ("xa", Some("bc")));
    let (shown, hit, _) = run(&["c", "bc", "abc"], &["xabc"]);
    assert_eq!((shown.concat().as_str(), hit.as_deref()), ("x", Some("abc")));
    let (shown, hit, _) = run(&["\n\n", "\n"], &["x\n", "\n"]);
    assert_eq!((shown.concat().as_str(), hit.as_deref()), ("x", Some("\n")));
}

#[test]
fn without_sequences_everything_is_shown_at_once() {
    assert_eq!(run(&[], &["a", "b"]), (vec!["a".into(), "b".into()], None, String::new()));
    assert_eq!(run(&[""], &["a", "b"]), (vec!["a".into(), "b".into()], None, String::new()));
}

#[test]
fn a_long_sequence_half_matched_again_and_again_costs_time_in_proportion_to_the_text() {
    // Looked for anew at each piece, this would take 10^10 steps.
    let mut matcher = StopMatcher::new(vec!["a".repeat(100_000) + "b"]);
    let shown: usize = (0..100_000).map(|_| matcher.push("a").text.len()).sum();
    assert_eq!(shown, 0);
    assert_eq!(matcher.push("aa").text, "aa");
    assert_eq!(matcher.push("b").hit.map(|hit| hit.len()), Some(100_001));
}

/// The text before the first sequence to be complete, and that sequence.
fn naive(stops: &[String], text: &str) -> (String, Option<String>) {
    for (end, _) in text.char_indices().chain([(text.len(), ' ')]) {
        let complete = stops.iter().filter(|stop| text[..end].ends_with(*stop));
        if let Some(stop) = complete.max_by_key(|stop| stop.len()) {
            return (text[..end - stop.len()].to_owned(), Some(stop.clone()));
        }
    }
    (text.to_owned(), None)
}

/// The longest end of the text that is the beginning, not the whole, of a sequence.
fn held(stops: &[String], text: &str) -> usize {
    let starts = text.char_indices().map(|(start, _)| start);
    let may_become = |end: &str| stops.iter().any(|stop| stop.starts_with(end) && stop != end);
    starts.map(|start| &text[start..]).find(|end| may_become(end)).map_or(0, str::len)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text_in_any_pieces_stops_where_a_search_of_the_whole_stops(
        stops in prop::collection::vec("[abé]{1,5}", 0..5),
        pieces in prop::collection::vec("[abcé]{0,6}", 0..12),
    ) {
        let mut matcher = StopMatcher::new(stops.clone());
        let (mut shown, mut seen, mut hit) = (String::new(), String::new(), None);
        for piece in &pieces {
            seen.push_str(piece);
            let found = matcher.push(piece);
            shown.push_str(&found.text);
            if found.hit.is_some() {
                hit = found.hit;
                break;
            }
            prop_assert_eq!(seen.len() - shown.len(), held(&stops, &seen), "held of {:?}", seen);
        }
        shown.push_str(&matcher.finish());
        prop_assert_eq!((shown, hit), naive(&stops, &pieces.concat()));
    }
}
