use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::Limits;
use super::super::testing::{Client, MANY, PING, Server, matches, request, within};

const SOON: Duration = Duration::from_millis(50);

fn prompt(id: u32, prompt: &str) -> Vec<u8> {
    request(id, "generate.text", &json!({"prompt": prompt}))
}

fn stream(id: u32, prompt: &str) -> Vec<u8> {
    request(id, "generate.stream", &json!({"prompt": prompt}))
}

async fn expect(client: &mut Client, expected: Value) {
    let answer = client.answer().await;
    assert!(matches(&answer, &expected), "answered {answer}, expected {expected}");
}

/// Waits until a counter has not moved for a while, and tells it.
async fn until_still(counter: &std::sync::atomic::AtomicU32) -> u32 {
    within(async {
        loop {
            let before = counter.load(Ordering::SeqCst);
            tokio::time::sleep(SOON).await;
            if before > 0 && counter.load(Ordering::SeqCst) == before {
                return before;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_half_closed_client_gets_its_answers_and_the_end() {
    let server = Server::start(Limits::default());
    let mut client = server.connect().await;
    client.send(&[prompt(1, "wait"), PING.to_vec()].concat()).await;
    client.finish().await;
    expect(&mut client, json!({"id": "p", "result": "pong"})).await;
    server.seen.began.notified().await;
    server.seen.go_on.notify_one();
    assert!(matches(&json!(client.rest().await), &json!([{"id": 1, "result": "waited"}])));
}

#[tokio::test]
async fn events_past_the_task_and_events_through_it_come_in_order() {
    let server = Server::start(Limits::default());
    let mut client = server.connect().await;
    client.send(&stream(1, "many")).await;
    let begun = until_still(&server.seen.events).await;
    assert!(begun < MANY, "the client has read nothing yet");
    expect(&mut client, json!({"id": 1})).await;
    for event in 0..MANY {
        expect(&mut client, json!({"params": {"result": format!("event {event}")}})).await;
    }
    let passed = server.seen.passed.load(Ordering::SeqCst);
    assert!(passed > 0 && passed < MANY, "{passed} of {MANY} went past the task");
    client.send(PING).await;
    expect(&mut client, json!({"id": "p"})).await;
}

#[tokio::test]
async fn a_half_closed_client_gets_its_whole_stream() {
    let server = Server::start(Limits::default());
    let answers = server.answers(&stream(1, "short")).await;
    let event = |text: &str| json!({"method": "generate.event", "params": {"result": text}});
    let expected = json!([{"id": 1}, event("event 0"), event("event 1"), event("event 2")]);
    assert!(matches(&json!(answers), &expected), "{answers:#?}");
    assert_eq!(answers[1]["params"]["subscription"], answers[0]["result"]);
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_calls() {
    let server = Server::start(Limits::default());
    let mut client = server.connect().await;
    client.send(&prompt(1, "wait")).await;
    within(server.seen.began.notified()).await;
    drop(client);
    within(server.seen.ended.notified()).await;
    server.until_open(0).await;
}

#[tokio::test]
async fn a_client_that_goes_away_after_it_finished_sending_ends_its_calls() {
    let server = Server::start(Limits::default());
    let mut client = server.connect().await;
    client.send(&prompt(1, "wait")).await;
    client.finish().await;
    within(server.seen.began.notified()).await;
    drop(client);
    within(server.seen.ended.notified()).await;
}

#[tokio::test]
async fn a_client_that_goes_away_while_it_is_not_read_ends_its_calls() {
    let server = Server::start(Limits { in_flight: 1, ..Limits::default() });
    let mut client = server.connect().await;
    client.send(&[prompt(1, "wait"), PING.to_vec()].concat()).await;
    within(server.seen.began.notified()).await;
    drop(client);
    within(server.seen.ended.notified()).await;
    assert_eq!(server.seen.pings.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn calls_over_the_cap_wait_their_turn() {
    let server = Server::start(Limits { in_flight: 2, ..Limits::default() });
    let mut client = server.connect().await;
    client.send(&[prompt(1, "wait"), prompt(2, "wait"), PING.to_vec()].concat()).await;
    within(server.seen.began.notified()).await;
    assert_eq!(server.seen.pings.load(Ordering::SeqCst), 0);
    server.seen.go_on.notify_one();
    expect(&mut client, json!({"result": "waited"})).await;
    expect(&mut client, json!({"id": "p", "result": "pong"})).await;
}

#[tokio::test]
async fn a_fast_call_overtakes_a_slow_one() {
    let server = Server::start(Limits::default());
    let mut client = server.connect().await;
    client.send(&[prompt(1, "wait"), PING.to_vec()].concat()).await;
    expect(&mut client, json!({"id": "p"})).await;
    server.seen.go_on.notify_one();
    expect(&mut client, json!({"id": 1})).await;
}

#[tokio::test]
async fn notifications_are_executed_and_not_answered() {
    let server = Server::start(Limits::default());
    let silent = r#"{"jsonrpc":"2.0","method":"daemon.ping"}"#;
    let unknown = r#"{"jsonrpc":"2.0","method":"no.such","params":[1]}"#;
    let subscription = r#"{"jsonrpc":"2.0","method":"generate.stream","params":{"prompt":"flood"}}"#;
    let sent = [silent, unknown, silent, subscription].join("\n");
    assert_eq!(server.answers(sent.as_bytes()).await, [] as [Value; 0]);
    assert_eq!(server.seen.pings.load(Ordering::SeqCst), 2);
    assert_eq!(server.seen.events.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_unknown_method_is_named() {
    let server = Server::start(Limits::default());
    let mut client = server.connect().await;
    client.send(&request(1, "daemon.pings", &json!([1, 2]))).await;
    let data = json!({"message": "no method is called `daemon.pings`; did you mean daemon.ping?"});
    expect(&mut client, json!({"id": 1, "error": {"code": -32601, "data": data}})).await;
}

#[tokio::test]
async fn a_panic_fails_its_own_call_alone() {
    let server = Server::start(Limits::default());
    let mut client = server.connect().await;
    client.send(&[prompt(1, "wait"), prompt(2, "panic"), request(3, "daemon.status", &json!({}))].concat()).await;
    let error = json!({"code": -32603, "data": {"kind": "internal", "message": "~failed inside the daemon"}});
    expect(&mut client, json!({"id": 2, "error": error})).await;
    expect(&mut client, json!({"id": 3, "error": error})).await;
    client.send(PING).await;
    expect(&mut client, json!({"id": "p", "result": "pong"})).await;
    server.seen.go_on.notify_one();
    expect(&mut client, json!({"id": 1, "result": "waited"})).await;
}

#[tokio::test]
async fn an_error_of_a_method_arrives_as_it_was_made() {
    let server = Server::start(Limits::default());
    let answers = server.answers(&prompt(1, "fail")).await;
    let error = json!({"code": 1001, "message": "no such model", "data": {"kind": "model_not_found"}});
    assert_eq!(answers, [json!({"jsonrpc": "2.0", "id": 1, "error": error})]);
}

#[tokio::test]
async fn a_line_at_the_limit_is_served_and_one_over_it_ends_the_connection() {
    let limit = 100_000;
    let server = Server::start(Limits { message_bytes: limit, ..Limits::default() });
    let sized = |bytes: usize| {
        let mut line = prompt(1, "");
        let padding = "x".repeat(bytes + 1 - line.len());
        let place = line.len() - "\"}}\n".len();
        line.splice(place..place, padding.into_bytes());
        line
    };
    let mut client = server.connect().await;
    client.send(&sized(limit - 200)).await;
    assert_eq!(client.answer().await["result"].as_str().unwrap().len(), sized(limit - 200).len() - prompt(1, "").len());
    // The answer to a line at the limit would be over it by little; what counts is that the line was read.
    client.send(&sized(limit)).await;
    assert_eq!(client.answer().await["id"], 1);
    client.send(&[sized(limit + 1), PING.to_vec()].concat()).await;
    let error = json!({"code": -32007, "data": {"message": "a message may have 100000 bytes"}});
    assert!(matches(&json!(client.rest().await), &json!([{"id": null, "error": error}])));
    server.check_alive().await;
}

#[tokio::test]
async fn a_line_without_end_is_refused_at_the_limit_while_it_is_sent() {
    let server = Server::start(Limits { message_bytes: 100_000, ..Limits::default() });
    let mut client = server.connect().await;
    client.send(&[b"{".as_slice(), &vec![b'x'; 1 << 20]].concat()).await;
    assert!(matches(&json!(client.rest().await), &json!([{"error": {"code": -32007}}])));
}

#[tokio::test]
async fn half_a_message_and_silence_ends_the_connection() {
    let server = Server::start(Limits { line_timeout: SOON, ..Limits::default() });
    let mut client = server.connect().await;
    client.send(&[PING, b"{\"jsonrpc\":"].concat()).await;
    expect(&mut client, json!({"id": "p"})).await;
    let message = "~11 bytes, and no newline within 50ms";
    let expected = json!([{"id": null, "error": {"code": -32700, "data": {"message": message}}}]);
    let rest = json!(client.rest().await);
    assert!(matches(&rest, &expected), "{rest}");
    server.check_alive().await;
}

#[tokio::test]
async fn silence_between_messages_is_no_fault() {
    let server = Server::start(Limits { line_timeout: SOON, write_timeout: SOON, ..Limits::default() });
    let mut client = server.connect().await;
    for _ in 0..2 {
        client.send(PING).await;
        expect(&mut client, json!({"id": "p"})).await;
        // What is tested is that nothing happens in this time.
        tokio::time::sleep(4 * SOON).await;
    }
}

#[tokio::test]
async fn requests_over_the_shared_budget_are_busy() {
    let server = Server::start(Limits { held_bytes: 201 << 10, ..Limits::default() });
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    let mut long = request(1, "generate.text", &json!({"prompt": "wait", "trace_id": "x".repeat(200 << 10)}));
    first.send(&long).await;
    within(server.seen.began.notified()).await;
    second.send(&long).await;
    let busy = json!({"code": 3001, "data": {"kind": "busy", "retry_after_ms": 1000}});
    server.check_alive().await;
    // The second is refused while it arrives, for its memory counts from then on.
    assert!(matches(&json!(second.rest().await), &json!([{"id": null, "error": busy}])));
    server.seen.go_on.notify_one();
    expect(&mut first, json!({"id": 1, "result": "waited"})).await;
    long.splice(..0, PING.iter().copied());
    first.send(&long).await;
    expect(&mut first, json!({"id": "p"})).await;
    server.seen.go_on.notify_one();
    expect(&mut first, json!({"id": 1, "result": "waited"})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_reads_stops_its_stream_and_nobody_else() {
    let server = Server::start(Limits { outbox: 8, ..Limits::default() });
    let mut client = server.connect().await;
    client.send(&stream(1, "flood")).await;
    let events = until_still(&server.seen.events).await;
    // 8 in the outbox, 256 KiB in our buffer, the rest in the system's; an event has about a hundred bytes.
    assert!(events < 50_000, "{events} events are on the way to a client that reads none");
    server.check_alive().await;
    client.answer().await;
    for next in 0..u64::from(events) {
        assert_eq!(client.answer().await["params"]["result"], format!("event {next}"));
    }
    drop(client);
    within(server.seen.stream_ended.notified()).await;
}

#[tokio::test]
async fn a_client_that_never_reads_is_dropped_in_time() {
    let server = Server::start(Limits { outbox: 8, write_timeout: SOON, ..Limits::default() });
    let mut client = server.connect().await;
    client.send(&[prompt(1, "wait"), stream(2, "flood")].concat()).await;
    within(server.seen.stream_ended.notified()).await;
    within(server.seen.ended.notified()).await;
    server.until_open(0).await;
}

#[tokio::test]
async fn unsubscribing_ends_a_stream_and_its_events_come_before_the_answer() {
    let server = Server::start(Limits { outbox: 4, ..Limits::default() });
    let mut client = server.connect().await;
    client.send(&stream(1, "flood")).await;
    let subscription = client.answer().await["result"].clone();
    client.send(&request(2, "generate.unsubscribe", &json!([subscription]))).await;
    let mut last = client.answer().await;
    while last["id"] != 2 {
        last = client.answer().await;
    }
    assert_eq!(last["result"], true);
    within(server.seen.stream_ended.notified()).await;
}

#[tokio::test]
async fn subscriptions_of_one_connection_are_counted() {
    let server = Server::start(Limits { subscriptions: 1, ..Limits::default() });
    let mut client = server.connect().await;
    client.send(&stream(1, "flood")).await;
    expect(&mut client, json!({"id": 1})).await;
    client.send(&stream(2, "flood")).await;
    let mut answer = client.answer().await;
    while answer["id"] != 2 {
        answer = client.answer().await;
    }
    assert_eq!(answer["error"]["code"], -32006);
}

#[tokio::test]
async fn many_requests_in_one_write_are_all_answered() {
    let server = Server::start(Limits::default());
    let mut client = server.connect().await;
    let mut answers = 0;
    client.send(&PING.repeat(5000)).await;
    client.finish().await;
    while client.next().await.is_some() {
        answers += 1;
    }
    assert_eq!(answers, 5000);
}
