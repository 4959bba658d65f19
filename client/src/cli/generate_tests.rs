//! Names on the command line.

use super::*;

#[test]
fn ways_to_guess_have_the_names_of_the_wire() {
    assert_eq!(speculation("lookup"), Ok(Speculation::Lookup));
    assert_eq!(speculation("auto"), Ok(Speculation::default()));
    assert_eq!(speculation("draft"), Ok(Speculation::Draft));
    assert!(speculation("on").unwrap_err().contains("off, lookup and draft"));
}
