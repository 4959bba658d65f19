use super::*;

fn message(role: Role, content: &str) -> Message {
    Message { role, content: content.into() }
}

/// The words that refuse a conversation, empty when it is taken.
fn refusal(messages: &[Message]) -> String {
    let request = GenerateRequest { messages: Some(messages.to_vec()), ..GenerateRequest::default() };
    conversation(&request).err().map(|error| error.message).unwrap_or_default()
}

#[test]
fn a_conversation_is_taken_when_a_user_speaks_last() {
    let user = || message(Role::User, "hi");
    assert_eq!(refusal(&[user()]), "");
    assert_eq!(refusal(&[message(Role::System, "be kind"), user()]), "");
    assert!(refusal(&[user(), message(Role::Assistant, "hello")]).contains("must be of role `user`"));
    assert!(refusal(&[user(), message(Role::System, "late"), user()]).contains("only be the first"));
    assert!(refusal(&vec![user(); MOST_MESSAGES + 1]).contains("4097 entries"));
}

#[test]
fn request_ids_of_another_daemon_are_not_ours() {
    let mut generations = (0..2).map(|_| random() & 0xff_ffff);
    assert_ne!(generations.next(), generations.next(), "two daemons in a row have different names");
}

#[test]
fn seeds_stay_within_what_json_keeps() {
    for _ in 0..100 {
        let seed = random() % SEEDS;
        let through: f64 = serde_json::from_str(&seed.to_string()).unwrap();
        assert_eq!(through as u64, seed);
    }
}
