use super::*;
use crate::error::Error;

#[test]
fn sides_take_turns_and_the_first_round_is_not_counted() {
    let mut turns = Vec::new();
    let sides = measure(2, &Interrupt::never(), |side, round| {
        turns.push((side, round));
        Ok(f64::from(round) + if side == Side::First { 10.0 } else { 20.0 })
    });
    let both = |round| [(Side::First, round), (Side::Second, round)];
    assert_eq!(turns, [both(0), both(1), both(2)].concat());
    assert_eq!(sides.unwrap(), [[11.0, 12.0], [21.0, 22.0]].map(Samples::from_iter));
}

#[test]
fn a_turn_that_fails_ends_all() {
    let mut turns = 0;
    let result = measure(9, &Interrupt::never(), |side, round| {
        turns += 1;
        if (side, round) == (Side::Second, 1) { Err(Error::Unexpected("gone".into())) } else { Ok(1.0) }
    });
    assert_eq!((result.unwrap_err().to_string(), turns), ("gone".to_owned(), 4));
}

#[test]
fn three_sides_take_turns_too() {
    let mut order = String::new();
    let samples = turns(&['a', 'b', 'c'], 2, &Interrupt::never(), |side, round| {
        order.push(side);
        Ok(f64::from(round) + f64::from(u32::from(side)))
    });
    let expected: Vec<Samples> =
        [98.0, 99.0, 100.0].map(|first| Samples::from_iter([first, first + 1.0])).into_iter().collect();
    assert_eq!((samples.unwrap(), order.as_str()), (expected, "abcabcabc"));
}

#[test]
fn a_turn_that_fails_because_of_ctrl_c_says_so() {
    let interrupt = Interrupt::never();
    let result = turns(&[()], 1, &interrupt, |(), _| {
        interrupt.tell();
        Err(Error::Unexpected("the engine ended".into()))
    });
    assert!(matches!(result.unwrap_err(), Error::Shown { code: Some(130) }));
}
