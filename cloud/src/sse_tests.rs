use super::*;

fn decode(parts: &[&[u8]]) -> Vec<String> {
    let (mut decoder, mut events) = (Decoder::default(), Vec::new());
    for part in parts {
        decoder.push(part, &mut events).expect("short enough");
    }
    events.extend(decoder.end());
    events.into_iter().map(|event| String::from_utf8(event).expect("text")).collect()
}

const BODY: &str = "\u{feff}: a comment\r\ndata: {\"text\": \"zwölf 🦀\"}\r\n\r\nevent: ping\nid: 3\n\ndata:two\ndata: lines\n\rdata\r\rdatax: no\n\ndata: last";

#[test]
fn a_body_cut_anywhere_gives_the_same_events() {
    let whole = decode(&[BODY.as_bytes()]);
    assert_eq!(whole, ["{\"text\": \"zwölf 🦀\"}", "two\nlines", "", "last"]);
    for cut in 0..=BODY.len() {
        let (front, back) = BODY.as_bytes().split_at(cut);
        assert_eq!(decode(&[front, back]), whole, "cut at {cut}");
    }
    let single: Vec<&[u8]> = BODY.as_bytes().chunks(1).collect();
    assert_eq!(decode(&single), whole);
}

#[test]
fn an_event_without_end_is_refused() {
    let (mut decoder, mut events) = (Decoder::default(), Vec::new());
    let part = vec![b'x'; 1 << 20];
    let taken = (0..17).map(|_| decoder.push(&part, &mut events)).find(Result::is_err);
    assert_eq!(taken, Some(Err(TooLong)));
    assert!(events.is_empty());
}
