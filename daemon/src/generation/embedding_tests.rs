//! What needs no engine.

use super::*;

fn request(input: &[&str]) -> EmbeddingsRequest {
    let input: Vec<_> = input.iter().map(|text| (*text).to_owned()).collect();
    serde_json::from_value(serde_json::json!({ "input": input })).unwrap()
}

#[test]
fn a_normalized_vector_has_length_one() {
    let mut vector = vec![3.0, 4.0];
    normalize(&mut vector);
    assert_eq!(vector, [0.6, 0.8]);
    let mut nothing = vec![0.0; 3];
    normalize(&mut nothing);
    assert_eq!(nothing, [0.0; 3]);
}

#[test]
fn vectors_that_no_result_can_hold_are_refused_at_the_first() {
    assert!(check_size(2048, 384).is_ok());
    let error = check_size(2048, 4096).unwrap_err();
    assert_eq!(error.kind, Kind::InvalidParams);
    assert!(error.message.contains("at most 256 vectors of 4096 numbers"), "{}", error.message);
}

#[test]
fn bad_inputs_are_named() {
    assert!(check(&request(&["one", "two"])).is_ok());
    for (input, words) in [(vec![], "0 texts"), (vec!["one", " \n"], "`input[1]`"), (vec!["a"; 2049], "2049 texts")] {
        let error = check(&request(&input)).unwrap_err();
        assert_eq!(error.kind, Kind::InvalidParams);
        assert!(error.message.contains(words), "{}", error.message);
    }
}
