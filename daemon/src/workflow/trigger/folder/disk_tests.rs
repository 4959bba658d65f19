use std::os::unix::fs::symlink;

use super::*;

fn pattern(written: &str) -> Pattern {
    let text = format!(
        "[[trigger]]\nfolder = {{ path = \"/in\", pattern = \"{written}\" }}\n[[step]]\ntransform = {{ split = \" \" }}\n"
    );
    let text = text.replace("split", "from = \"TITLE\", split");
    let workflow = workflow::Workflow::read("w", &text).expect("nothing is wrong");
    match &workflow.triggers[0].value {
        workflow::Trigger::Folder(folder) => folder.pattern.clone(),
        other => panic!("{other:?}"),
    }
}

fn names(listing: &Listing) -> Vec<&str> {
    listing.new.iter().filter_map(|stamp| stamp.path.file_name()?.to_str()).collect()
}

fn only(folder: &Path) -> Stamp {
    let listed = list(folder, &pattern("*"), &mut HashSet::new(), 10).expect("it is read");
    listed.new.into_iter().next().expect("it is there")
}

#[test]
fn only_whole_files_of_the_folder_itself_are_listed_once() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["a.txt", "b.md", ".c.txt", "d.txt~", "e.TMP", "f.part", "g.crdownload"] {
        fs::write(folder.path().join(name), name).expect("it is written");
    }
    fs::create_dir(folder.path().join("h.txt")).expect("it is made");
    symlink("/etc/passwd", folder.path().join("i.txt")).expect("it is linked");
    let listed = list(folder.path(), &pattern("*"), &mut HashSet::new(), 10).expect("it is read");
    assert_eq!(names(&listed), ["a.txt", "b.md"]);
    // The other is of a file that has gone.
    let mut seen = HashSet::from([listed.new[0].number(), 7]);
    assert_eq!(names(&list(folder.path(), &pattern("*"), &mut seen, 10).expect("it is read")), ["b.md"]);
    assert_eq!(seen, [listed.new[0].number()].into());
    assert_eq!(names(&list(folder.path(), &pattern("*.txt"), &mut HashSet::new(), 10).expect("it is read")), ["a.txt"]);
    let missing = list(&folder.path().join("none"), &pattern("*"), &mut HashSet::new(), 10);
    assert_eq!(missing.expect_err("it is not there").kind(), io::ErrorKind::NotFound);
}

#[test]
fn of_many_files_the_oldest_are_listed_first() {
    let folder = tempfile::tempdir().expect("a folder");
    for number in [3_u64, 1, 2] {
        let file = fs::File::create(folder.path().join(number.to_string())).expect("it is made");
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(number);
        file.set_modified(time).expect("it is changed");
    }
    let listed = list(folder.path(), &pattern("*"), &mut HashSet::new(), 2).expect("it is read");
    assert_eq!((names(&listed), listed.more), (vec!["1", "2"], true));
}

#[test]
fn a_file_is_read_as_it_was_seen_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a");
    fs::write(&path, "text").expect("it is written");
    let seen = only(folder.path());
    let (text, hash) = read(&seen, 4).expect("it is fit");
    assert_eq!((&*text, hash.len()), ("text", 64));
    assert!(matches!(read(&seen, 3), Err(Unfit::Never(words)) if words.contains("4 bytes, more than the 3")));
    fs::write(&path, "longer text").expect("it is written");
    assert!(matches!(read(&seen, 100), Err(Unfit::Later)), "it is another now");
    fs::write(&path, [0xff]).expect("it is written");
    assert!(matches!(read(&only(folder.path()), 100), Err(Unfit::Never(words)) if words.contains("UTF-8")));
    let seen = only(folder.path());
    fs::remove_file(&path).expect("it is removed");
    assert!(matches!(read(&seen, 100), Err(Unfit::Gone)), "it vanishes between sign and read");
    symlink("/etc/passwd", &path).expect("it is linked");
    assert!(read(&seen, 100).is_err(), "a link is not followed");
}
