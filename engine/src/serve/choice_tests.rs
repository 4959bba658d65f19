use super::*;
use Need::{Nothing, Piece, Tokens};
use Priority::{Background, Interactive, Normal};

const WHOLE: u32 = 512;

/// Whose piece comes first in a turn.
fn first(wants: &[Want], held: u32) -> Option<(usize, Pace)> {
    piece(wants, held, &Budget::new(WHOLE))
}

/// Whose pieces one turn computes, where each takes all that it is asked for or `WHOLE` tokens.
fn turn(mut wants: Vec<Want>) -> Vec<usize> {
    let mut budget = Budget::new(WHOLE);
    let mut served = Vec::new();
    while let Some((place, _)) = piece(&wants, 0, &budget) {
        let (priority, Piece(tokens)) = wants[place] else { panic!("{place} wants no piece") };
        budget.spend(priority, tokens.min(WHOLE));
        wants[place].1 = if tokens > WHOLE { Piece(tokens - WHOLE) } else { Tokens };
        served.push(place);
    }
    served
}

#[test]
fn all_that_are_that_far_get_a_token() {
    let wants = [(Normal, Tokens), (Background, Tokens), (Interactive, Nothing)];
    assert_eq!((first(&wants, 0), rows(&wants, 0)), (None, Rows { places: vec![0, 1], holds: false }));
    assert_eq!((first(&[], 0), rows(&[], 0)), (None, Rows { places: vec![], holds: false }));
}

#[test]
fn the_most_urgent_prompt_goes_on_and_of_equals_the_first() {
    let wants = [(Background, Piece(9)), (Normal, Piece(9)), (Normal, Piece(9))];
    assert_eq!(first(&wants, 0), Some((1, Pace::Alone)));
    let wants = [(Normal, Piece(9)), (Normal, Piece(9)), (Interactive, Piece(9))];
    assert_eq!(first(&wants, 0), Some((2, Pace::Alone)));
}

#[test]
fn equals_go_on_between_the_pieces_of_a_prompt() {
    let wants = [(Normal, Tokens), (Normal, Piece(9)), (Interactive, Tokens)];
    assert_eq!(first(&wants, 0), Some((1, Pace::Shared)));
    assert_eq!(rows(&wants, 0), Rows { places: vec![0, 2], holds: false });
}

#[test]
fn the_less_urgent_hold_but_not_forever() {
    let wants = [(Background, Tokens), (Interactive, Piece(9)), (Normal, Tokens)];
    assert_eq!(first(&wants, 0), Some((1, Pace::Alone)));
    assert_eq!(rows(&wants, 0), Rows { places: vec![], holds: true });
    assert_eq!(first(&wants, MOST_HELD), Some((1, Pace::Shared)));
    assert_eq!(rows(&wants, MOST_HELD), Rows { places: vec![0, 2], holds: false });
}

#[test]
fn a_turn_computes_prompts_as_far_as_they_fit_in_the_order_of_their_arrival() {
    let normal = |tokens: &[u32]| tokens.iter().map(|tokens| (Normal, Piece(*tokens))).collect::<Vec<_>>();
    assert_eq!(turn(normal(&[200, 200, 112, 200])), [0, 1, 2]);
    // None passes one that does not fit.
    assert_eq!(turn(normal(&[200, 313, 20])), [0]);
    // What is left of one is not begun beside another, but a piece of it is all of the next turn.
    assert_eq!(turn(normal(&[20, 4000])), [0]);
    assert_eq!(turn(normal(&[4000, 20])), [0]);
    assert_eq!(turn(normal(&[512, 1])), [0]);
}

#[test]
fn a_piece_counts_as_a_sixteenth_of_a_turn_at_least() {
    let short = vec![(Normal, Piece(3)); 64];
    assert_eq!(turn(short), (0..16).collect::<Vec<_>>());
    let mut budget = Budget::new(0);
    budget.spend(Normal, 0);
    assert_eq!(piece(&[(Normal, Piece(1))], 0, &budget), None, "a turn ends even where nothing is computed");
}

#[test]
fn after_an_urgent_prompt_comes_its_first_token_and_not_a_prompt_that_can_wait() {
    let wants = vec![(Normal, Piece(9)), (Interactive, Piece(9)), (Background, Piece(9)), (Interactive, Piece(9))];
    assert_eq!(turn(wants), [1, 3]);
    let far = [(Normal, Piece(9)), (Interactive, Tokens), (Background, Tokens)];
    assert_eq!(rows(&far, 0), Rows { places: vec![1], holds: true });
}

#[test]
fn who_waits_for_a_token_has_the_pieces_behind_be_short() {
    let mut budget = Budget::new(WHOLE);
    budget.spend(Normal, 20);
    let wants = [(Normal, Tokens), (Normal, Piece(9))];
    assert_eq!(piece(&wants, 0, &budget), Some((1, Pace::Shared)));
}
