use std::sync::Mutex;

use futures_util::stream;
use jsonrpsee::core::async_trait;
use protocol::{EmbeddingsRequest, EmbeddingsResult, FinishReason, ModelId, ProviderId, RequestId, Timings, Usage};

use super::*;
use crate::app::App;

/// Says what it is told to, and notes that it was asked.
#[derive(Debug)]
struct Fake {
    id: &'static str,
    /// `Err`: it does not take the request.
    says: Result<Vec<GenerateEvent>, Kind>,
    asked: Mutex<Vec<Option<ModelId>>>,
}

#[async_trait]
impl Provider for Fake {
    fn id(&self) -> ProviderId {
        self.id.into()
    }

    fn describe(&self) -> protocol::Provider {
        unreachable!("an answer asks for no description")
    }

    fn known_models(&self) -> Option<Vec<ModelId>> {
        unreachable!("an answer asks for no models")
    }

    async fn models(&self) -> Result<Vec<ModelId>, ErrorData> {
        unreachable!("an answer asks for no models")
    }

    async fn start(&self, _: SequenceId, _: Asked, model: Option<ModelId>) -> Result<Stream, ErrorData> {
        self.asked.lock().expect("no test panicked").push(model);
        match &self.says {
            Ok(events) => Ok(Box::pin(stream::iter(events.clone()))),
            Err(kind) => Err(ErrorData::new(*kind, format!("{} does not take it", self.id))),
        }
    }

    async fn embed(
        &self,
        _: SequenceId,
        _: EmbeddingsRequest,
        _: Option<ModelId>,
        _: App,
    ) -> Result<EmbeddingsResult, ErrorData> {
        unreachable!("an answer asks for no vectors")
    }
}

fn fake(id: &'static str, says: Result<Vec<GenerateEvent>, Kind>) -> Arc<Fake> {
    Arc::new(Fake { id, says, asked: Mutex::default() })
}

fn queued(provider: &str) -> GenerateEvent {
    GenerateEvent::Queued {
        request_id: RequestId("req_0_1".into()),
        trace_id: None,
        model: ModelId("m".into()),
        provider: provider.into(),
        passed_over: Vec::new(),
        position: 0,
    }
}

fn text(text: &str) -> GenerateEvent {
    GenerateEvent::Text { sample: 0, text: text.into() }
}

fn failed(kind: Kind) -> GenerateEvent {
    GenerateEvent::Failed { error: ErrorData::new(kind, "it broke") }
}

fn finished() -> GenerateEvent {
    let (usage, timings) = (Usage::default(), Timings::default());
    GenerateEvent::Finished { finish_reason: FinishReason::Stop, blocked: None, usage, timings }
}

/// The events of an answer in short, or why there is none.
async fn answered(fakes: &[Arc<Fake>]) -> Result<Vec<String>, String> {
    let request = serde_json::from_str(r#"{"prompt": "x"}"#).expect("a request");
    let asked = Asked::check(request, App::unknown()).await.expect("nothing is wrong with it");
    let candidates = fakes.iter().map(|fake| Candidate { provider: fake.id(), model: None }).collect();
    let plan = Plan { candidates, passed_over: Vec::new() };
    let provider = |candidate: &Candidate| {
        let fake = fakes.iter().find(|fake| fake.id() == candidate.provider)?;
        Some(Arc::clone(fake) as Arc<dyn Provider>)
    };
    let mut answer = Answer::start(SequenceId(1), asked, plan, provider).await.map_err(|error| error.message)?;
    let mut events = Vec::new();
    while let Some(event) = answer.next().await {
        events.push(match event {
            GenerateEvent::Queued { provider, passed_over, .. } => {
                let over: Vec<String> = passed_over.into_iter().map(|over| over.provider.0).collect();
                format!("queued {provider} after [{}]", over.join(" "))
            }
            GenerateEvent::Text { text, .. } => text,
            GenerateEvent::Failed { error } => format!("failed: {}", error.message),
            GenerateEvent::Finished { .. } => "finished".into(),
            other => format!("{other:?}"),
        });
    }
    Ok(events)
}

fn whole(provider: &str) -> Vec<GenerateEvent> {
    vec![queued(provider), text("hello"), finished()]
}

#[tokio::test]
async fn the_next_is_asked_where_one_does_not_take_the_request() {
    let fakes = [fake("a", Err(Kind::ModelNotFound)), fake("b", Err(Kind::Busy)), fake("c", Ok(whole("c")))];
    assert_eq!(answered(&fakes).await, Ok(vec!["queued c after [a b]".into(), "hello".into(), "finished".into()]));
}

#[tokio::test]
async fn the_next_is_asked_where_one_fails_before_its_first_token() {
    let fakes = [fake("a", Ok(vec![queued("a"), failed(Kind::EngineLost)])), fake("b", Ok(whole("b")))];
    let events = answered(&fakes).await.expect("an answer");
    assert_eq!(events, ["queued a after []", "queued b after [a]", "hello", "finished"]);
}

#[tokio::test]
async fn nobody_else_is_asked_after_the_first_token() {
    let fakes = [fake("a", Ok(vec![queued("a"), text("h"), failed(Kind::EngineLost)])), fake("b", Ok(whole("b")))];
    let events = answered(&fakes).await.expect("an answer");
    assert_eq!(events, ["queued a after []", "h", "failed: it broke"]);
    assert!(fakes[1].asked.lock().expect("no test panicked").is_empty());
}

#[tokio::test]
async fn what_is_wrong_for_all_is_asked_of_no_other() {
    for kind in [Kind::InvalidParams, Kind::Cancelled, Kind::ShuttingDown] {
        let fakes = [fake("a", Ok(vec![queued("a"), failed(kind)])), fake("b", Ok(whole("b")))];
        assert_eq!(answered(&fakes).await.expect("an answer").last().expect("an event"), "failed: it broke");
        let fakes = [fake("a", Err(kind)), fake("b", Ok(whole("b")))];
        assert_eq!(answered(&fakes).await, Err("a does not take it".into()));
    }
}

#[tokio::test]
async fn the_last_error_tells_what_the_others_said() {
    let fakes = [fake("a", Ok(vec![queued("a"), failed(Kind::EngineLost)])), fake("b", Err(Kind::Busy))];
    let events = answered(&fakes).await.expect("an answer");
    assert_eq!(events, ["queued a after []", "failed: b does not take it; a before: it broke"]);
}
