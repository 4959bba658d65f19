use tempfile::TempDir;

use super::*;

#[test]
fn lines_are_taken_from_the_files_before_where_there_are_too_few() {
    let home = TempDir::new().expect("a directory");
    let path = home.path().join("talkied.log");
    fs::write(home.path().join("talkied.log.1"), "c\nd\n").expect("a file");
    fs::write(home.path().join("talkied.log.2"), "a\nb\n").expect("a file");
    assert_eq!(last(&path, "e\nf\n", 1), ["f"]);
    assert_eq!(last(&path, "e\nf\n", 3), ["d", "e", "f"]);
    assert_eq!(last(&path, "e\nf\n", 100), ["a", "b", "c", "d", "e", "f"]);
    assert_eq!(last(&path, "e\nf\n", 0), [] as [&str; 0]);
}

#[test]
fn a_follower_reads_on_over_a_rotation_and_by_whole_lines() {
    let home = TempDir::new().expect("a directory");
    let path = home.path().join("talkied.log");
    fs::write(&path, "one\nhal").expect("a file");
    let mut follower = Follower::open(&path).expect("it is there");
    assert_eq!(follower.read().expect("text"), "one\n");
    let mut file = fs::OpenOptions::new().append(true).open(&path).expect("it is there");
    file.write_all(b"f\nlast\n").expect("room");
    fs::rename(&path, home.path().join("talkied.log.1")).expect("it is there");
    fs::write(&path, "new\n").expect("a file");
    assert_eq!(follower.read().expect("text"), "half\nlast\nnew\n");
    assert_eq!(follower.read().expect("text"), "");
}

#[test]
fn a_follower_waits_for_a_log() {
    let home = TempDir::new().expect("a directory");
    let path = home.path().join("talkied.log");
    let mut follower = Follower::waiting(path.clone());
    assert_eq!(follower.read().expect("nothing"), "");
    fs::write(&path, "one\n").expect("a file");
    assert_eq!(follower.read().expect("text"), "one\n");
}

#[test]
fn a_line_is_told_in_its_parts() {
    let line = Line::of("2026-11-29T17:06:02.123456Z  INFO talkied: listening socket=/x version=\"1\"");
    assert_eq!((line.level, line.target), (Some("INFO"), Some("talkied")));
    assert_eq!(line.message, "listening socket=/x version=\"1\"");
    assert_eq!(Line::of("  goes on: here").message, "  goes on: here");
    assert_eq!(Line::of("").level, None);
}
