use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

fn said() -> Conversation {
    let mut conversation = Conversation { model: Some(ModelId("org/x".into())), ..Conversation::default() };
    conversation.ask("a".into());
    conversation.answered("b".into());
    conversation.ask("c".into());
    conversation.broke_off("d".into());
    conversation
}

fn messages(conversation: &Conversation) -> Vec<(Role, String)> {
    let request = conversation.request(&GenerateRequest::default());
    request.messages.unwrap_or_default().into_iter().map(|message| (message.role, message.content)).collect()
}

#[test]
fn a_question_without_a_word_of_an_answer_is_taken_back_and_can_be_asked_again() {
    let mut conversation = said();
    conversation.ask("e".into());
    conversation.broke_off(String::new());
    assert_eq!(messages(&conversation).len(), 4);
    assert_eq!(conversation.take_last_question().as_deref(), Some("e"));
    assert_eq!(conversation.take_last_question().as_deref(), Some("c"));
    assert_eq!(messages(&conversation), [(Role::User, "a".into()), (Role::Assistant, "b".into())]);
    assert_eq!(conversation.take_last_question().as_deref(), Some("a"));
    assert_eq!(conversation.take_last_question(), None);
}

#[test]
fn what_is_saved_comes_back_and_only_its_user_can_read_it() {
    let home = TempDir::new().expect("a directory");
    let file = home.path().join("saved.json");
    said().save(&file).expect("saved");
    let mode = fs::metadata(&file).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let json: Value = serde_json::from_str(&fs::read_to_string(&file).expect("text")).expect("JSON");
    let turn = |role: &str, content: &str| json!({"role": role, "content": content});
    let broken = json!({"role": "assistant", "content": "d", "broken_off": true});
    let expected = [turn("user", "a"), turn("assistant", "b"), turn("user", "c"), broken];
    assert_eq!(json, json!({"version": 1, "model": "org/x", "system": null, "messages": expected}));
    assert_eq!(Conversation::load(&file).expect("loaded"), Conversation { version: 1, ..said() });
    said().save(&file).expect("a saved conversation is written over");
    assert_eq!(fs::read_dir(home.path()).expect("a directory").count(), 1, "nothing is left beside it");
}

#[track_caller]
fn refused(text: &str, words: &str) {
    let home = TempDir::new().expect("a directory");
    let file = home.path().join("other.json");
    fs::write(&file, text).expect("a file");
    let Err(Failure::Usage { message, .. }) = Conversation::load(&file) else { panic!("{text} was taken") };
    assert!(message.contains("other.json") && message.contains(words), "{message}");
    let Err(Failure::Usage { message, .. }) = said().save(&file) else { panic!("{text} was written over") };
    assert!(message.contains("is there already"), "{message}");
    assert_eq!(fs::read_to_string(&file).expect("text"), text);
}

#[test]
fn files_that_are_no_conversations_are_refused_by_name_and_never_written_over() {
    refused("notes", "is no saved conversation");
    refused(r#"{"messages":[]}"#, "missing field `version`");
    refused(r#"{"version":2,"messages":[]}"#, "is of version 2, this talkiectl reads 1");
    refused(r#"{"version":1,"messages":[],"colour":1}"#, "unknown field `colour`");
    refused(r#"{"version":1,"messages":[{"role":"assistant","content":"b"}]}"#, "message 1 is not of the side");
    refused(r#"{"version":1,"messages":[{"role":"user","content":"b"}]}"#, "its last question has no answer");
}

#[test]
fn a_folder_that_is_not_there_is_said() {
    let Err(Failure::Usage { message, .. }) = said().save(Path::new("/no/such/folder/x.json")) else { panic!("saved") };
    assert!(message.contains("/no/such/folder/x.json"), "{message}");
}

#[test]
fn a_full_context_is_told_with_the_tokens_that_must_go() {
    assert!(of_overflow(Some(12)).contains("/clear begins anew") && of_overflow(Some(12)).contains("by 12 tokens"));
}
