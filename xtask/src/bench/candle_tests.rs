use super::*;

#[test]
fn no_prompt_begins_like_another() {
    let rounds = 9;
    let numbers = 0..(rounds + 1) * TASKS.len() as u32;
    let mut begin: Vec<u32> = numbers.map(|number| prompt(64, number)[0]).collect();
    let count = begin.len();
    begin.sort_unstable();
    begin.dedup();
    assert_eq!((begin.len(), count), (30, 30));
}

#[test]
fn a_prompt_has_as_many_tokens_as_were_asked_for() {
    for Task { prompt: tokens, .. } in TASKS {
        let prompt = prompt(tokens, 7);
        assert_eq!(prompt.len(), tokens as usize);
        assert!(prompt.iter().all(|token| u64::from(*token) < VOCABULARY));
    }
}

#[test]
fn only_the_round_that_is_not_counted_is_short() {
    let [_, _, far] = TASKS;
    assert_eq!([0, 1, 9].map(|round| asked(far, round)), [(64, 4), (1024, 32), (1024, 32)]);
}
