//! What servers do wrong, and what comes of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cloud::{Client, Endpoint, Error, Patience, Reason};
use protocol::{GenerationOptions, ResponseFormat, Speculation};
use serde_json::{Value, json};

use crate::server::{Reply, Server, completion};
use crate::{KEY, answer, call, endpoint, gemini, openai, text};

fn html(status: u16) -> Reply {
    Reply { headers: "content-type: text/html\r\n".into(), status, ..Reply::stream("<html>Welcome</html>") }
}

/// The error of a server that answers everything so.
async fn error(reply: impl Fn() -> Reply + Send + Sync + 'static) -> Error {
    let server = Server::start(move |_| reply());
    answer(&openai(&server), &call("x")).await.expect_err("there is no answer")
}

#[tokio::test]
async fn what_is_no_answer_is_told_as_that() {
    let half = || {
        let mut reply = Reply::stream("");
        reply.body = b"data: {\"choices\":[{\"delta\":{\"content\":\"\xf0\x9f\"}}]}\n\n".to_vec();
        reply
    };
    assert!(matches!(error(half).await, Error::Malformed(_)));
    assert!(matches!(error(|| Reply::stream("data: {\"choi\n\n")).await, Error::Malformed(_)));
    for status in [200, 404] {
        let error = error(move || html(status)).await;
        assert!(matches!(&error, Error::Malformed(words) if words.contains("is base_url right?")), "{error}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_told_as_that() {
    let begun = || completion(&["one", "two"]).split("data: ").take(2).collect::<Vec<_>>().join("data: ");
    let ended = error(move || Reply::stream(begun())).await;
    assert!(matches!(ended, Error::Interrupted(_)), "{ended}");
    let cut = move || {
        let mut reply = Reply::stream(begun());
        reply.headers += "content-length: 100000\r\n";
        reply
    };
    let cut = error(cut).await;
    assert!(matches!(cut, Error::Interrupted(_)), "{cut}");
    assert!(matches!(error(|| Reply::stream("")).await, Error::Interrupted(_)));
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let patience = Patience { first: Duration::from_secs(20), next: Duration::from_millis(50) };
    let begun = completion(&["one"]).split("data: ").take(2).collect::<Vec<_>>().join("data: ");
    let server = Server::start(move |_| Reply { hangs: true, ..Reply::stream(begun.clone()) });
    let client = Client::openai(Endpoint { patience, ..endpoint(server.url()) }).unwrap();
    let stalled = answer(&client, &call("x")).await;
    assert_eq!(stalled, Err(Error::Stalled(patience.next)));

    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let patience = Patience { first: Duration::from_millis(50), ..patience };
    let url = format!("http://{}/v1", silent.local_addr().unwrap());
    let client = Client::openai(Endpoint { patience, ..endpoint(url) }).unwrap();
    assert_eq!(answer(&client, &call("x")).await, Err(Error::Stalled(patience.first)));
}

#[tokio::test]
async fn nobody_at_the_address_and_no_tls_are_unreachable() {
    let server = Server::start(|_| Reply::stream(""));
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for url in [server.url().replace("http:", "https:"), format!("http://127.0.0.1:{port}/v1")] {
        let client = Client::openai(endpoint(url.clone())).unwrap();
        let error = answer(&client, &call("x")).await.expect_err("there is no answer");
        assert!(matches!(error, Error::Unreachable(_)), "{url}: {error}");
    }
}

#[tokio::test]
async fn a_key_that_is_refused_is_not_told() {
    let words = json!({"error": {"message": format!("bad key {KEY}")}});
    let google = json!({"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT",
        "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]}});
    for (status, body) in [(401, words.clone()), (403, words), (400, google)] {
        let error = error(move || Reply::json(status, &body)).await;
        assert!(matches!(error, Error::KeyRefused(_)), "{error}");
        assert!(!error.to_string().contains(KEY), "{error}");
    }
}

/// A server that answers so first and then well, and how often it was asked.
async fn asked_again(times: usize, status: u16, headers: &'static str, body: Value) -> (Result<String, Error>, usize) {
    let count = AtomicUsize::new(0);
    let server = Server::start(move |_| {
        if count.fetch_add(1, Ordering::SeqCst) >= times {
            return Reply::stream(completion(&["well"]));
        }
        let mut reply = Reply::json(status, &body);
        reply.headers += headers;
        reply
    });
    let answered = answer(&openai(&server), &call("x")).await.map(|pieces| text(&pieces));
    (answered, server.asked().len())
}

#[tokio::test]
async fn what_may_pass_is_asked_again() {
    let error = || json!({"error": {"message": "later"}});
    for status in [429, 500, 503, 529] {
        let (answered, asked) = asked_again(2, status, "retry-after: 0\r\n", error()).await;
        assert_eq!((answered, asked), (Ok("well".into()), 3), "{status}");
    }
    let (answered, asked) = asked_again(9, 503, "retry-after: 0\r\n", error()).await;
    assert_eq!((answered, asked), (Err(Error::Failed("503: later".into())), 4));
    let (answered, asked) = asked_again(1, 400, "", error()).await;
    assert_eq!((answered, asked), (Err(Error::Invalid("400: later".into())), 1));
}

#[tokio::test]
async fn a_wait_that_is_too_long_is_told_instead() {
    let details = json!([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3600.5s"}]);
    let body = json!({"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED", "details": details}});
    let (answered, asked) = asked_again(1, 429, "", body).await;
    let retry_after = Some(Duration::from_secs_f64(3600.5));
    assert_eq!((answered, asked), (Err(Error::QuotaExhausted { retry_after, words: "429: quota".into() }), 1));
    let empty = json!({"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}});
    let (answered, asked) = asked_again(1, 429, "", empty).await;
    assert!(matches!(answered, Err(Error::QuotaExhausted { retry_after: None, .. })));
    assert_eq!(asked, 1, "no money comes from asking again");
}

#[tokio::test]
async fn a_model_that_is_not_there_is_named() {
    let body = json!({"error": {"message": "The model `m` does not exist", "code": "model_not_found"}});
    let error = error(move || Reply::json(404, &body)).await;
    assert_eq!(error, Error::ModelNotFound("404: The model `m` does not exist".into()));
    let server = Server::start(|_| Reply::stream(""));
    for name in ["../files", "a/b?key=", "", "a b"] {
        let mut call = call("x");
        call.model = name.into();
        assert!(matches!(answer(&gemini(&server), &call).await, Err(Error::ModelNotFound(_))), "{name}");
    }
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn what_a_server_cannot_do_is_not_sent() {
    let server = Server::start(|_| Reply::stream(completion(&["x"])));
    let both: [fn(&mut GenerationOptions); 7] = [
        |options| options.n = 2,
        |options| options.logprobs = Some(1),
        |options| options.kv_bits = Some(8),
        |options| options.speculation = Speculation::Lookup,
        |options| options.xtc_probability = 0.5,
        |options| options.repetition_penalty = 1.1,
        |options| options.stop_sequences = (0..6).map(|number| number.to_string()).collect(),
    ];
    let geminis: [fn(&mut GenerationOptions); 2] =
        [|options| options.min_p = 0.1, |options| options.logit_bias = [(1, 1.0)].into()];
    let asked = |change: fn(&mut GenerationOptions)| {
        let mut call = call("x");
        change(&mut call.options);
        call
    };
    for change in both {
        assert!(matches!(answer(&openai(&server), &asked(change)).await, Err(Error::NotSupported(_))));
    }
    for change in both.into_iter().chain(geminis) {
        assert!(matches!(answer(&gemini(&server), &asked(change)).await, Err(Error::NotSupported(_))));
    }
    let mut call = call("x");
    call.response_format = Some(ResponseFormat::Regex { pattern: "a".into() });
    assert!(matches!(answer(&openai(&server), &call).await, Err(Error::NotSupported(_))));
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn an_answer_that_is_dropped_closes_its_connection() {
    let begun = completion(&["one"]).split("data: ").take(2).collect::<Vec<_>>().join("data: ");
    let server = Server::start(move |_| Reply { hangs: true, ..Reply::stream(begun.clone()) });
    let mut stream = openai(&server).generate(&call("x")).await.unwrap();
    assert!(stream.next().await.is_some());
    assert_eq!(server.open(), 1);
    drop(stream);
    while server.open() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_prompt_that_is_blocked_ends_so() {
    let server = Server::start(|_| Reply::stream("data: {\"promptFeedback\": {\"blockReason\": \"SAFETY\"}}\n\n"));
    let pieces = answer(&gemini(&server), &call("x")).await.unwrap();
    let reason = Reason::Blocked("the prompt: SAFETY".into());
    assert_eq!(pieces, [cloud::Piece::Finished { reason, usage: protocol::Usage::default() }]);
}
