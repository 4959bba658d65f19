use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::{Arc, Barrier};
use std::thread;

use super::*;

/// A user's folder, with the daemon's home in it.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(folder.path().join("Talkie/Workflows")).expect("it is made");
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().expect("it is there").join(name)
    }

    fn homes(&self) -> Homes {
        Homes { user: self.folder.path().into(), daemon: self.folder.path().join("Talkie") }
    }

    fn save(&self, path: &str, exists: Exists, text: &str) -> Result<Output, Failure> {
        let file = File { path: path.into(), text: text.into(), exists };
        written(&file, &self.homes(), &|_| Ok(()))
    }

    fn make(&self, path: &str) -> Result<Output, Failure> {
        let file = File { path: path.into(), text: "x".into(), exists: Exists::Replace };
        written(&file, &self.homes(), &|_| Ok(()))
    }

    /// All names in a folder.
    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).expect("it is there");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
        names.sort();
        names
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("it is there")
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).expect("it is there").permissions().mode() & 0o777
    }
}

#[track_caller]
fn refused(result: Result<Output, Failure>, words: &str) {
    match result {
        Err(Failure::Final(told)) => assert!(told.contains(words), "{told}"),
        other => panic!("it is no final failure: {other:?}"),
    }
}

#[tokio::test]
async fn a_file_is_replaced_whole_and_keeps_its_mode() {
    let disk = Disk::new();
    let file = File { path: "~/a.json".into(), text: "one".into(), exists: Exists::Replace };
    let saved = save(file, disk.homes(), |_| Ok(())).await.expect("it is written");
    assert_eq!((saved.path, saved.bytes), (disk.path("a.json"), 3));
    assert_eq!((disk.read("a.json"), disk.mode("a.json")), ("one".into(), 0o600));
    fs::set_permissions(disk.path("a.json"), fs::Permissions::from_mode(0o640)).expect("it is changed");
    disk.save("~/a.json", Exists::Replace, "").expect("it is written");
    assert_eq!((disk.read("a.json"), disk.mode("a.json")), (String::new(), 0o640));
    assert_eq!(disk.names(""), ["Talkie", "a.json"]);
}

#[test]
fn a_file_that_is_there_stays_where_that_is_asked_for() {
    let disk = Disk::new();
    disk.save("~/a.json", Exists::Fail, "one").expect("nothing is there");
    refused(disk.save("~/a.json", Exists::Fail, "two"), "a.json is there already");
    for expected in ["a-2.json", "a-3.json"] {
        let saved = disk.save("~/a.json", Exists::Number, "more").expect("it is written");
        assert_eq!(saved.path, disk.path(expected));
    }
    disk.save("~/b", Exists::Number, "first").expect("it is written");
    disk.save("~/b", Exists::Number, "second").expect("it is written");
    assert_eq!(disk.read("a.json"), "one");
    assert_eq!(disk.names(""), ["Talkie", "a-2.json", "a-3.json", "a.json", "b", "b-2"]);
}

#[test]
fn texts_are_added_to_the_end_of_a_file() {
    let disk = Disk::new();
    for text in ["one\n", "two\n"] {
        disk.save("~/log", Exists::Append, text).expect("it is written");
    }
    assert_eq!((disk.read("log"), disk.mode("log")), ("one\ntwo\n".into(), 0o600));
    refused(disk.save("~/log", Exists::Append, &"x".repeat(LONGEST_APPEND + 1)), "can be appended at once");
    disk.save("~/log", Exists::Append, &"x".repeat(LONGEST_APPEND)).expect("it is written");
    assert_eq!(disk.read("log").len(), LONGEST_APPEND + 8);
}

#[test]
fn many_at_once_lose_nothing_and_leave_nothing_behind() {
    let disk = Arc::new(Disk::new());
    let start = Arc::new(Barrier::new(12));
    let text = |number: usize| number.to_string().repeat(10_000);
    let writers = (0..12).map(|number| {
        let (disk, start) = (Arc::clone(&disk), Arc::clone(&start));
        let exists = [Exists::Replace, Exists::Number, Exists::Append][number % 3];
        thread::spawn(move || {
            start.wait();
            let name = ["~/same", "~/own", "~/log"][number % 3];
            disk.save(name, exists, &text(number)).map(drop)
        })
    });
    let writers: Vec<_> = writers.collect();
    for writer in writers {
        writer.join().expect("no panic").expect("it is written");
    }
    let same = disk.read("same");
    assert!((0..12).any(|number| same == text(number)), "one of them whole");
    assert_eq!(disk.names(""), ["Talkie", "log", "own", "own-2", "own-3", "own-4", "same"]);
    let log: usize = (2..12).step_by(3).map(|number| text(number).len()).sum();
    assert_eq!(disk.read("log").len(), log);
}

#[test]
fn what_a_killed_daemon_left_is_used_again() {
    let disk = Disk::new();
    fs::write(disk.path(".a.new"), "half of a long tex").expect("it is written");
    fs::create_dir(disk.path(".b.new")).expect("it is made");
    disk.save("~/a", Exists::Replace, "whole").expect("it is written");
    disk.save("~/b", Exists::Replace, "whole").expect("a folder in the way of the hidden name is no matter");
    assert_eq!((disk.read("a"), disk.read("b")), ("whole".into(), "whole".into()));
    assert_eq!(disk.names(""), [".b.new", "Talkie", "a", "b"]);
}

#[test]
fn folders_that_are_missing_are_made() {
    let disk = Disk::new();
    disk.save("~/new/deep/a", Exists::Replace, "x").expect("it is made");
    assert_eq!((disk.read("new/deep/a"), disk.mode("new/deep")), ("x".into(), 0o700));
    refused(disk.make("~/new/deep/a/b"), "no folder");
    refused(disk.make("~/new/deep"), "is a folder");
    refused(disk.save("~/new/deep", Exists::Append, "x"), "is a folder");
    refused(disk.save("~/new/deep", Exists::Fail, "x"), "is there already");
    refused(disk.make(&format!("~/{}", "n".repeat(300))), "too long");
}

#[test]
fn a_path_says_where_it_leads() {
    let disk = Disk::new();
    for (path, words) in [
        ("a.json", "neither begins with / nor with ~/"),
        ("~root/a", "neither begins with / nor with ~/"),
        ("~", "neither begins with / nor with ~/"),
        ("", "neither begins with / nor with ~/"),
        ("~/", "names no file"),
        ("/", "names no file"),
        ("~/a/", "names no file"),
        ("~/a/../b", "`safe_name`"),
        ("/tmp/../etc/passwd", "`safe_name`"),
        ("~/..", "names no file"),
        ("~/a\0b", "NUL"),
    ] {
        refused(disk.make(path), words);
    }
}

#[test]
fn what_the_daemon_lives_from_is_not_written() {
    let disk = Disk::new();
    symlink(disk.path("Talkie"), disk.path("link")).expect("it is linked");
    fs::write(disk.path("Talkie/config.toml"), "").expect("it is written");
    symlink(disk.path("Talkie/config.toml"), disk.path("config")).expect("it is linked");
    for path in [
        "~/Talkie/config.toml",
        "~/Talkie/keys/new",
        "~/Talkie/Workflows/evil.toml",
        "~/Talkie/Workflows/out",
        "~/link/Workflows/evil.toml",
        "~/config",
    ] {
        refused(disk.make(path), "Workflows/out alone");
        refused(disk.save(path, Exists::Append, "x"), "Workflows/out alone");
    }
    disk.make("~/Talkie/Workflows/out/day/a.json").expect("it is written");
    disk.make("~/link/Workflows/out/b.json").expect("it is written");
    assert_eq!(disk.names("Talkie/Workflows/out"), ["b.json", "day"]);
    // Where the folder of workflows is elsewhere, that is none to write to either.
    fs::rename(disk.path("Talkie/Workflows"), disk.path("mine")).expect("it is moved");
    symlink(disk.path("mine"), disk.path("Talkie/Workflows")).expect("it is linked");
    refused(disk.make("~/mine/evil.toml"), "Workflows/out alone");
    disk.make("~/mine/out/c.json").expect("it is written");
}

#[test]
fn links_are_followed_and_what_is_no_file_is_refused() {
    let disk = Disk::new();
    fs::write(disk.path("real"), "old").expect("it is written");
    symlink("real", disk.path("link")).expect("it is linked");
    symlink("nowhere", disk.path("broken")).expect("it is linked");
    disk.save("~/link", Exists::Replace, "new").expect("it is written");
    assert_eq!(disk.read("real"), "new");
    assert!(disk.path("link").is_symlink());
    refused(disk.make("~/broken"), "a link to what is not there");
    for exists in [Exists::Replace, Exists::Append] {
        refused(disk.save("/dev/null", exists, "x"), "neither a file");
    }
}

#[test]
fn what_the_system_says_of_a_disk_is_told_with_whether_it_may_pass() {
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
        let failed = failure(&kind.into(), Path::new("/disk/a"));
        assert!(matches!(failed, Failure::MayPass { words, .. } if words.contains("the disk is full")));
    }
    for (kind, words) in
        [(io::ErrorKind::PermissionDenied, "not allowed in /disk"), (io::ErrorKind::ReadOnlyFilesystem, "read-only")]
    {
        let failed = failure(&kind.into(), Path::new("/disk/a"));
        assert!(matches!(failed, Failure::Final(told) if told.contains(words)));
    }
}
