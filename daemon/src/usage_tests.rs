use protocol::UsageBy;

use super::*;

fn used(provider: &str, model: &str, app: &str) -> Used {
    Used {
        provider: provider.into(),
        model: ModelId(model.into()),
        app: app.into(),
        prompt_tokens: 1000,
        completion_tokens: 10,
    }
}

async fn rows(usage: &Usage, by: Vec<UsageBy>) -> Vec<(Option<String>, Option<String>, u64, u64)> {
    let report = usage.get(GetUsage { by, ..GetUsage::default() }).await.expect("a report");
    let row = |row: protocol::UsageRow| (row.provider.map(|id| id.0), row.app, row.requests, row.prompt_tokens);
    report.rows.into_iter().map(row).collect()
}

#[tokio::test]
async fn counts_outlive_the_daemon_and_are_told_apart_as_asked() {
    let home = tempfile::tempdir().expect("a folder");
    let usage = Usage::start(home.path());
    for (provider, app) in [("mlx", "notes"), ("mlx", "notes"), ("mlx", "mail"), ("gemini", "mail")] {
        usage.count(used(provider, "m", app));
    }
    let both = rows(&usage, vec![UsageBy::Provider, UsageBy::App]).await;
    let row =
        |provider: &str, app: &str, requests: u64| (Some(provider.into()), Some(app.into()), requests, requests * 1000);
    assert_eq!(both[0], row("mlx", "notes", 2));
    assert_eq!(both.len(), 3);
    drop(usage);
    let again = Usage::start(home.path());
    assert_eq!(rows(&again, Vec::new()).await, [(None, None, 4, 4000)]);
    let mode = std::fs::metadata(home.path().join("usage.sqlite3")).expect("a file").permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
}

#[tokio::test]
async fn a_file_that_is_damaged_is_told_and_a_new_one_is_begun_when_it_is_removed() {
    let home = tempfile::tempdir().expect("a folder");
    let path = home.path().join("usage.sqlite3");
    std::fs::write(&path, "this is no database, however long one looks at it".repeat(100)).expect("it is written");
    let usage = Usage::start(home.path());
    usage.count(used("mlx", "m", "notes"));
    let error = usage.get(GetUsage::default()).await.expect_err("it is damaged");
    assert_eq!(error.kind, Kind::StorageFailed);
    assert!(error.message.contains("usage.sqlite3") && error.message.contains("remove the file"), "{}", error.message);
    std::fs::remove_file(&path).expect("it is removed");
    usage.count(used("mlx", "m", "notes"));
    assert_eq!(rows(&usage, Vec::new()).await, [(None, None, 1, 1000)]);
}

#[tokio::test]
async fn a_file_of_a_newer_daemon_is_left_alone() {
    let home = tempfile::tempdir().expect("a folder");
    let path = home.path().join("usage.sqlite3");
    let newer = rusqlite::Connection::open(&path).expect("a database");
    newer.pragma_update(None, "user_version", 99).expect("it is set");
    drop(newer);
    let error = Usage::start(home.path()).get(GetUsage::default()).await.expect_err("it is newer");
    assert!(error.message.contains("newer talkied"), "{}", error.message);
}

#[tokio::test]
async fn days_have_bounds() {
    let home = tempfile::tempdir().expect("a folder");
    for days in [0, 401] {
        let request = GetUsage { days, ..GetUsage::default() };
        assert_eq!(Usage::start(home.path()).get(request).await.expect_err("out of bounds").kind, Kind::InvalidParams);
    }
}

#[test]
fn this_program_has_a_name() {
    let own = program(std::process::id() as i32).expect("a name");
    assert!(own.starts_with("talkied"), "{own}");
}
