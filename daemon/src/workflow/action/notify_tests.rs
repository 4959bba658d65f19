use super::*;

fn notice(title: &str, text: &str) -> Notice {
    Notice { title: title.into(), text: text.into() }
}

#[tokio::test]
async fn a_notification_without_a_title_is_none() {
    let shown = show(notice(" \u{7} ", "x"), |_| None, &CancellationToken::new()).await;
    assert!(matches!(shown, Err(Failure::Final(words)) if words.contains("`title`")));
}

#[test]
fn texts_are_plain_and_bounded() {
    assert_eq!(plain("a\u{1b}[31mb\nc\0", 10), "a[31mb\nc");
    assert_eq!(plain("üüüü", 3), "üüü…");
}

#[cfg(not(target_os = "macos"))]
mod elsewhere {
    use std::ffi::OsString;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;

    /// A folder with a program in the place of notify-send.
    fn with(script: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify-send");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("it is written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is changed");
        folder
    }

    async fn shown(folder: &Path, notice: Notice) -> Result<(), Failure> {
        let path = std::env::join_paths([folder]).expect("a PATH");
        let environment = |name: &str| -> Option<OsString> {
            match name {
                "PATH" => Some(path.clone()),
                "XDG_RUNTIME_DIR" => Some("/run/here".into()),
                _ => None,
            }
        };
        show(notice, environment, &CancellationToken::new()).await
    }

    #[tokio::test]
    async fn texts_are_arguments_and_no_markup() {
        let folder = with("");
        let told = folder.path().join("told");
        let script = format!("printf '%s\\n' \"$XDG_RUNTIME_DIR\" \"$@\" > {}", told.display());
        fs::write(folder.path().join("notify-send"), format!("#!/bin/sh\n{script}\n")).expect("it is written");
        shown(folder.path(), notice("--help $(id)", "a <b> & c\n'; exit")).await.expect("it is shown");
        let told = fs::read_to_string(told).expect("it was called");
        assert_eq!(told, "/run/here\n--app-name=talkied\n--\n--help $(id)\na &lt;b&gt; &amp; c\n'; exit\n");
    }

    #[tokio::test]
    async fn where_none_can_be_shown_it_is_told_for_good() {
        let none = tempfile::tempdir().expect("a folder");
        let failed = shown(none.path(), notice("x", "")).await;
        assert!(matches!(failed, Err(Failure::Final(words)) if words.contains("no notify-send")));
        let broken = with("echo no bus >&2; exit 1");
        let failed = shown(broken.path(), notice("x", "")).await;
        assert!(matches!(failed, Err(Failure::Final(words)) if words.contains("no bus")));
    }
}
