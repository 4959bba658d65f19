use protocol::ToolCall;
use serde_json::Map;

use super::*;

fn user() -> Message {
    Message::new(Role::User, "hi")
}

fn calls(ids: &[&str]) -> Message {
    let call = |id: &&str| ToolCall { id: (*id).into(), name: "f".into(), arguments: Map::new() };
    Message { tool_calls: ids.iter().map(call).collect(), ..Message::new(Role::Assistant, "") }
}

fn result(id: &str) -> Message {
    Message { tool_call_id: Some(id.into()), ..Message::new(Role::Tool, "22 °C") }
}

fn check(messages: &[Message]) -> Result<Vec<Message>, String> {
    let request = GenerateRequest { messages: Some(messages.to_vec()), ..GenerateRequest::default() };
    checked(&request).map_err(|error| error.message)
}

/// The words that refuse a conversation, empty when it is taken.
fn refusal(messages: &[Message]) -> String {
    check(messages).err().unwrap_or_default()
}

#[test]
fn a_conversation_is_taken_when_a_user_or_a_tool_speaks_last() {
    assert_eq!(refusal(&[user()]), "");
    assert_eq!(refusal(&[Message::new(Role::System, "be kind"), user()]), "");
    assert_eq!(refusal(&[user(), calls(&["1"]), result("1")]), "");
    assert!(refusal(&[user(), Message::new(Role::Assistant, "hello")]).contains("must be of role `user` or `tool`"));
    assert!(refusal(&[user(), Message::new(Role::System, "late"), user()]).contains("only be the first"));
    assert!(refusal(&vec![user(); MAX_MESSAGES + 1]).contains("4097 entries"));
}

#[test]
fn a_result_gets_the_name_of_the_tool_that_was_called() {
    let messages = check(&[user(), calls(&["1", "2"]), result("2"), result("1")]).unwrap();
    assert!(messages[2..].iter().all(|message| message.name.as_deref() == Some("f")));
}

#[test]
fn calls_and_results_that_do_not_belong_together_are_refused_by_their_place() {
    let wrong_name = Message { name: Some("g".into()), ..result("1") };
    let unnamed = Message { tool_call_id: None, ..result("1") };
    let mut odd = calls(&["1"]);
    odd.tool_calls[0].name = "a b".into();
    for (messages, words) in [
        (vec![user(), result("1")], "messages[1]: `tool_call_id` \"1\" is the id of no call before it"),
        (vec![user(), calls(&["1"]), result("1"), result("1")], "messages[3]: `tool_call_id` \"1\""),
        (vec![user(), calls(&["1"]), unnamed], "messages[2]: a message of role `tool` needs `tool_call_id`"),
        (vec![user(), calls(&["1"]), wrong_name], "call \"1\" is one of f, not of \"g\""),
        (vec![user(), calls(&["1", "1"]), user()], "messages[1]: two calls have the id \"1\""),
        (vec![user(), calls(&[""]), user()], "the id of a call has 0 bytes"),
        (vec![user(), odd, user()], "the name of call \"1\" is no name of a tool"),
        (vec![user(), calls(&vec!["1"; MAX_TOOLS + 1]), user()], "`tool_calls` has 129 entries"),
        (
            vec![Message { content: "hi".into(), role: Role::User, ..calls(&["1"]) }],
            "messages[0]: only messages of role `assistant` have `tool_calls`",
        ),
        (vec![Message { reasoning: Some("hm".into()), ..user() }], "of role `assistant` have `reasoning`"),
        (vec![Message { name: Some("bob".into()), ..user() }], "of role `tool` have `name`"),
        (vec![Message { tool_call_id: Some("1".into()), ..user() }], "of role `tool` have `tool_call_id`"),
    ] {
        let refusal = refusal(&messages);
        assert!(refusal.contains(words), "{words}: {refusal}");
    }
}
