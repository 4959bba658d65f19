//! The library: calls, streams, and how a connection can go wrong.

use protocol::rpc::{DaemonClient, DiscoverClient, GenerateClient, ModelsClient};
use protocol::{
    CancelRequest, GenerateEvent, GenerateRequest, Kind, LoadModel, MAX_MESSAGE_BYTES, ModelChange, ModelId, PullState,
    RequestId, SubscribeModels, SubscribePulls,
};
use serde_json::{Value, json};
use talkiectl::{Client, Error};

use crate::fake::{Call, Fake, gate};

fn prompt() -> GenerateRequest {
    GenerateRequest { prompt: Some("hello".into()), ..GenerateRequest::default() }
}

/// What an answer's stream ends with.
async fn end_of_stream(script: impl Fn(&mut Call) + Send + Sync + 'static) -> Result<Vec<GenerateEvent>, Error> {
    let fake = Fake::new(script);
    let client = Client::connect(&fake.socket).await?;
    let mut answer = client.generate(&prompt()).await?;
    let mut events = Vec::new();
    while let Some(event) = answer.next().await? {
        events.extend(event.event);
    }
    Ok(events)
}

#[tokio::test]
async fn the_generated_traits_work_on_a_client() {
    let fake = Fake::new(|call| match call.method() {
        "daemon.ping" => call.result(&json!({"version": "1", "protocol": 1, "pid": 7})),
        "rpc.discover" => call.result(&json!({"openrpc": "1.3.2"})),
        "generate.cancel" => call.result(&json!({"cancelled": true})),
        "models.list" => call.result(&json!({"models": []})),
        other => panic!("{other} was not expected"),
    });
    let client = Client::connect(&fake.socket).await.expect("a connection");
    assert_eq!(client.ping().await.expect("a pong").pid, 7);
    assert_eq!(client.discover().await.expect("a document")["openrpc"], "1.3.2");
    let request = CancelRequest { request_id: RequestId("req_1".into()) };
    assert!(client.cancel(request).await.expect("an answer").cancelled);
    assert!(client.list().await.expect("a list").models.is_empty());
}

#[tokio::test]
async fn a_load_may_take_hours() {
    let fake = Fake::new(|_| ());
    let client = Client::connect(&fake.socket).await.expect("a connection");
    assert!(client.request_timeout().as_secs() >= 24 * 3600);
}

#[tokio::test]
async fn an_error_carries_its_kind_and_numbers() {
    let fake = Fake::new(|call| {
        call.error(3001, &json!({"kind": "busy", "message": "8 wait", "retry_after_ms": 900, "queue_length": 8}));
    });
    let client = Client::connect(&fake.socket).await.expect("a connection");
    let load = LoadModel { model: ModelId("org/x".into()), keep_alive: None };
    let Err(Error::Rpc { code: 3001, kind: Some(Kind::Busy), message, data: Some(data) }) =
        client.load(load).await.map_err(Error::from)
    else {
        panic!("busy was answered")
    };
    assert_eq!((&*message, data.retry_after_ms, data.queue_length), ("8 wait", Some(900), Some(8)));
}

#[tokio::test]
async fn an_error_without_data_is_told_by_its_code() {
    let fake = Fake::new(|call| {
        let id = call.call["id"].clone();
        call.raw(&format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":1001,\"message\":\"gone\"}}}}\n"));
    });
    let client = Client::connect(&fake.socket).await.expect("a connection");
    let error = Error::from(client.ping().await.expect_err("an error was answered"));
    assert!(matches!(error, Error::Rpc { kind: Some(Kind::ModelNotFound), .. }), "{error:?}");
}

#[tokio::test]
async fn nobody_listening_is_told_from_other_trouble() {
    let home = tempfile::tempdir().expect("a directory");
    let absent = Client::connect(&home.path().join("talkied.sock")).await.expect_err("there is no socket");
    assert!(matches!(absent, Error::NotRunning { .. }), "{absent:?}");

    let stale = home.path().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).expect("a socket"));
    let refused = Client::connect(&stale).await.expect_err("its daemon has died");
    assert!(matches!(refused, Error::NotRunning { .. }), "{refused:?}");

    let long = Client::connect(&home.path().join("x".repeat(200))).await.expect_err("the path is too long");
    assert!(matches!(long, Error::Io { .. }) && long.to_string().contains("at most"), "{long}");
}

#[tokio::test]
async fn garbage_is_a_protocol_error() {
    for garbage in ["hello\n", "{}\n", "[]\n", "{\"jsonrpc\":\"2.0\",\"id\":99,\"result\":1}\n", "HTTP/1.1 400\r\n\r\n"]
    {
        let fake = Fake::new(move |call| call.raw(garbage));
        let client = Client::connect(&fake.socket).await.expect("a connection");
        let error = Error::from(client.ping().await.expect_err("that is no answer"));
        assert!(matches!(error, Error::Protocol(_)), "{garbage:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_result_of_another_shape_is_a_protocol_error() {
    let fake = Fake::new(|call| call.result(&json!({"pong": true})));
    let client = Client::connect(&fake.socket).await.expect("a connection");
    let error = Error::from(client.ping().await.expect_err("that is no pong"));
    assert!(matches!(error, Error::Protocol(_)), "{error:?}");
}

#[tokio::test]
async fn an_endless_line_is_a_protocol_error() {
    let fake = Fake::new(|call| call.raw(&"x".repeat(MAX_MESSAGE_BYTES + 2)));
    let client = Client::connect(&fake.socket).await.expect("a connection");
    let error = Error::from(client.ping().await.expect_err("that is no answer"));
    assert!(matches!(&error, Error::Protocol(why) if why.contains("longer")), "{error:?}");
}

#[tokio::test]
async fn a_refusal_without_an_id_keeps_its_code() {
    let fake = Fake::new(|call| {
        call.raw("{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32007,\"message\":\"message too long\"}}\n");
        call.hang_up();
    });
    let client = Client::connect(&fake.socket).await.expect("a connection");
    let error = Error::from(client.ping().await.expect_err("it was refused"));
    assert!(matches!(error, Error::Rpc { code: -32007, .. }), "{error:?}");
}

#[tokio::test]
async fn a_call_cut_off_is_lost() {
    let fake = Fake::new(Call::hang_up);
    let client = Client::connect(&fake.socket).await.expect("a connection");
    let error = Error::from(client.ping().await.expect_err("nobody answers"));
    assert!(matches!(error, Error::Lost), "{error:?}");
}

#[tokio::test]
async fn a_prompt_past_the_limit_is_not_sent() {
    let fake = Fake::new(|_| panic!("nothing may be sent"));
    let client = Client::connect(&fake.socket).await.expect("a connection");
    let request = GenerateRequest { prompt: Some("x".repeat(MAX_MESSAGE_BYTES)), ..prompt() };
    let error = client.generate(&request).await.expect_err("it is too long");
    assert!(matches!(error, Error::TooLong { bytes } if bytes > MAX_MESSAGE_BYTES), "{error:?}");
}

#[tokio::test]
async fn a_stream_ends_with_its_last_event() {
    let events = end_of_stream(|call| {
        call.subscribed();
        call.event(&json!({"type": "from the future"}));
        call.text("a");
        call.finished("stop");
        call.text("never read");
    })
    .await
    .expect("a whole answer");
    assert!(matches!(&events[..], [GenerateEvent::Text { .. }, GenerateEvent::Finished { .. }]), "{events:?}");
}

#[tokio::test]
async fn a_stream_cut_off_is_lost() {
    let end = end_of_stream(|call| {
        call.subscribed();
        call.text("a");
        call.hang_up();
    });
    assert!(matches!(end.await, Err(Error::Lost)));
}

#[tokio::test]
async fn a_stream_closed_without_its_last_event_is_a_protocol_error() {
    let end = end_of_stream(|call| {
        call.subscribed();
        let params = r#"{"subscription":77,"error":"over"}"#;
        call.raw(&format!("{{\"jsonrpc\":\"2.0\",\"method\":\"generate.event\",\"params\":{params}}}\n"));
    });
    assert!(matches!(end.await, Err(Error::Protocol(_))));
}

#[tokio::test]
async fn a_reader_too_slow_for_the_buffer_is_told() {
    let fake = Fake::new(|call| {
        if call.method() == "generate.stream" {
            call.subscribed();
            call.texts("a", 70_000);
        }
    });
    let client = Client::connect(&fake.socket).await.expect("a connection");
    let mut answer = client.generate(&prompt()).await.expect("a stream");
    // The buffer is full when the client gives the stream up.
    assert_eq!(two_calls(fake).await, ["generate.stream", "generate.unsubscribe"]);
    let mut taken = 0;
    let end = loop {
        match answer.next().await {
            Ok(Some(_)) => taken += 1,
            end => break end,
        }
    };
    assert!(matches!(end, Err(Error::Lagged)), "{end:?} after {taken} events");
}

#[tokio::test]
async fn dropping_an_answer_unsubscribes() {
    let (open, wait) = gate();
    let fake = Fake::new(move |call| {
        if call.method() == "generate.stream" {
            call.subscribed();
            wait();
        }
    });
    let client = Client::connect(&fake.socket).await.expect("a connection");
    drop(client.generate(&prompt()).await.expect("a stream"));
    open.send(()).expect("the fake waits");
    assert_eq!(two_calls(fake).await, ["generate.stream", "generate.unsubscribe"]);
}

/// The first two methods called. The connection lives on this runtime, so waiting must not block it.
async fn two_calls(fake: Fake) -> [String; 2] {
    tokio::task::spawn_blocking(move || [fake.sees_call().0, fake.sees_call().0]).await.expect("two calls")
}

fn pull(state: &str) -> Value {
    json!({"pull": {"model": "org/x", "state": state, "done_bytes": 1, "refetched_bytes": 0}})
}

#[tokio::test]
async fn the_stream_of_one_pull_ends_when_the_pull_rests() {
    for state in ["done", "failed", "paused", "cancelled"] {
        let fake = Fake::new(move |call| {
            call.subscribed();
            call.event(&pull("downloading"));
            call.event(&pull(state));
            call.event(&pull("downloading"));
        });
        let client = Client::connect(&fake.socket).await.expect("a connection");
        let request = SubscribePulls { model: Some(ModelId("org/x".into())) };
        let mut events = client.follow_pulls(&request).await.expect("a stream");
        let mut states = Vec::new();
        while let Some(event) = events.next().await.expect("an event") {
            states.push(json!(event.event.expect("a known state").pull.state));
        }
        assert_eq!(states, ["downloading", state]);
        assert_eq!(fake.sees_call(), ("pulls.subscribe".into(), json!([{"model": "org/x"}])));
    }
}

#[tokio::test]
async fn the_stream_of_all_pulls_goes_on_behind_one_that_is_done() {
    let fake = Fake::new(|call| {
        call.subscribed();
        call.event(&pull("done"));
        call.event(&pull("queued"));
        call.hang_up();
    });
    let client = Client::connect(&fake.socket).await.expect("a connection");
    let mut events = client.follow_pulls(&SubscribePulls::default()).await.expect("a stream");
    for state in [PullState::Done, PullState::Queued] {
        let event = events.next().await.expect("an event").expect("not the end");
        assert_eq!(event.event.expect("a known state").pull.state, state);
    }
    assert!(matches!(events.next().await, Err(Error::Lost)));
}

#[tokio::test]
async fn events_of_models_are_followed_from_where_the_client_was() {
    let fake = Fake::new(|call| {
        call.subscribed();
        call.event(&json!({"seq": 42, "type": "renamed"}));
        call.event(&json!({"seq": 43, "type": "loaded", "model": "org/x"}));
    });
    let client = Client::connect(&fake.socket).await.expect("a connection");
    let mut events = client.follow_models(&SubscribeModels { after: Some(41) }).await.expect("a stream");
    assert!(events.next().await.expect("an event").expect("not the end").event.is_none(), "only newer daemons know it");
    let event = events.next().await.expect("an event").expect("not the end").event.expect("a known one");
    assert_eq!((event.seq, event.change), (43, ModelChange::Loaded { model: ModelId("org/x".into()) }));
    assert_eq!(fake.sees_call(), ("models.subscribe".into(), json!([{"after": 41}])));
}
