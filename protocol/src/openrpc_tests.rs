use super::*;

#[test]
fn the_document_is_the_one_reviewed() {
    insta::assert_json_snapshot!(document());
}

#[test]
fn every_error_kind_has_a_code_of_its_own() {
    for kind in Kind::ALL {
        assert_eq!(Kind::of_code(kind.code()), Some(kind));
    }
}
