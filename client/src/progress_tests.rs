use super::*;

fn shown(columns: usize, act: impl FnOnce(&mut Progress<&mut Vec<u8>>)) -> String {
    let mut screen = Vec::new();
    let mut progress = Progress { out: Some(&mut screen), columns, shown: false };
    act(&mut progress);
    drop(progress);
    String::from_utf8(screen).expect("text").replace("\r\x1b[2K", "<clear>")
}

#[test]
fn the_line_is_replaced_and_then_gone() {
    let screen = shown(80, |progress| {
        progress.show("loading 10 %");
        progress.show("loading 20 %");
        progress.clear();
        progress.clear();
    });
    assert_eq!(screen, "<clear>loading 10 %<clear>loading 20 %<clear>");
}

#[test]
fn an_interrupted_wait_leaves_no_line() {
    assert_eq!(shown(80, |progress| progress.show("waiting")), "<clear>waiting<clear>");
    assert_eq!(shown(80, |_| ()), "");
}

#[test]
fn the_line_never_wraps_and_obeys_nothing() {
    assert_eq!(shown(10, |progress| progress.show("loading org/name 10 %")), "<clear>loading o<clear>");
    assert_eq!(shown(80, |progress| progress.show("a\x1b[1m\nb")), "<clear>a\\u{1b}[1m\\nb<clear>");
}
