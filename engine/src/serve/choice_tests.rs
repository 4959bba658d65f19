use super::*;
use Need::{Nothing, Piece, Tokens};
use Priority::{Background, Interactive, Normal};

#[test]
fn all_that_are_that_far_get_a_token() {
    let turn = choose(&[(Normal, Tokens), (Background, Tokens), (Interactive, Nothing)], 0);
    assert_eq!(turn, Turn { piece: None, rows: vec![0, 1], holds: false });
    assert_eq!(choose(&[], 0), Turn { piece: None, rows: vec![], holds: false });
}

#[test]
fn the_most_urgent_prompt_goes_on_and_of_equals_the_first() {
    let wants = [(Background, Piece), (Normal, Piece), (Normal, Piece)];
    assert_eq!(choose(&wants, 0).piece, Some((1, Pace::Alone)));
    let wants = [(Normal, Piece), (Normal, Piece), (Interactive, Piece)];
    assert_eq!(choose(&wants, 0).piece, Some((2, Pace::Alone)));
}

#[test]
fn equals_go_on_between_the_pieces_of_a_prompt() {
    let turn = choose(&[(Normal, Tokens), (Normal, Piece), (Interactive, Tokens)], 0);
    assert_eq!(turn, Turn { piece: Some((1, Pace::Shared)), rows: vec![0, 2], holds: false });
}

#[test]
fn the_less_urgent_hold_but_not_forever() {
    let wants = [(Background, Tokens), (Interactive, Piece), (Normal, Tokens)];
    assert_eq!(choose(&wants, 0), Turn { piece: Some((1, Pace::Alone)), rows: vec![], holds: true });
    let after = choose(&wants, MOST_HELD);
    assert_eq!(after, Turn { piece: Some((1, Pace::Shared)), rows: vec![0, 2], holds: false });
}
