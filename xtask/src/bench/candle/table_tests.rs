use super::*;

fn samples<const N: usize>(values: [f64; N]) -> Samples {
    Samples::from_iter(values)
}

#[test]
fn a_row_has_three_speeds_and_two_ratios() {
    let row = Row {
        packing: "Q4_1".into(),
        threads: 2,
        task: "prefill, 512",
        candle: samples([200.0, 300.0, 100.0]),
        llama_cpp: samples([100.0, 200.0, 200.0]),
        mlx: Some(samples([10.0, 20.0, 10.0])),
    };
    // Ratios are of the turns of a round: the median of 2, 1.5 and 0.5, and of 20, 15 and 10.
    let expected = "| Q4_1, 2 threads: prefill, 512 | 200 (100–300) | 200 (100–200) | 10.0 (10.0–20.0) \
                    | **1.50** (0.50–2.00) | **15.0** (10.0–20.0) |";
    assert_eq!(row.to_string(), expected);
    assert_columns(&row);
}

#[test]
fn what_mlx_does_not_take_part_in_has_dashes() {
    let row = Row {
        packing: "Q4_K_M".into(),
        threads: 1,
        task: "decode, 64 after 16",
        candle: samples([50.0]),
        llama_cpp: samples([40.0]),
        mlx: None,
    };
    let expected = "| Q4_K_M, 1 thread: decode, 64 after 16 | 50.0 | 40.0 | — | **1.25** (1.25–1.25) | — |";
    assert_eq!(row.to_string(), expected);
    assert_columns(&row);
}

/// Markdown drops cells that have no heading.
fn assert_columns(row: &Row) {
    let columns = |line: &str| line.matches('|').count();
    for line in HEADING.lines() {
        assert_eq!(columns(line), columns(&row.to_string()), "{line}");
    }
}
