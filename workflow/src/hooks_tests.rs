use super::*;
use crate::file::EventKind;

#[test]
fn hooks_are_read() {
    let text = r#"
        [[hook]]
        on = ["model_loaded", "memory_pressure"]
        command = ["logger", "a model"]
        timeout = "5s"
        [[hook]]
        on = ["pull_failed"]
        webhook = { url = "https://example.org/x", bearer = "team", hmac = { secret = "sign", header = "X-Signature" } }
    "#;
    let hooks = read(text).expect("nothing is wrong");
    assert_eq!(hooks[0].on, [EventKind::ModelLoaded, EventKind::MemoryPressure]);
    assert_eq!(hooks[0].command.as_deref(), Some(&["logger".to_owned(), "a model".to_owned()][..]));
    assert_eq!(hooks[0].timeout.0, Duration::from_secs(5));
    assert_eq!(hooks[1].webhook.as_ref().map(|webhook| &*webhook.url), Some("https://example.org/x"));
    assert!(read("").expect("a file without hooks is one").is_empty());
}

#[test]
fn all_that_is_wrong_is_told_with_its_place() {
    let text = "[[hook]]\non = [\"model_loadd\"]\ncommand = [\"a\"]\n\n[[hook]]\non = [\"model_added\"]\n\n[[hook]]\n\
                on = []\ncommand = []\n\n[[hook]]\non = [\"model_added\"]\nwebhook = { url = \"ftp://x\", bearer = \"A b\" }\n\
                [[hook]]\non = [\"model_added\"]\ncomand = [\"a\"]\n";
    let problems = read(text).expect_err("much is wrong");
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    for (line, words) in [
        (2, "did you mean \"model_loaded\"?"),
        (5, "either `command` or `webhook`"),
        (8, "no event in `on`"),
        (8, "names no program"),
        (12, "neither with https:// nor"),
        (14, "can be no name"),
        (17, "did you mean `command`?"),
    ] {
        let is_told = problems.iter().any(|problem| problem.line == line && problem.message.contains(words));
        assert!(is_told, "line {line}: {words} is not among {told:#?}");
    }
}
