use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use super::*;

const SOUND: &str = "[[step]]\nllm = { prompt = \"x\" }";

fn home() -> (tempfile::TempDir, Arc<Directory>) {
    let home = tempfile::tempdir().expect("a folder");
    fs::create_dir(home.path().join(NAME)).expect("a folder");
    fs::set_permissions(home.path().join(NAME), Permissions::from_mode(0o700)).expect("its mode");
    let directory = Arc::new(Directory::new(home.path()));
    (home, directory)
}

fn put(directory: &Directory, file: &str, text: &str) -> PathBuf {
    let path = directory.folder().join(file);
    fs::write(&path, text).expect("it is written");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("its mode");
    path
}

async fn problem(directory: &Arc<Directory>, name: &str) -> String {
    let snapshot = directory.look().await.expect("a look");
    snapshot.runnable(name).map_or_else(|error| error.message, |_| String::new())
}

#[tokio::test]
async fn only_files_with_the_name_of_a_workflow_are_read() {
    let (_home, directory) = home();
    for file in ["memo.toml", "README.md", ".hidden.toml", "two words.toml", "a.txt"] {
        put(&directory, file, SOUND);
    }
    fs::create_dir(directory.folder().join("folder.toml")).expect("a folder");
    let snapshot = directory.look().await.expect("a look");
    assert_eq!(snapshot.entries.keys().collect::<Vec<_>>(), ["folder", "memo"]);
    assert!(problem(&directory, "folder").await.contains("is a folder"));
    assert_eq!(problem(&directory, "memo").await, "");
    assert!(problem(&directory, "meno").await.contains("did you mean \"memo\"?"));
}

#[tokio::test]
async fn what_others_could_change_is_not_run() {
    let (_home, directory) = home();
    let path = put(&directory, "memo.toml", SOUND);
    for mode in [0o620, 0o602, 0o666] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("its mode");
        assert!(problem(&directory, "memo").await.contains("chmod go-w"), "{mode:o}");
    }
    fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("its mode");
    assert_eq!(problem(&directory, "memo").await, "");
    fs::set_permissions(directory.folder(), Permissions::from_mode(0o777)).expect("its mode");
    assert!(problem(&directory, "memo").await.contains("chmod go-w"));
}

#[tokio::test]
async fn a_file_is_read_again_when_it_has_changed_and_only_then() {
    let (_home, directory) = home();
    put(&directory, "memo.toml", SOUND);
    let first = directory.look().await.expect("a look");
    let same = directory.look().await.expect("a look");
    assert!(Arc::ptr_eq(&first, &same));
    put(&directory, "memo.toml", "step = 7");
    assert!(problem(&directory, "memo").await.contains("line 1"));
    fs::remove_file(directory.folder().join("memo.toml")).expect("it is removed");
    assert!(directory.look().await.expect("a look").entries.is_empty());
}

#[tokio::test]
async fn a_large_file_and_one_that_is_no_text_are_problems_of_their_own() {
    let (_home, directory) = home();
    put(&directory, "large.toml", &"#".repeat(MOST_FILE_BYTES + 1));
    fs::write(directory.folder().join("bytes.toml"), [0xff, 0xfe]).expect("it is written");
    put(&directory, "memo.toml", SOUND);
    assert!(problem(&directory, "large").await.contains("are the most"));
    assert!(problem(&directory, "bytes").await.contains("no text"));
    assert_eq!(problem(&directory, "memo").await, "");
}

#[tokio::test]
async fn a_workflow_goes_by_those_that_it_calls() {
    let (_home, directory) = home();
    let call = |name| format!("[[step]]\nworkflow = {{ name = \"{name}\" }}");
    put(&directory, "a.toml", &call("b"));
    put(&directory, "b.toml", &call("c"));
    put(&directory, "c.toml", SOUND);
    let snapshot = directory.look().await.expect("a look");
    let (_, texts) = snapshot.runnable("a").expect("it can run");
    assert_eq!(texts.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    put(&directory, "c.toml", &call("a"));
    assert!(problem(&directory, "a").await.contains("never ends"));
    put(&directory, "c.toml", "nothing");
    assert!(!problem(&directory, "b").await.is_empty());
}

#[tokio::test]
async fn changes_are_noticed_also_of_a_folder_that_was_not_there() {
    let home = tempfile::tempdir().expect("a folder");
    let directory = Arc::new(Directory::new(home.path()));
    let stop = CancellationToken::new();
    let mut seen = directory.follow();
    let watching = tokio::spawn(watch(Arc::clone(&directory), stop.clone()));
    tokio::time::sleep(Duration::from_millis(50)).await;
    fs::create_dir(directory.folder()).expect("a folder");
    fs::set_permissions(directory.folder(), Permissions::from_mode(0o700)).expect("its mode");
    put(&directory, "memo.toml", SOUND);
    let found = seen.wait_for(|snapshot| snapshot.entries.contains_key("memo"));
    tokio::time::timeout(Duration::from_secs(10), found).await.expect("it is noticed").expect("it is watched");
    put(&directory, "next.toml", SOUND);
    let found = seen.wait_for(|snapshot| snapshot.entries.contains_key("next"));
    tokio::time::timeout(Duration::from_secs(10), found).await.expect("it is noticed").expect("it is watched");
    stop.cancel();
    watching.await.expect("it ends");
}
