use proptest::prelude::*;

use super::*;

fn taken(lines: &mut Lines) -> Result<Vec<String>, TooLong> {
    let mut taken = Vec::new();
    while let Some(line) = lines.next()? {
        taken.push(String::from_utf8(line.to_vec()).unwrap());
    }
    Ok(taken)
}

fn arrive(lines: &mut Lines, bytes: &[u8]) {
    lines.space().extend_from_slice(bytes);
}

#[test]
fn blank_lines_are_none() {
    let mut lines = Lines::new(10);
    arrive(&mut lines, b"\n \r\n a\r\n\n\n  ");
    assert_eq!(taken(&mut lines).unwrap(), ["a\r"]);
    assert_eq!(lines.unfinished(), 0);
}

#[test]
fn the_rest_is_a_line_only_when_nothing_more_comes() {
    let mut lines = Lines::new(10);
    arrive(&mut lines, b"a\nbc");
    assert_eq!(taken(&mut lines).unwrap(), ["a"]);
    assert_eq!(lines.unfinished(), 2);
    lines.end();
    assert_eq!(taken(&mut lines).unwrap(), ["bc"]);
    assert!(lines.is_empty());
}

#[test]
fn a_line_may_have_exactly_the_limit() {
    for ending in ["\n", ""] {
        let mut lines = Lines::new(10);
        arrive(&mut lines, format!("{}{ending}", "x".repeat(10)).as_bytes());
        lines.end();
        assert_eq!(taken(&mut lines).unwrap(), ["x".repeat(10)]);
        let mut lines = Lines::new(10);
        arrive(&mut lines, format!("{}{ending}", "x".repeat(11)).as_bytes());
        assert_eq!(taken(&mut lines), Err(TooLong));
    }
}

#[test]
fn memory_of_a_long_line_is_given_back() {
    let mut lines = Lines::new(16 << 20);
    for _ in 0..64 {
        arrive(&mut lines, &vec![b'x'; 64 << 10]);
    }
    arrive(&mut lines, b"\n");
    assert_eq!(taken(&mut lines).unwrap()[0].len(), 4 << 20);
    assert!(lines.space().capacity() <= 2 * CHUNK_BYTES);
}

proptest! {
    #[test]
    fn lines_are_the_same_however_they_arrive(
        sent in proptest::collection::vec("[a-z]{1,9}", 0..20),
        cuts in proptest::collection::vec(1_usize..7, 1..40),
    ) {
        let mut bytes = sent.join("\n").into_bytes();
        bytes.push(b'\n');
        let mut lines = Lines::new(10);
        let (mut received, mut cuts) = (Vec::new(), cuts.iter().cycle());
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            arrive(&mut lines, now);
            received.extend(taken(&mut lines).unwrap());
            rest = later;
        }
        prop_assert_eq!(received, sent);
    }
}
