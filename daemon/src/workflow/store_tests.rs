use jiff::Zoned;
use protocol::{RunChange, RunId};
use serde_json::{Map, json};
use workflow::course::{Given, Texts};

use super::*;

fn new(workflow: &str) -> New {
    let texts = Texts::from([(workflow.to_owned(), "text".to_owned())]);
    let given = Given::new(Map::from_iter([("a".to_owned(), json!(1))]), None, &Zoned::now());
    New { workflow: workflow.into(), cause: "by hand".into(), texts, given }
}

fn ended(state: RunState) -> Vec<Change> {
    vec![Change::state(state, None)]
}

async fn added(store: &Store, workflow: &str) -> u64 {
    let run = store.add(new(workflow)).await.expect("it is written");
    run.run.number().expect("it has a number")
}

#[tokio::test]
async fn what_was_appended_is_there_after_another_start() {
    let home = tempfile::tempdir().expect("a folder");
    let store = Store::new(home.path());
    let run = added(&store, "memo").await;
    let done = RunChange::Done {
        place: "1".into(),
        output: json!("x"),
        prompt_tokens: 3,
        completion_tokens: 4,
        cost_usd: Some(0.5),
        duration_ms: 6,
    };
    let changes =
        vec![Change::state(RunState::Running, None), Change::Entry(done.clone()), Change::Entry(done.clone())];
    store.append(run, changes).await.expect("it is written");
    drop(store);
    let store = Store::new(home.path());
    let kept = store.kept(run).await.expect("it is read").expect("it is there");
    assert_eq!(kept.log, [RunChange::State { state: RunState::Running, why: None }, done.clone(), done]);
    assert_eq!((kept.run.state, kept.run.prompt_tokens, kept.run.completion_tokens), (RunState::Running, 6, 8));
    assert_eq!(kept.run.cost_usd, Some(1.0));
    assert_eq!((kept.texts["memo"].as_str(), &kept.given.inputs["a"]), ("text", &json!(1)));
    assert_eq!(store.unfinished().await.expect("it is read").len(), 1);
}

#[tokio::test]
async fn a_state_is_turned_only_from_where_it_was_meant() {
    let home = tempfile::tempdir().expect("a folder");
    let store = Store::new(home.path());
    let run = added(&store, "memo").await;
    let turn = async |from| store.turn(run, from, ended(RunState::Cancelled)).await.expect("it is written");
    assert!(turn(&[RunState::Running]).await.is_some_and(|(run, turned)| !turned && run.state == RunState::Waiting));
    assert!(turn(&[RunState::Waiting]).await.is_some_and(|(run, turned)| turned && run.state == RunState::Cancelled));
    assert!(turn(&[RunState::Waiting]).await.is_some_and(|(_, turned)| !turned));
    assert!(store.turn(99, &[RunState::Waiting], ended(RunState::Cancelled)).await.expect("it is read").is_none());
}

#[tokio::test]
async fn runs_at_rest_are_forgotten_and_others_are_not() {
    let home = tempfile::tempdir().expect("a folder");
    let store = Store::new(home.path());
    let (waits, mut rest) = (added(&store, "memo").await, Vec::new());
    for _ in 0..4 {
        let run = added(&store, "memo").await;
        store.append(run, ended(RunState::Finished)).await.expect("it is written");
        rest.push(run);
    }
    store.with(|db| rows::forget(db, 2, 30)).await.expect("it is written");
    let listed = store.list(Wanted { workflow: None, state: None, limit: 10 }).await.expect("it is read");
    assert_eq!(listed.iter().map(|run| run.run.clone()).collect::<Vec<_>>(), [rest[3], rest[2], waits].map(RunId::of));
    let old =
        |db: &mut Connection| db.execute("UPDATE runs SET ended = '2000-01-01T00:00:00Z' WHERE ended IS NOT NULL", []);
    store.with(old).await.expect("it is written");
    store.with(|db| rows::forget(db, 10, 30)).await.expect("it is written");
    assert_eq!(store.list(Wanted { workflow: None, state: None, limit: 10 }).await.expect("it is read").len(), 1);
    let logged: i64 =
        store.with(|db| db.query_row("SELECT count(*) FROM log", [], |row| row.get(0))).await.expect("it is read");
    assert_eq!(logged, 0, "their logs went with them");
    let next = added(&store, "memo").await;
    assert!(next > rest[3], "numbers are never used again");
}

#[tokio::test]
async fn news_come_in_order_of_one_run_or_of_all() {
    let home = tempfile::tempdir().expect("a folder");
    let store = Store::new(home.path());
    let (a, b) = (added(&store, "a").await, added(&store, "b").await);
    for run in [a, b, a] {
        store.append(run, ended(RunState::Running)).await.expect("it is written");
    }
    let (all, last) = store.news(None, 0).await.expect("it is read");
    let told: Vec<(&str, u64)> = all.iter().map(|event| (&*event.workflow, event.entry.seq)).collect();
    assert_eq!(told, [("a", 1), ("b", 1), ("a", 2)]);
    assert_eq!(store.news(None, last).await.expect("it is read").0, []);
    let from = store.place(Some(a), Some(1)).await.expect("it is read");
    let (of_a, _) = store.news(Some(a), from).await.expect("it is read");
    assert_eq!(of_a.iter().map(|event| event.entry.seq).collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn a_log_that_is_long_is_read_in_parts() {
    let home = tempfile::tempdir().expect("a folder");
    let store = Store::new(home.path());
    let run = added(&store, "memo").await;
    let long = "x".repeat(1 << 20);
    for place in 0..8 {
        let done = Change::Entry(RunChange::done(&place.to_string(), json!(long)));
        store.append(run, vec![done]).await.expect("it is written");
    }
    let first = store.page(run, 0).await.expect("it is read").expect("it is there");
    assert!(first.more && first.log.len() < 8);
    let rest = store.page(run, first.log.len() as u64).await.expect("it is read").expect("it is there");
    assert_eq!((first.log.len() + rest.log.len(), rest.more), (8, false));
}

#[tokio::test]
async fn a_newer_file_is_refused_in_words_and_a_damaged_one_is_set_aside() {
    let home = tempfile::tempdir().expect("a folder");
    let file = home.path().join("workflows.sqlite3");
    fs::write(&file, "no database ".repeat(1000)).expect("it is written");
    added(&Store::new(home.path()), "memo").await;
    let names: Vec<_> =
        fs::read_dir(home.path()).expect("a folder").map(|entry| entry.expect("a file").file_name()).collect();
    assert!(names.iter().any(|name| name.to_string_lossy().contains(".damaged-")), "{names:?}");
    assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
    Connection::open(&file).and_then(|db| db.pragma_update(None, "user_version", 7)).expect("it is written");
    let error = Store::new(home.path()).unfinished().await.expect_err("it is newer");
    assert!(
        error.kind == Kind::StorageFailed && error.message.contains("newer talkied (version 7"),
        "{}",
        error.message
    );
}
