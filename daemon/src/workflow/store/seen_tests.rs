use std::fs;

use jiff::Zoned;
use serde_json::Map;
use workflow::course::{Given, Texts};

use super::*;

fn new(workflow: &str) -> New {
    let given = Given::new(Map::new(), None, &Zoned::now());
    New { workflow: workflow.into(), cause: "a test".into(), texts: Texts::new(), given }
}

fn file(path: &str, inode: u64, written: i64) -> Stamp {
    Stamp { path: path.into(), inode, bytes: 3, written }
}

async fn begun(store: &Store, workflow: &str, stamp: &Stamp, hash: &str) -> Began {
    store.add_for(new(workflow), stamp.clone(), hash.into()).await.expect("it is written")
}

async fn count(store: &Store) -> u32 {
    store.waiting(None).await.expect("it is read")
}

#[tokio::test]
async fn a_file_has_one_run_until_it_says_something_else() {
    let home = tempfile::tempdir().expect("a folder");
    let store = Store::new(home.path());
    let first = file("/in/a", 1, 10);
    assert!(matches!(begun(&store, "w", &first, "one").await, Began::Run(_)));
    drop(store);
    // Another process, five times.
    let store = Store::new(home.path());
    for _ in 0..5 {
        assert_eq!(begun(&store, "w", &first, "one").await, Began::Same);
    }
    assert_eq!(begun(&store, "w", &file("/in/a", 2, 20), "one").await, Began::Same, "the same text in another file");
    assert_eq!(count(&store).await, 1);
    assert!(matches!(begun(&store, "w", &file("/in/a", 2, 30), "two").await, Began::Run(_)));
    assert!(matches!(begun(&store, "other", &first, "one").await, Began::Run(_)), "each workflow has its own");
    let seen = store.seen("w").await.expect("it is read");
    assert_eq!(seen, [file("/in/a", 2, 30).number()].into());
}

#[tokio::test]
async fn what_was_there_before_starts_nothing_until_it_changes() {
    let home = tempfile::tempdir().expect("a folder");
    let store = Store::new(home.path());
    assert!(!store.knows("w", "folder").await.expect("it is read"));
    store.begin("w", "folder", vec![file("/in/a", 1, 10)]).await.expect("it is written");
    assert!(store.knows("w", "folder").await.expect("it is read"));
    assert_eq!(begun(&store, "w", &file("/in/a", 7, 10), "x").await, Began::Same, "a disk that numbers files anew");
    assert!(matches!(begun(&store, "w", &file("/in/a", 1, 11), "x").await, Began::Run(_)));
    // Beginning once more forgets nothing of what was handled.
    store.begin("w", "another", vec![file("/in/a", 1, 12)]).await.expect("it is written");
    assert_eq!(begun(&store, "w", &file("/in/a", 1, 12), "x").await, Began::Same);
}

#[tokio::test]
async fn what_a_run_saved_starts_none_that_led_to_it() {
    let home = tempfile::tempdir().expect("a folder");
    let store = Store::new(home.path());
    let Began::Run(first) = begun(&store, "a", &file("/in/1", 1, 1), "1").await else { panic!("it begins") };
    store.claim(first.run.number().expect("a number"), Path::new("/in/2")).expect("it is written");
    assert_eq!(begun(&store, "a", &file("/in/2", 2, 1), "2").await, Began::Own);
    let Began::Run(second) = begun(&store, "b", &file("/in/2", 2, 1), "2").await else { panic!("it begins") };
    store.claim(second.run.number().expect("a number"), Path::new("/in/3")).expect("it is written");
    for workflow in ["a", "b"] {
        assert_eq!(begun(&store, workflow, &file("/in/3", 3, 1), "3").await, Began::Own, "{workflow}");
    }
    assert!(matches!(begun(&store, "c", &file("/in/3", 3, 1), "3").await, Began::Run(_)));
}

#[tokio::test]
async fn a_run_is_led_to_by_what_began_it_although_the_file_has_begun_another_since() {
    let home = tempfile::tempdir().expect("a folder");
    let store = Store::new(home.path());
    let Began::Run(first) = begun(&store, "a", &file("/in/1", 1, 1), "1").await else { panic!("it begins") };
    store.claim(first.run.number().expect("a number"), Path::new("/in/2")).expect("it is written");
    let Began::Run(second) = begun(&store, "b", &file("/in/2", 2, 1), "2").await else { panic!("it begins") };
    assert!(matches!(begun(&store, "b", &file("/in/2", 2, 2), "changed").await, Began::Run(_)));
    store.claim(second.run.number().expect("a number"), Path::new("/in/3")).expect("it is written");
    assert_eq!(begun(&store, "a", &file("/in/3", 3, 1), "3").await, Began::Own);
}

#[tokio::test]
async fn of_many_saved_files_none_that_is_there_is_forgotten() {
    let home = tempfile::tempdir().expect("a folder");
    let store = Store::new(home.path());
    let there = home.path().join("there");
    fs::write(&there, "x").expect("it is written");
    let Began::Run(run) = begun(&store, "w", &file("/in/1", 1, 1), "1").await else { panic!("it begins") };
    store.claim(run.run.number().expect("a number"), &there).expect("it is written");
    let many = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
        INSERT INTO saved (path, workflows) SELECT CAST('/no/such/' || i AS BLOB), '[\"w\"]' FROM n";
    store.with(|db| db.execute(many, [KEPT + 10])).await.expect("it is written");
    store.tidy(vec!["w".into()]).await.expect("it is written");
    let left = store.with(|db| db.query_row("SELECT count(*) FROM saved", [], |row| row.get::<_, u32>(0)));
    assert_eq!(left.await.expect("it is read"), KEPT + 1, "the old that are gone are forgotten");
    assert_eq!(begun(&store, "w", &file(there.to_str().expect("a text"), 2, 1), "x").await, Began::Own);
}

#[tokio::test]
async fn a_time_and_its_run_are_kept_and_what_nobody_needs_is_forgotten() {
    let home = tempfile::tempdir().expect("a folder");
    let store = Store::new(home.path());
    store.add_at(new("w"), "schedule", 42).await.expect("it is written");
    assert_eq!((store.served("w", "schedule").await.expect("it is read"), count(&store).await), (Some(42), 1));
    store.pass_by("w", file("/in/a", 1, 1)).await.expect("it is written");
    store.tidy(vec!["w".into()]).await.expect("it is written");
    assert_eq!(store.served("w", "schedule").await.expect("it is read"), Some(42));
    assert_eq!(store.seen("w").await.expect("it is read").len(), 1);
    store.tidy(vec!["other".into()]).await.expect("it is written");
    assert_eq!(store.served("w", "schedule").await.expect("it is read"), None);
    assert!(store.seen("w").await.expect("it is read").is_empty());
}

#[tokio::test]
async fn of_many_files_those_that_are_gone_from_their_folder_are_forgotten() {
    let home = tempfile::tempdir().expect("a folder");
    let store = Store::new(home.path());
    let there = home.path().join("there");
    fs::write(&there, "x").expect("it is written");
    let kept = [Stamp { path: there, ..file("", 1, 1) }, file("/no/such/disk/that/is/away", 1, 1)];
    let gone =
        (0..u64::from(KEPT)).map(|number| Stamp { path: home.path().join(number.to_string()), ..kept[0].clone() });
    let all = gone.chain(kept.clone()).collect();
    store.begin("w", "folder", all).await.expect("it is written");
    store.tidy(vec!["w".into()]).await.expect("it is written");
    let left = store.seen("w").await.expect("it is read");
    assert!(left.len() <= (KEPT + 4 - TIDIED) as usize, "{} are left", left.len());
    assert!(kept.iter().all(|stamp| left.contains(&stamp.number())));
}
