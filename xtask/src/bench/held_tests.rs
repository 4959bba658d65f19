use super::*;

#[test]
fn both_speeds_and_the_ratio_beside_its_limit_are_told() {
    let [held, free] = [[19.0, 20.0, 18.0], [20.0, 20.0, 20.0]].map(Samples::from_iter);
    let schema_over_free = held.over(&free);
    let line = Held { tokens: 64, schema_tokens_per_s: held, free_tokens_per_s: free, schema_over_free }.to_string();
    assert_eq!(line, "19.0 (18.0–20.0) tokens/s, free 20.0; × 0.950 (0.900–1.000), limit 0.95; 3 pairs of 64 tokens");
}

#[test]
fn the_least_answer_of_the_schema_is_longer_than_what_is_decoded() {
    let schema = &response_format()["schema"];
    let least = |name: &str| schema["items"]["properties"][name]["minLength"].as_u64();
    let letters = schema["minItems"].as_u64().zip(least("summary")).map(|(items, letters)| items * letters);
    // Ten letters are more than a token of prose has; a vocabulary's longest tokens are spaces and rules.
    assert!(letters.unwrap() >= 10 * u64::from(TOKENS));
}
