use super::*;

#[test]
fn both_times_and_their_ratio_are_told() {
    let [ours, theirs] = [[500.0, 400.0, 800.0], [2000.0, 2000.0, 2000.0]].map(Samples::from_iter);
    let cold = Cold {
        reference: "mlx-lm in float32".into(),
        prompt_tokens: 44,
        mlx_lm_over_talkied: theirs.over(&ours),
        talkied_ms: ours,
        mlx_lm_ms: theirs,
    };
    let line = "500 (400–800) ms, mlx-lm in float32 2000; better by × 4.00 (2.50–5.00); 3 pairs after 44 tokens";
    assert_eq!(cold.to_string(), line);
}

#[test]
fn prompts_that_differ_are_no_comparison() {
    assert_eq!(same([44, 44]).unwrap(), 44);
    assert_eq!(same([44, 45]).unwrap_err().to_string(), "talkied had a prompt of 44 tokens, mlx-lm of 45");
}
